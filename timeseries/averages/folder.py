"""The folder that an export writes: Parquet files, and a manifest of what must be in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from timeseries.averages import tables
from timeseries.averages.quarters import Checked
from timeseries.averages.tables import Configuration, Configured, Row
from timeseries.errors import InvalidInputError
from timeseries.model.relations import FAMILIES, Family

FORMAT = 2
BEFORE = 1  # without groups and periods, and with other names of two columns of cameras
MANIFEST = "manifest.json"
# Of each camera, besides what is configured: how many quarters it has in the other files, and their checksum.
COUNTED = {f"{family.name}_rows": pa.int64() for family in FAMILIES} | {
    f"{family.name}_checksum": pa.string() for family in FAMILIES
}


def file_of(family: Family) -> str:
    """The file of a family's quarters: a row group for each camera that has some, in the order of the cameras."""
    return f"{family.quarters}.parquet"


FILES = {
    BEFORE: (tables.CAMERAS.file, *map(file_of, FAMILIES)),
    FORMAT: (*(table.file for table in tables.ALL), *map(file_of, FAMILIES)),
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """When the averages were exported, from which server, up to where, and rows and SHA-256 of each file."""

    format: int
    created_at: datetime
    server: str
    until: datetime
    files: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class AveragesFolder:
    """An export whose files are those that were written. `cameras` and the others are the rows of their files."""

    path: Path
    manifest: Manifest
    cameras: list[Row]
    groups: list[Row]
    members: list[Row]
    periods: list[Row]

    def quarters(self, family: Family) -> Iterator[tuple[Row, pa.Table, Checked]]:
        """Each camera that has some, its quarters in order of time, and what they must be."""
        with pq.ParquetFile(self.path / file_of(family)) as file:
            having = [camera for camera in self.cameras if camera[f"{family.name}_rows"]]
            for group, camera in enumerate(having):
                wanted = Checked(camera[f"{family.name}_rows"], int(camera[f"{family.name}_checksum"]))
                yield camera, file.read_row_group(group), wanted


def write_configuration(folder: Path, found: Configuration, counted: list[Row]) -> None:
    """Write what is configured, and beside each camera what was counted of it."""
    counts = pa.Table.from_pylist(counted, pa.schema(COUNTED))
    cameras = found.cameras
    for name in COUNTED:
        cameras = cameras.append_column(name, counts[name])
    for table, rows in zip(tables.ALL, (cameras, found.groups, found.members, found.periods), strict=True):
        pq.write_table(rows, folder / table.file)


def write_manifest(folder: Path, created_at: datetime, server: str, until: datetime) -> None:
    files = {
        name: {"rows": pq.read_metadata(folder / name).num_rows, "sha256": _sha256(folder / name)}
        for name in FILES[FORMAT]
    }
    manifest = asdict(Manifest(FORMAT, created_at, server, until, files))
    (folder / MANIFEST).write_text(json.dumps(manifest, default=datetime.isoformat, indent=2))


def open_folder(folder: Path) -> AveragesFolder:
    """Read an export, every byte of which is compared with its checksum.

    Raises InvalidInputError where it is not whole.
    """
    with reading(folder):
        manifest = _read_manifest(folder)
        for name in FILES[manifest.format]:
            _verify(folder / name, manifest.files[name])
        return AveragesFolder(folder, manifest, *(_rows(folder, manifest, table) for table in tables.ALL))


def _rows(folder: Path, manifest: Manifest, table: Configured) -> list[Row]:
    if table.file not in FILES[manifest.format]:
        return []
    rows: list[Row] = pq.read_table(folder / table.file).to_pylist()
    return rows if manifest.format == FORMAT else [_as_now(row) for row in rows]


def _as_now(camera: Row) -> Row:
    """A row of the file of cameras of the format before."""
    hold = timedelta(seconds=camera.pop("hold_seconds"))
    return {"id": camera.pop("camera_id"), "hold": hold} | camera


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Raise InvalidInputError for what cannot be read, with the remedy."""
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(
            f"{folder} holds no whole export of averages ({type(error).__name__}: {' '.join(str(error).split())});"
            " copy it again, or export again"
        ) from error


def _read_manifest(folder: Path) -> Manifest:
    found = json.loads((folder / MANIFEST).read_text())
    if found["format"] not in FILES:
        raise InvalidInputError(
            f"{folder} has the format {found['format']!r:.20}, and this version of the store reads"
            f" {BEFORE} and {FORMAT}; install the version that exported it, or export again with this one"
        )
    created_at, until = (datetime.fromisoformat(found[name]) for name in ("created_at", "until"))
    return Manifest(found["format"], created_at, str(found["server"]), until, dict(found["files"]))


def _verify(file: Path, wanted: Mapping[str, Any]) -> None:
    rows = pq.read_metadata(file).num_rows if _sha256(file) == wanted["sha256"] else None
    if rows != wanted["rows"]:
        raise InvalidInputError(
            f"{file} is damaged: it is not the file that was exported; copy it again, or export again"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
