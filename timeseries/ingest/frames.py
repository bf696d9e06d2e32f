"""Tables of events, from files or DataFrames, as batches. Values are checked column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

from timeseries.cameras import Cameras
from timeseries.database.connections import Pool
from timeseries.errors import InvalidInputError
from timeseries.ingest import record
from timeseries.ingest.batches import Batch, Bytes
from timeseries.ingest.columns import Column, Columns
from timeseries.model.events import RecordResult, Rejection, json_bytes, status_bytes, text_bytes
from timeseries.model.parsing import parse_json
from timeseries.model.relations import FAMILIES, HEALTH, OCCUPANCY, Family

NEEDED = {family: ("camera", "timestamp", family.value) for family in FAMILIES}
EXTRA_PARSERS: dict[Family, Callable[[Any], bytes | None]] = {
    OCCUPANCY: lambda value: json_bytes(parse_json(value)),
    HEALTH: text_bytes,
}
LARGEST_EXTRA = 32 << 20  # bytes of raw data or messages that wait
SourceColumn: TypeAlias = "pa.ChunkedArray | pa.Array | list[Any] | None"
KNOWN_COLUMNS = {"camera", *(name for family in FAMILIES for name in family.columns)}


def record_table(pool: Pool, cameras: Cameras, frame: Any, on_conflict: record.OnConflict = "ignore") -> RecordResult:
    """Store the rows of a table as `Store.record_frame` describes; the index of a rejection is that of the row."""
    columns, rows = columns_of(frame)
    if "camera" not in columns and "camera_id" in columns:
        columns = {"camera" if name == "camera_id" else name: column for name, column in columns.items()}
    family = family_of("the table", list(columns))
    ids = camera_ids(cameras)
    result = RecordResult()
    waiting = Waiting()
    rejected: dict[int, Rejection] = {}
    for offset in range(0, rows, record.BATCH_SIZE):
        batch, refused = to_batch(slice_columns(columns, offset, record.BATCH_SIZE), family, ids)
        rejected |= moved(refused.values(), offset)
        waiting.add(batch, offset)
        if waiting.is_full() or offset + record.BATCH_SIZE >= rows:
            result += record.store(pool, waiting.taken(), on_conflict)
    rejected |= moved(result.rejected, 0)
    return replace(result, rejected=tuple(rejected[row] for row in sorted(rejected)))


def moved(rejections: Iterable[Rejection], offset: int) -> dict[int, Rejection]:
    """The rejections of a part of a table that begins at `offset`, by their index in the whole table."""
    return {offset + one.index: replace(one, index=offset + one.index) for one in rejections}


@dataclass(slots=True)
class Waiting:
    """Batches of one family that are stored together, in bounded memory: a transaction computes each quarter, hour and
    day once.
    """

    batches: list[Batch] = field(default_factory=list)
    extra_bytes: int = 0

    def add(self, batch: Batch, offset: int) -> None:
        """A batch whose rows begin at `offset` in the input."""
        self.batches.append(replace(batch, rows=batch.rows + offset))
        self.extra_bytes += sum(len(value) for value in batch.extra or () if value is not None)

    def is_full(self) -> bool:
        """Whether another batch could be too many."""
        events = sum(map(len, self.batches))
        return events > record.TRANSACTION_SIZE - record.BATCH_SIZE or self.extra_bytes > LARGEST_EXTRA

    def taken(self) -> Batch:
        """All of them as one; afterwards none waits."""
        batch = Batch.joined(self.batches)
        self.batches, self.extra_bytes = [], 0
        return batch


def columns_of(frame: Any) -> tuple[dict[str, SourceColumn], int]:
    """The columns of a frame by name, unknown ones as None, and the number of rows.

    A column of Python objects stays a list, because Arrow would infer one type for the whole column. Raises
    InvalidInputError where the frame is no table, or has a known column twice.
    """
    try:
        if isinstance(frame, Mapping):
            frame = pd.DataFrame({name: with_arrow_type(column) for name, column in frame.items()})
        table = None if isinstance(frame, pd.DataFrame) else pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InvalidInputError(f"a {type(frame).__name__} is no table of events: {error}") from error
    names = list(map(str, frame.columns)) if table is None else table.column_names
    twice = sorted(name for name in KNOWN_COLUMNS if names.count(name) > 1)
    if twice:
        raise InvalidInputError(f"the table has more than one column {', '.join(twice)}; leave one of them")
    if table is not None:
        return dict(zip(names, table.columns, strict=True)), table.num_rows
    levels = [name for name in frame.index.names if name in KNOWN_COLUMNS]
    columns = {name: arrow_from_pandas(frame.index.get_level_values(name)) for name in levels}
    columns |= {name: arrow_from_pandas(frame[name]) if name in KNOWN_COLUMNS else None for name in names}
    return columns, len(frame)


def with_arrow_type(column: Any) -> Any:
    """An Arrow array for a DataFrame with its type kept (pandas.ArrowDtype); other columns as they are."""
    return column.to_pandas(types_mapper=pd.ArrowDtype) if isinstance(column, pa.Array | pa.ChunkedArray) else column


def arrow_from_pandas(column: Any) -> SourceColumn:
    """A pandas column as an Arrow array, or, of objects, as a list with None for missing values."""
    values = column.dtype.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    if values.dtype != object:
        try:
            return pa.array(column, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            pass
    return [None if gone else value for value, gone in zip(column.tolist(), column.isna(), strict=True)]


def slice_columns(columns: dict[str, SourceColumn], start: int, rows: int) -> dict[str, Column]:
    """Some rows of the known columns."""
    known = {name: column for name, column in columns.items() if column is not None and name in KNOWN_COLUMNS}
    cuts = {name: column[start : start + rows] for name, column in known.items()}
    return {name: cut.combine_chunks() if isinstance(cut, pa.ChunkedArray) else cut for name, cut in cuts.items()}


def camera_ids(cameras: Cameras) -> dict[str, bytes]:
    """The id of each camera, by its name and by its id as text."""
    return {key: id_.bytes for name, id_ in cameras.ids().items() for key in (name, str(id_))}


def family_of(source: str, columns: list[str]) -> Family:
    """Which events a file holds, by its columns. Raises InvalidInputError where some are missing."""
    for family, wanted in NEEDED.items():
        if set(wanted) <= set(columns):
            return family
    raise InvalidInputError(
        f"{source} has the columns {', '.join(columns)};"
        f" it needs {' or '.join(', '.join(wanted) for wanted in NEEDED.values())}"
    )


def to_batch(
    table: pa.RecordBatch | dict[str, Column], family: Family, ids: dict[str, bytes], zone: ZoneInfo | None = None
) -> tuple[Batch, dict[int, Rejection]]:
    """The good rows as a batch, and the rejections of the others by their position in the table; `zone` is that of
    naive timestamps.
    """
    columns = Columns(table if isinstance(table, dict) else dict(zip(table.schema.names, table.columns, strict=True)))
    cameras, times = columns.cameras(ids), columns.times(zone)
    counts = statuses = None
    if family is OCCUPANCY:
        counts = columns.counts()
    else:
        statuses = columns.parse_all("status", status_bytes, b"healthy")
    extra: Bytes | None = columns.parse_optional(family.extra, EXTRA_PARSERS[family])
    if family is HEALTH:
        extra = extra or [None] * columns.rows
    batch = Batch(family, np.arange(columns.rows), cameras, times, counts, statuses, extra)
    if columns.rejected:
        good = np.ones(columns.rows, dtype=bool)
        good[list(columns.rejected)] = False
        batch = batch.take(good)
    return batch, columns.rejected
