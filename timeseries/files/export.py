"""Export of events, aggregates, cameras and groups as CSV, gzipped CSV or Parquet, streamed in bounded memory."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from psycopg import sql

from timeseries.atomic_file import atomic_write
from timeseries.cameras import Camera, Cameras
from timeseries.database.connections import Connection, Pool, connected, transaction
from timeseries.database.rows import row
from timeseries.errors import InvalidInputError
from timeseries.files.copy_reader import options
from timeseries.files.readers import is_parquet
from timeseries.model.events import microseconds
from timeseries.model.relations import RAW_TABLES, RELATIONS
from timeseries.progress import Progress, track

CAMERAS, GROUPS = "cameras", "groups"
EXPORTABLE = (*RELATIONS, CAMERAS, GROUPS)
SLICE = timedelta(days=7)
ROW_GROUP_BYTES = 32 << 20  # of text, some 350,000 rows of counts
HIDDEN = {"id", "camera_id"}  # `id` numbers rows of this database only; `camera_id` is the second column already

SELECT_CAMERAS = sql.SQL("""(
        SELECT id AS camera_id, timezone, capacity, trim_scale(extract(epoch FROM hold)) || ' seconds' AS hold,
               zone_config, desired_state, created_at, past_capacities, opening_hours
        FROM public.cameras
    )""")
SELECT_GROUPS = sql.SQL("""(
        SELECT m.camera_id, g.name AS "group", m.since, m.until, g.timezone,
               g.opening_hours
        FROM public.group_members AS m
        JOIN public.camera_groups AS g ON g.id = m.group_id
    )""")
SOURCES = {CAMERAS: SELECT_CAMERAS, GROUPS: SELECT_GROUPS}
TIMES = {CAMERAS: "created_at", GROUPS: "since"} | dict.fromkeys(RAW_TABLES, "timestamp")
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
    """Write `occupancy_events`, `health_logs`, one of the six aggregates, `cameras`, or `groups` (a row per member) to
    a file.

    The suffix says what it becomes: `.csv`, `.csv.gz` or `.parquet`. The first columns are `camera` (its name) and
    `camera_id`, the others those of the relation; times are in UTC, JSON is text. Rows are in order of time, and a file
    of events can be imported again. `of` chooses cameras, `start` (inclusive) and `end` (exclusive) bound the
    `timestamp` or the `bucket`; neither bounds `cameras` and `groups`. Connection strings are never exported.

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
                    with cursor.copy(_query(relation, columns, chosen, *span)) as copied:
                        writer.writelines(copied)
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
    return SOURCES.get(relation) or sql.Identifier("public", relation)


def _time(relation: str) -> sql.Identifier:
    return sql.Identifier("a", TIMES.get(relation, "bucket"))


def _slices(
    connection: Connection, relation: str, chosen: list[UUID] | None, start: datetime | None, end: datetime | None
) -> Iterator[tuple[datetime | None, datetime | None]]:
    """Weeks of the range, for raw tables only, because a view would be computed as a whole for each."""
    if relation not in RAW_TABLES:
        yield (None, None) if relation in SOURCES else (start, end)
        return
    condition = _condition(relation, chosen, start, end)
    query = SELECT_SPAN.format(time=_time(relation), relation=_source(relation), condition=condition)
    with transaction(connection):
        first, last = row(connection, query)
    while first is not None and first <= last:
        yield first, min(first + SLICE, end or first + SLICE)
        first += SLICE


def _condition(
    relation: str, chosen: list[UUID] | None, start: datetime | None, end: datetime | None
) -> sql.Composable:
    """A condition for each given bound and no other, with constants, so that the planner excludes chunks."""
    bounds = {"a.camera_id = ANY ({bound})": chosen, "{time} >= {bound}": start, "{time} < {bound}": end}
    said = [
        sql.SQL(text).format(time=_time(relation), bound=sql.Literal(bound))
        for text, bound in bounds.items()
        if bound is not None
    ]
    return sql.SQL(" AND ").join(said) if said else sql.SQL("true")


def _query(
    relation: str, columns: dict[str, str], chosen: list[UUID] | None, start: datetime | None, end: datetime | None
) -> sql.Composed:
    found = {name: sql.Identifier("a", name) for name in columns} | {"camera": sql.Identifier("c", "name")}
    shown = [FORMAT_TIME.format(column=found[n]) if kind == "timestamptz" else found[n] for n, kind in columns.items()]
    return COPY_ROWS.format(
        columns=sql.SQL(", ").join(shown), relation=_source(relation), time=_time(relation),
        condition=_condition(relation, chosen, start, end),
    )  # fmt: skip


class _Writer(Protocol):
    """What takes rows as COPY sends them, each a line of CSV."""

    def writelines(self, rows: Iterable[Any], /) -> None: ...

    def close(self) -> None: ...


def _writer(path: Path, name: Path, columns: dict[str, str]) -> _Writer:
    if is_parquet(path):
        return _Parquet(name, columns)
    if not path.name.endswith((".csv", ".csv.gz")):
        raise InvalidInputError(f"cannot export to {path.name}: its suffix must be .csv, .csv.gz or .parquet")
    packed: Any = gzip.GzipFile(name, "wb", compresslevel=6) if path.suffix == ".gz" else None
    file = io.BufferedWriter(packed) if packed else name.open("wb")  # because gzip is slow row by row
    file.write(",".join(columns).encode() + b"\n")
    return file


class _Parquet:
    """Collects rows until they are a row group."""

    def __init__(self, name: Path, columns: dict[str, str]) -> None:
        self._schema = pa.schema([(column, ARROW_TYPES.get(kind, pa.string())) for column, kind in columns.items()])
        self._file = pq.ParquetWriter(name, self._schema, compression="zstd")
        self._text = io.BytesIO()

    def writelines(self, rows: Iterable[Any], /) -> None:
        for line in rows:
            self._text.write(line)
            if self._text.tell() >= ROW_GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        text, self._text = self._text.getbuffer(), io.BytesIO()
        if not text:
            return  # because Arrow's CSV reader refuses an empty file
        self._file.write_table(pc.read_csv(pa.BufferReader(text), **options(self._schema, len(text) + 1)))

    def close(self) -> None:
        self._flush()
        self._file.close()
