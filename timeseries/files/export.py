"""Export of events, aggregates and cameras as CSV, gzipped CSV or Parquet, streamed in bounded memory."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from timeseries.atomic_file import atomic_write
from timeseries.cameras import Camera, Cameras
from timeseries.database.connections import Connection, Pool, connected, transaction
from timeseries.database.rows import row
from timeseries.errors import InvalidInputError
from timeseries.files import copy_reader
from timeseries.files.copy_reader import CopyReader
from timeseries.files.readers import BLOCK_BYTES, is_parquet
from timeseries.model.events import microseconds
from timeseries.model.relations import AGGREGATES, RAW_TABLES, RELATIONS
from timeseries.progress import Progress, track

CAMERAS = "cameras"
EXPORTABLE = (*RELATIONS, CAMERAS)
SLICE = timedelta(days=7)
ROW_GROUP = 250_000
HIDDEN = {"id", "camera_id"}  # `id` numbers rows of this database only; `camera_id` is the second column already

SELECT_CAMERAS = sql.SQL("""(
        SELECT id AS camera_id, timezone, capacity, trim_scale(extract(epoch FROM hold)) || ' seconds' AS hold,
               zone_config, desired_state, created_at
        FROM public.cameras
    )""")
COPY_ROWS = sql.SQL("""
    COPY (
        SELECT {columns}
        FROM {relation} AS a
        JOIN public.cameras AS c ON c.id = a.camera_id
        WHERE {condition}
        ORDER BY {time}, a.camera_id
    ) TO STDOUT (FORMAT CSV)
""")
SELECT_SPAN = sql.SQL("SELECT min({time}), max({time}) FROM {relation} AS a WHERE {condition}")
FORMAT_TIME = sql.SQL("""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""")
ARROW_TYPES = {
    "int4": pa.int32(), "int8": pa.int64(), "float8": pa.float64(), "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The file that was written, and how many rows it has."""

    path: Path
    rows: int


def export(
    pool: Pool,
    cameras: Cameras,
    relation: str,
    path: Path,
    *,
    of: Sequence[Camera | UUID | str] | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    progress: Progress = None,
) -> ExportResult:
    """Write `occupancy_events`, `health_logs`, one of the six aggregates, or `cameras` to a file.

    The suffix says what it becomes: `.csv`, `.csv.gz` or `.parquet`. The first columns are `camera` (its name) and
    `camera_id`, the others those of the relation; times are in UTC, JSON is text. Rows are in order of time, and a file
    of events can be imported again. `of` chooses cameras, `start` (inclusive) and `end` (exclusive) bound the
    `timestamp` or the `bucket`; neither bounds `cameras`. Connection strings are never exported.

    Events are read a week at a time, each in a transaction of its own, so that retention waits for none of them long.
    The file is there when it is whole. `progress` is called with weeks read and weeks in all.

    Raises:
        InvalidInputError: no such relation or suffix, a naive datetime, or a file that cannot be written.
        UnknownCameraError: one of the cameras is not there.
        ServerUnavailableError: the server is away.
    """
    if relation not in EXPORTABLE:
        raise InvalidInputError(f"cannot export {relation!r:.100}; it must be one of {', '.join(EXPORTABLE)}")
    for moment in filter(None, (start, end)):
        microseconds(moment)
    chosen = None if of is None else [cameras.get(camera).id for camera in of]
    rows = 0
    with atomic_write(path) as name, connected(pool) as connection:
        columns = _columns(connection, relation)
        with closing(_writer(path, name, columns)) as writer:
            for span in track(list(_slices(connection, relation, chosen, start, end)), progress):
                with transaction(connection), connection.cursor() as cursor:
                    connection.execute("SET LOCAL statement_timeout = '1h'")  # a view is computed before its first row
                    with cursor.copy(*_query(relation, columns, chosen, *span)) as source:
                        writer.write(CopyReader(source))
                    rows += cursor.rowcount
    return ExportResult(path, rows)


def _columns(connection: Connection, relation: str) -> dict[str, str]:
    """The columns of the file and their PostgreSQL types."""
    query = sql.SQL("SELECT * FROM {} AS a LIMIT 0").format(_source(relation))
    with transaction(connection):
        description = connection.execute(query).description or ()
    infos = {column.name: psycopg.adapters.types.get(column.type_code) for column in description}
    own = {name: info.name if info else "text" for name, info in infos.items() if name not in HIDDEN}
    return {"camera": "text", "camera_id": "text"} | own


