"""Tables of events, from files or DataFrames, as batches; what is wrong is found column by column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timeseries import ingest
from timeseries.batches import Batch, Bytes, Family, camera_array
from timeseries.cameras import Cameras
from timeseries.connections import Pool
from timeseries.errors import InvalidInputError
from timeseries.events import (
    EPOCH,
    LARGEST_COUNT,
    MICROSECOND,
    RecordResult,
    Rejection,
    count,
    json_bytes,
    microseconds,
    status_bytes,
    text_bytes,
)
from timeseries.text import in_zone, parse_count, parse_json, parse_timestamp

EVENT_COLUMNS: dict[Family, tuple[str, ...]] = {
    "occupancy": ("camera", "timestamp", "occupied_count"),
    "health": ("camera", "timestamp", "status"),
}
EXTRA = {"occupancy": "raw_data", "health": "message"}
EXTRA_PARSERS: dict[Family, Callable[[Any], bytes | None]] = {
    "occupancy": lambda value: json_bytes(parse_json(value)),
    "health": text_bytes,
}
UNIX_EPOCH = -(EPOCH - EPOCH.replace(year=1970)) // MICROSECOND


def record_table(
    pool: Pool, cameras: Cameras, table: pa.Table, on_conflict: ingest.OnConflict = "ignore"
) -> RecordResult:
    """Store the rows of a table as `Store.record_frame` describes; the index of a rejection is that of the row."""
    if "camera" not in table.column_names and "camera_id" in table.column_names:
        table = table.rename_columns(["camera" if name == "camera_id" else name for name in table.column_names])
    family = family_of("the table", table.column_names)
    ids = camera_ids(cameras)
    result, offset = RecordResult(), 0
    for part in table.to_batches(max_chunksize=ingest.BATCH_SIZE):
        batch, reasons = parse(part, family, ids)
        stored = ingest.store(pool, batch, on_conflict) if len(batch) else RecordResult()
        reasons |= {rejection.index: rejection.reason for rejection in stored.rejected}
        rejected = tuple(Rejection(offset + row, reasons[row]) for row in sorted(reasons))
        result += replace(stored, rejected=rejected)
        offset += part.num_rows
    return result


def camera_ids(cameras: Cameras) -> dict[str, bytes]:
    """The id of each camera, by its name and by its id as text."""
    return {key: id_.bytes for name, id_ in cameras.ids().items() for key in (name, str(id_))}


def family_of(source: str, columns: list[str]) -> Family:
    """Which events a file holds, by its columns. Raises InvalidInputError where some are missing."""
    for family, wanted in EVENT_COLUMNS.items():
        if set(wanted) <= set(columns):
            return family
    raise InvalidInputError(
        f"{source} has the columns {', '.join(columns)};"
        f" it needs {' or '.join(', '.join(wanted) for wanted in EVENT_COLUMNS.values())}"
    )


def parse(
    table: pa.RecordBatch, family: Family, ids: dict[str, bytes], zone: ZoneInfo | None = None
) -> tuple[Batch, dict[int, str]]:
    """The good rows as a batch, and the reasons against the others by their position in the table; `zone` is that of
    naive timestamps.

    Whole columns are converted at once; only a column in which that fails is looked at row by row.
    """
    rows = table.num_rows
    columns = _Columns(table)
    cameras, times = columns.cameras(ids), columns.times(zone)
    counts = statuses = None
    extra: Bytes | None = columns.optional(EXTRA[family], EXTRA_PARSERS[family])
    if family == "occupancy":
        counts = columns.counts()
    else:
        statuses = cast("Bytes", columns.each("status", status_bytes, b"healthy"))
        extra = extra or [None] * rows
    batch = Batch(family, np.arange(rows), cameras, times, counts, statuses, extra)
    if columns.reasons:
        good = np.ones(rows, dtype=bool)
        good[list(columns.reasons)] = False
        batch = batch.take(good)
    return batch, columns.reasons


@dataclass(slots=True)
class _Columns:
    """The columns of a table as those of a batch; the first reason against each row is kept."""

    table: pa.RecordBatch
    reasons: dict[int, str] = field(default_factory=dict)

    def each(self, name: str, convert: Callable[[Any], Any], default: Any) -> list[Any]:
        values = []
        for position, value in enumerate(self.table.column(name).to_pylist()):
            try:
                values.append(convert(value))
            except InvalidInputError as error:
                self.reasons.setdefault(position, str(error))
                values.append(default)
        return values

    def cameras(self, ids: dict[str, bytes]) -> npt.NDArray[np.void]:
        def camera(value: Any) -> bytes:
            found = ids.get(str(value))
            if found is None:
                raise InvalidInputError(
                    f"no camera has the name or id {value!s:.200}; give a file of cameras, or add it"
                )
            return found

        names = self.table.column("camera")
        encoded = names if isinstance(names, pa.DictionaryArray) else names.dictionary_encode()
        found = [ids.get(str(name)) for name in encoded.dictionary.to_pylist()]
        if encoded.null_count == 0 and None not in found:
            indices: npt.NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False)
            return camera_array(cast("list[bytes]", found)).take(indices)
        return camera_array(self.each("camera", camera, bytes(16)))

    def times(self, zone: ZoneInfo | None) -> npt.NDArray[np.int64]:
        try:
            return _times(self.table.column("timestamp"))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            values = self.each("timestamp", lambda value: microseconds(in_zone(parse_timestamp(value), zone)), 0)
            return np.array(values, dtype=np.int64)

    def counts(self) -> npt.NDArray[np.int32]:
        try:
            return _counts(self.table.column("occupied_count"))
        except pa.ArrowInvalid:
            values = self.each("occupied_count", lambda value: count(parse_count(value)), 0)
            return np.array(values, dtype=np.int32)

    def optional(self, name: str, convert: Callable[[Any], bytes | None]) -> Bytes | None:
        """None where no row has any."""
        if name not in self.table.schema.names or self.table.column(name).null_count == self.table.num_rows:
            return None
        return self.each(name, convert, None)


def _times(column: pa.Array) -> npt.NDArray[np.int64]:
    if column.null_count:
        raise pa.ArrowInvalid("a timestamp is missing")
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        raise pa.ArrowInvalid("the timestamps are naive")
    stamps = pc.cast(column, pa.timestamp("us", tz="UTC"), safe=False)
    times: npt.NDArray[np.int64] = stamps.cast(pa.int64()).to_numpy(zero_copy_only=False) + UNIX_EPOCH
    return times


def _counts(column: pa.Array) -> npt.NDArray[np.int32]:
    numbers = pc.cast(column, pa.int64())
    if numbers.null_count or pc.min(numbers).as_py() < 0 or pc.max(numbers).as_py() > LARGEST_COUNT:
        raise pa.ArrowInvalid("a count is missing or out of range")
    counts: npt.NDArray[np.int32] = numbers.to_numpy(zero_copy_only=False).astype(np.int32)
    return counts
