"""The folder that an export writes: Parquet files, and a manifest of what must be in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from timeseries.archive.cameras_file import SCHEMA as CAMERA_SCHEMA
from timeseries.averages.quarters import Checked
from timeseries.errors import InvalidInputError
from timeseries.model.relations import FAMILIES, Family

FORMAT = 1
MANIFEST = "manifest.json"
CAMERAS = "cameras.parquet"
# Of each camera what readers of the archive see, and how many quarters it has in the other files, with their checksum.
SCHEMA = pa.schema(
    [
        *CAMERA_SCHEMA,
        *(pa.field(f"{family.name}_rows", pa.int64()) for family in FAMILIES),
        *(pa.field(f"{family.name}_checksum", pa.string()) for family in FAMILIES),
    ]
)


def file_of(family: Family) -> str:
    """The file of a family's quarters: a row group for each camera that has some, in the order of the cameras."""
    return f"{family.quarters}.parquet"


FILES = (CAMERAS, *(file_of(family) for family in FAMILIES))


@dataclass(frozen=True, slots=True)
class Manifest:
    """When the averages were exported, from which server, up to where, and rows and SHA-256 of each file."""

    created_at: datetime
    server: str
    until: datetime
    files: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class AveragesFolder:
    """An export whose files are those that were written. `cameras` are the rows of their file."""

    path: Path
    manifest: Manifest
    cameras: list[dict[str, Any]]

    def quarters(self, family: Family) -> Iterator[tuple[dict[str, Any], pa.Table, Checked]]:
        """Each camera that has some, its quarters in order of time, and what they must be."""
        with pq.ParquetFile(self.path / file_of(family)) as file:
            having = [camera for camera in self.cameras if camera[f"{family.name}_rows"]]
            for group, camera in enumerate(having):
                wanted = Checked(camera[f"{family.name}_rows"], int(camera[f"{family.name}_checksum"]))
                yield camera, file.read_row_group(group), wanted


def write_manifest(folder: Path, created_at: datetime, server: str, until: datetime) -> None:
    files = {
        name: {"rows": pq.read_metadata(folder / name).num_rows, "sha256": _sha256(folder / name)} for name in FILES
    }
    manifest = {"format": FORMAT, **asdict(Manifest(created_at, server, until, files))}
    (folder / MANIFEST).write_text(json.dumps(manifest, default=datetime.isoformat, indent=2))


def open_folder(folder: Path) -> AveragesFolder:
    """Read an export, every byte of which is compared with its checksum.

    Raises InvalidInputError where it is not whole.
    """
    with reading(folder):
        manifest = _read_manifest(folder)
        for name in FILES:
            _verify(folder / name, manifest.files[name])
        return AveragesFolder(folder, manifest, pq.read_table(folder / CAMERAS).to_pylist())


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
    if found["format"] != FORMAT:
        raise InvalidInputError(
            f"{folder} has the format {found['format']!r:.20}, and this version of the store reads {FORMAT};"
            " install the version that exported it, or export again with this one"
        )
    created_at, until = (datetime.fromisoformat(found[name]) for name in ("created_at", "until"))
    return Manifest(created_at, str(found["server"]), until, dict(found["files"]))


def _verify(file: Path, wanted: Mapping[str, Any]) -> None:
    rows = pq.read_metadata(file).num_rows if _sha256(file) == wanted["sha256"] else None
    if rows != wanted["rows"]:
        raise InvalidInputError(
            f"{file} is damaged: it is not the file that was exported; copy it again, or export again"
        )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