def _source(relation: str) -> sql.Composable:
    return SELECT_CAMERAS if relation == CAMERAS else sql.Identifier("public", relation)


def _time(relation: str) -> sql.Identifier:
    column = "timestamp" if relation in RAW_TABLES else "bucket" if relation in AGGREGATES else "created_at"
    return sql.Identifier("a", column)


def _slices(
    connection: Connection, relation: str, chosen: list[UUID] | None, start: datetime | None, end: datetime | None
) -> Iterator[tuple[datetime | None, datetime | None]]:
    """Weeks of the range, for raw tables only, because a view would be computed as a whole for each."""
    if relation not in RAW_TABLES:
        yield (None, None) if relation == CAMERAS else (start, end)
        return
    condition, values = _condition(relation, chosen, start, end)
    query = SELECT_SPAN.format(time=_time(relation), relation=_source(relation), condition=condition)
    with transaction(connection):
        first, last = row(connection, query, values)
    while first is not None and first <= last:
        yield first, min(first + SLICE, end or first + SLICE)
        first += SLICE


def _condition(
    relation: str, chosen: list[UUID] | None, start: datetime | None, end: datetime | None
) -> tuple[sql.Composed, dict[str, Any]]:
    """A condition for each given bound and no other, so that the planner sees constants and excludes chunks."""
    given = {"cameras": chosen, "start": start, "end": end}
    parts = {"cameras": "a.camera_id = ANY (%(cameras)s)", "start": "{time} >= %(start)s", "end": "{time} < %(end)s"}
    said = [sql.SQL(text).format(time=_time(relation)) for key, text in parts.items() if given[key] is not None]
    return sql.SQL(" AND ").join(said or [sql.SQL("true").format()]), given


def _query(
    relation: str, columns: dict[str, str], chosen: list[UUID] | None, start: datetime | None, end: datetime | None
) -> tuple[sql.Composed, dict[str, Any]]:
    condition, values = _condition(relation, chosen, start, end)
    found = {name: sql.Identifier("a", name) for name in columns} | {"camera": sql.Identifier("c", "name")}
    shown = [FORMAT_TIME.format(column=found[n]) if kind == "timestamptz" else found[n] for n, kind in columns.items()]
    query = COPY_ROWS.format(
        columns=sql.SQL(", ").join(shown), relation=_source(relation), condition=condition, time=_time(relation)
    )
    return query, values


class _Writer(Protocol):
    def write(self, source: CopyReader) -> None: ...

    def close(self) -> None: ...


def _writer(path: Path, name: Path, columns: dict[str, str]) -> _Writer:
    if is_parquet(path):
        return _Parquet(name, columns)
    if path.name.endswith((".csv", ".csv.gz")):
        opener = partial(gzip.open, compresslevel=6) if path.suffix == ".gz" else open
        return _Csv(cast(BinaryIO, opener(name, "wb")), list(columns))
    raise InvalidInputError(f"cannot export to {path.name}: its suffix must be .csv, .csv.gz or .parquet")


class _Csv:
    def __init__(self, file: BinaryIO, columns: list[str]) -> None:
        self._file = file
        file.write(",".join(columns).encode() + b"\n")

    def write(self, source: CopyReader) -> None:
        while block := source.read(BLOCK_BYTES):
            self._file.write(block)

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """Collects batches into row groups of the usual size."""

    def __init__(self, name: Path, columns: dict[str, str]) -> None:
        self._schema = pa.schema([(column, ARROW_TYPES.get(kind, pa.string())) for column, kind in columns.items()])
        self._file = pq.ParquetWriter(name, self._schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []

    def write(self, source: CopyReader) -> None:
        try:
            for batch in source.batches(self._schema):
                self._waiting.append(batch)
                if sum(waiting.num_rows for waiting in self._waiting) >= ROW_GROUP:
                    self._flush()
        except pa.ArrowInvalid as error:
            raise InvalidInputError(
                f"a row of more than {copy_reader.LARGEST_ROW:,} bytes cannot be written as Parquet ({error});"
                " export to .csv"
            ) from error

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting = []

    def close(self) -> None:
        self._flush()
        self._file.close()
