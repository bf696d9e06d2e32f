"""Import of feeds of parking sites: a site becomes a camera when it is new, and what it reports becomes an event."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa

from timeseries.cameras import Cameras
from timeseries.database.connections import Pool
from timeseries.errors import InvalidInputError
from timeseries.files import datex2, parkapi
from timeseries.files.importing import ImportResult, RejectedRows, Storing
from timeseries.files.readers import Block
from timeseries.files.site import Site
from timeseries.model.parsing import parse_zone
from timeseries.model.relations import OCCUPANCY

FeedFormat = Literal["parkapi", "datex2"]
READERS: dict[FeedFormat, Callable[[Path, str | None], Iterator[Site]]] = {
    "parkapi": parkapi.read_sites,
    "datex2": datex2.read_sites,
}
COLUMNS = pa.schema(
    [("camera", pa.string()), ("timestamp", pa.string()), ("occupied_count", pa.int64()), ("raw_data", pa.string())]
)
Broken = list[tuple[int, str, list[Any]]]


def import_feed(
    pool: Pool,
    cameras: Cameras,
    path: Path,
    *,
    format: FeedFormat = "parkapi",  # noqa: A002 - as the option is called
    source: str | None = None,
    timezone: str | None = None,
    naive_timezone: str | None = None,
) -> ImportResult:
    """Store what the sites of a feed report; see `timeseries.Store.import_feed`."""
    if format not in READERS:
        raise InvalidInputError(f"format {format!r:.100} is unknown; give one of {', '.join(READERS)}")
    for name in (timezone, naive_timezone):
        if name is not None:
            parse_zone(name)
    zone = parse_zone(naive_timezone) if naive_timezone else None
    found = Sites(cameras, path, list(READERS[format](path, source)))
    created = found.add_cameras(timezone)
    with RejectedRows(path) as rejected, ThreadPoolExecutor(1, "timeseries-import") as executor:
        run = Storing(pool, path, found.ids(), rejected, executor, 1, zone, family=OCCUPANCY)
        run.store(found.events(zone))
        run.finish()
        return ImportResult(
            created, run.inserted, run.duplicates, rejected.count, rejected.path if rejected.count else None
        )


class Sites:
    """The sites of a feed, and the names of all cameras by id."""

    def __init__(self, cameras: Cameras, path: Path, sites: list[Site]) -> None:
        self._cameras = cameras
        self._path = path
        self._sites = sites
        self._names = {camera_id: name for name, camera_id in cameras.ids().items()}
        self._reasons: dict[int, str] = {}

    def ids(self) -> dict[str, bytes]:
        return {name: camera_id.bytes for camera_id, name in self._names.items()}

    def add_cameras(self, timezone: str | None) -> int:
        """Add the cameras that are not there; how many. A site that can have none gets a reason."""
        new = [site for site in self._sites if site.has_uid() and site.camera_id not in self._names]
        if timezone is None and any(site.name is not None for site in new):
            raise InvalidInputError(
                f"{self._path} does not say in which time zone its sites are; name it for those that are new"
                " (--timezone Europe/Berlin)"
            )
        before, taken = len(self._names), {*self._names.values()}
        for site in new:
            try:
                if site.camera_id not in self._names:  # a feed may have a site twice
                    camera = self._cameras.add(**site.camera(timezone or "UTC", taken))
                    self._names[camera.id] = camera.name
                    taken.add(camera.name)
            except InvalidInputError as error:
                self._reasons[site.number] = str(error)
        return len(self._names) - before

    def events(self, zone: ZoneInfo | None) -> Block:
        """What the live sites report; a site that reports no number, or an impossible one, is broken."""
        rows: list[dict[str, Any]] = []
        block = Block(pa.RecordBatch.from_pylist([], COLUMNS), [])
        for site in self._sites:
            row = {"camera": None, "timestamp": site.at, "occupied_count": None, "raw_data": json.dumps(site.state)}
            try:
                if site.number in self._reasons or not site.has_uid():
                    raise InvalidInputError(self._reasons.get(site.number) or f"it needs a uid, not {site.uid!r:.100}")
                row["camera"] = self._names[site.camera_id]
                if site.live:
                    row["occupied_count"] = site.occupied(zone)
                    rows.append(row)
                    block.numbers.append(site.number)
            except InvalidInputError as error:
                block.broken.append((site.number, f"{site}: {error}", list(row.values())))
        block.table = pa.RecordBatch.from_pylist(rows, COLUMNS)
        return block
