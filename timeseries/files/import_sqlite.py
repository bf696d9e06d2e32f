"""Import of a proof of concept's SQLite database: its cameras, and all that they saw."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from timeseries.cameras import Cameras, checked
from timeseries.database.connections import Pool
from timeseries.errors import CameraExistsError, InvalidInputError, NaiveTimestampError
from timeseries.files.importing import ImportResult, RejectedRows, Storing
from timeseries.files.sqlite_reader import Database, opened, parse_moment
from timeseries.ingest.frames import camera_ids
from timeseries.model.parsing import parse_zone
from timeseries.progress import Progress


def import_database(
    pool: Pool,
    cameras: Cameras,
    path: Path,
    *,
    naive_timezone: str | None = None,
    match_names: bool = False,
    connections: int = 2,
    progress: Progress = None,
) -> ImportResult:
    """Store the cameras and events of a SQLite database, in bounded memory; it is only read.

    Its tables are `cameras` (`id`, a UUID, and `name`) and `occupancy_events` (`camera_id`, `timestamp`,
    `occupied_count`) or `health_logs` (`camera_id`, `timestamp`, `status`), or both; the other columns of ours may be
    there. Timestamps are ISO 8601 or seconds since 1970. A naive one is refused unless `naive_timezone` says whose
    clocks it is of, by IANA name ("UTC", if the program wrote UTC).

    A camera whose id is known is left as it is. One whose name belongs to another id is refused before anything is
    stored, unless `match_names` says that they are the same: the events go to the camera that is there. Connection
    strings are encrypted on the way; what this store's keys have encrypted already is kept. A second import finds
    duplicates only, and goes on where the first broke off. `progress` is called with events read and events in all.

    Raises:
        InvalidInputError: another layout, a naive timestamp, or a value that no camera can have.
        CameraExistsError: a name belongs to another camera here.
        SecretError: a connection string, and no key to encrypt it with or to open it.
    """
    zone = parse_zone(naive_timezone) if naive_timezone else None
    with ExitStack() as stack:
        database = stack.enter_context(opened(path))
        _refuse_naive(database, zone)
        created, ids = _bring_cameras(cameras, database, zone, match_names)
        rejected = stack.enter_context(RejectedRows(path))
        executor = stack.enter_context(ThreadPoolExecutor(connections, "timeseries-import"))
        total = sum(database.count(family) for family in database.families)
        inserted = duplicates = read = 0
        for family in database.families:
            run = Storing(pool, path, ids, rejected, executor, connections, zone, family=family)
            for block in database.blocks(family):
                run.store(block)
                read += len(block.numbers)
                if progress is not None:
                    progress(read, total)
            run.finish()
            inserted, duplicates = inserted + run.inserted, duplicates + run.duplicates
        return ImportResult(created, inserted, duplicates, rejected.count, rejected.path if rejected.count else None)


def _refuse_naive(database: Database, zone: ZoneInfo | None) -> None:
    """A database of naive timestamps is refused as a whole, by its first one; a stray one is a rejected row."""
    for family in database.families:
        value = database.first_timestamp(family)
        try:
            if value is not None:
                parse_moment(value, zone)
        except NaiveTimestampError as error:
            raise NaiveTimestampError(
                f"{database.path}: {error}; on the command line: --naive-timezone UTC, if that is what it means"
            ) from error
        except InvalidInputError:
            pass  # the row will be rejected


def _bring_cameras(
    cameras: Cameras, database: Database, zone: ZoneInfo | None, match_names: bool
) -> tuple[int, dict[str, bytes]]:
    """How many cameras were created, and whose events go to which; all are looked at before the first is stored."""
    here = cameras.list()
    known, names = {camera.id for camera in here}, {camera.name: camera.id for camera in here}
    new: list[dict[str, Any]] = []
    same: dict[UUID, UUID] = {}
    for camera in database.cameras(zone):
        name, camera_id = camera["name"], camera["id"]
        if camera_id in known:
            continue
        if name in names:
            same[camera_id] = names[name]
            continue
        checked(camera)
        if "connection_string" in camera:
            camera["connection_string"] = cameras.plaintext(camera["connection_string"], camera_id)
        new.append(camera)
    if same and not match_names:
        listed = ", ".join(sorted(repr(name) for name, camera_id in names.items() if camera_id in same.values()))
        raise CameraExistsError(
            f"{database.path}: cameras of these names are here already, with other ids: {listed}; rename them"
            " (timeseries camera update NAME --name NEW), or say that they are the same (--match-names)"
        )
    for camera in sorted(new, key=lambda camera: "connection_string" not in camera):  # a missing key shows at the first
        cameras.add(**camera)
    ids = camera_ids(cameras) | {str(old): camera_id.bytes for old, camera_id in same.items()}
    return len(new), ids
