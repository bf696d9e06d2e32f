"""Averages out of a store: the quarters of cameras, of one moment, into a folder, with their groups and periods."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from timeseries.averages.folder import file_of, write_configuration, write_manifest
from timeseries.averages.quarters import Checked, Columns, check, columns_of, copied_schema, schema_of, values
from timeseries.averages.tables import Row, configuration
from timeseries.cameras import Camera, Cameras
from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.rows import value
from timeseries.database.server import inspect_server
from timeseries.database.snapshot import snapshot
from timeseries.errors import InvalidInputError
from timeseries.files.copy_reader import CopyReader
from timeseries.model.events import microseconds
from timeseries.model.relations import FAMILIES, Family
from timeseries.progress import Progress, track

YOUNGEST = timedelta(days=2)  # what is younger changes too easily, and its raw rows are there in any case
SELECT_NOW = "SELECT now()"
SELECT_QUARTERS = sql.SQL("""(
        SELECT q.* FROM public.{quarters} AS q {raw}
        WHERE q.camera_id = {camera} AND q.bucket < {end} AND {condition}
    )""")
JOIN_RAW = sql.SQL("""LEFT JOIN (
            SELECT date_bin('15 minutes', e."timestamp", 'epoch') AS bucket, count(*) AS samples
            FROM public.{events} AS e WHERE e.camera_id = {camera} GROUP BY 1
        ) AS raw ON raw.bucket = q.bucket""")
COPY_QUARTERS = sql.SQL("COPY (SELECT {values} FROM {rows} AS q ORDER BY q.bucket) TO STDOUT (FORMAT CSV)")


@dataclass(frozen=True, slots=True)
class AveragesExport:
    """What was written: cameras, groups, periods, quarters of both families, and up to where."""

    path: Path
    cameras: int
    groups: int
    periods: int
    quarters: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """Which quarters of a camera: from `start` on, before `end`, and perhaps only those whose raw rows are gone."""

    start: datetime | None
    end: datetime
    finalized: bool

    def rows(self, family: Family, camera: str) -> sql.Composed:
        names = {
            "quarters": sql.Identifier(family.quarters),
            "camera": sql.Literal(camera),
            "end": sql.Literal(self.end),
        }
        said: list[sql.Composable] = [sql.SQL("true")]
        if self.start is not None:
            said.append(sql.SQL("q.bucket >= {}").format(sql.Literal(self.start)))
        if self.finalized:
            said.append(sql.SQL("q.samples > coalesce(raw.samples, 0)"))
        joined = JOIN_RAW.format(events=sql.Identifier(family.table), **names) if self.finalized else sql.SQL("")
        return SELECT_QUARTERS.format(raw=joined, condition=sql.SQL(" AND ").join(said), **names)


def export_averages(
    pool: Pool,
    cameras: Cameras,
    folder: Path,
    *,
    of: Sequence[Camera | UUID | str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    finalized: bool = False,
    progress: Progress = None,
) -> AveragesExport:
    """Write the quarters of an hour of cameras, occupancy and health, into a new folder, from which
    `timeseries.averages.importing.import_averages` brings them into any store.

    `of` chooses cameras, `start` (inclusive) and `end` (exclusive) bound the quarters. Those of the last two UTC days,
    and of today, are left out. `finalized` takes only quarters whose raw rows are gone: the raw rows of the others can
    be exported themselves (`timeseries.files.export.export`), and a store that imports both has everything.

    With the cameras go all their periods, and the groups whose members, of any time, are all among them.

    The folder holds `occupancy_quarter_hourly.parquet`, `health_quarter_hourly.parquet`, `cameras.parquet` without
    connection strings, `groups.parquet`, `group_members.parquet`, `periods.parquet`, and `manifest.json` with a
    checksum of each; it is there when it is whole. All is read as of one moment. `progress` is called with cameras
    written and cameras in all.

    Raises:
        InvalidInputError: the folder is there and not empty, or cannot be written; a naive datetime; an empty range.
        UnknownCameraError: one of the cameras is not there.
        NotAllowedError: the role may not read averages or cameras; the owner may, and a role of the kind control.
        ServerUnavailableError: the server is away.
    """
    for moment in filter(None, (start, end)):
        microseconds(moment)
    chosen = None if of is None else {str(cameras.get(camera).id) for camera in of}
    with connected(pool) as connection, appearing(folder) as part:
        server = inspect_server(connection)
        connection.commit()
        with snapshot(connection):
            now = value(connection, SELECT_NOW)
            span = Span(start, _end(now, start, end), finalized)
            found = configuration(connection, chosen)
            counted, quarters = _write(connection, part, found.cameras["id"].to_pylist(), span, progress)
        write_configuration(part, found, counted)
        write_manifest(part, now, str(server), span.end)
    return AveragesExport(folder, len(found.cameras), len(found.groups), len(found.periods), quarters, span.end)


def _end(now: datetime, start: datetime | None, end: datetime | None) -> datetime:
    """Where the range ends: at the latest at the midnight of UTC before the last two days."""
    latest = (now.astimezone(UTC) - YOUNGEST).replace(hour=0, minute=0, second=0, microsecond=0)
    end = min(end or latest, latest)
    if start is not None and start >= end:
        raise InvalidInputError(
            f"no averages are to be exported from {start.isoformat()} on: the range ends at {end.isoformat()}, because"
            " the last two days are exported as events"
        )
    return end


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to write to, which takes its name at the end; where the block fails, nothing stays."""
    part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidInputError(f"{folder} is there already; name a folder that is new or empty")
        part.mkdir()
        yield part
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except OSError as error:
        raise InvalidInputError(f"cannot write {folder}: {error.strerror}; check the path and the disk") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(
    connection: Connection, folder: Path, cameras: Sequence[str], span: Span, progress: Progress
) -> tuple[list[Row], int]:
    """Write the files of quarters; returns what was counted of each camera, and how many quarters there are."""
    columns = {family: columns_of(connection, family) for family in FAMILIES}
    counted: list[Row] = []
    quarters = 0
    with ExitStack() as stack:
        files = {family: stack.enter_context(_file(folder, family, columns[family])) for family in FAMILIES}
        for camera in track(cameras, progress):
            row: Row = {}
            for family in FAMILIES:
                checked = _write_camera(connection, files[family], columns[family], span.rows(family, camera))
                row |= {f"{family.name}_rows": checked.rows, f"{family.name}_checksum": str(checked.checksum)}
                quarters += checked.rows
            counted.append(row)
    return counted, quarters


def _file(folder: Path, family: Family, columns: Columns) -> pq.ParquetWriter:
    return pq.ParquetWriter(folder / file_of(family), schema_of(columns), compression="zstd")


def _write_camera(connection: Connection, file: pq.ParquetWriter, columns: Columns, rows: sql.Composed) -> Checked:
    """Write a row group, where the camera has quarters."""
    checked = check(connection, rows, columns)
    query = COPY_QUARTERS.format(values=values(columns), rows=rows)
    with connection.cursor().copy(query) as source:
        batches = list(CopyReader(source).batches(copied_schema(columns)))
    if batches:
        table = pa.Table.from_batches(batches).cast(schema_of(columns))
        file.write_table(table, row_group_size=len(table))
    return checked
