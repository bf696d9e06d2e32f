"""Tables of events, from files or DataFrames, as batches; what is wrong is found column by column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from timeseries import ingest
from timeseries.batches import Batch, Family, camera_array
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
    return {key: camera.id.bytes for camera in cameras.list() for key in (camera.name, str(camera.id))}


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
    reasons: dict[int, str] = {}
    rows = table.num_rows

    def each(name: str, convert: Callable[[Any], Any], default: Any) -> list[Any]:
        values = []
        for position, value in enumerate(table.column(name).to_pylist()):
            try:
                values.append(convert(value))
            except InvalidInputError as error:
                reasons.setdefault(position, str(error))
                values.append(default)
        return values

    def camera(value: Any) -> bytes:
        found = ids.get(str(value))
        if found is None:
            raise InvalidInputError(f"no camera has the name or id {value!s:.200}; give a file of cameras, or add it")
        return found

    names = table.column("camera")
    encoded = names.dictionary_encode() if not isinstance(names, pa.DictionaryArray) else names
    table_ids = [ids.get(str(name)) for name in encoded.dictionary.to_pylist()]
    if encoded.null_count == 0 and None not in table_ids:
        cameras = camera_array(cast("list[bytes]", table_ids))[encoded.indices.to_numpy(zero_copy_only=False)]
    else:
        cameras = camera_array(each("camera", camera, bytes(16)))

    try:
        times = _times(table.column("timestamp"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        moments = each("timestamp", lambda value: microseconds(in_zone(parse_timestamp(value), zone)), 0)
        times = np.array(moments, dtype=np.int64)

    extra = None
    if EXTRA[family] in table.schema.names and table.column(EXTRA[family]).null_count < rows:
        convert = (lambda value: json_bytes(parse_json(value))) if family == "occupancy" else text_bytes
        extra = each(EXTRA[family], convert, None)
    counts = statuses = None
    if family == "occupancy":
        try:
            counts = _counts(table.column("occupied_count"))
        except pa.ArrowInvalid:
            counts = np.array(each("occupied_count", lambda value: count(parse_count(value)), 0), dtype=np.int32)
    else:
        statuses = cast("list[bytes | None]", each("status", status_bytes, b"healthy"))
        extra = extra or [None] * rows
    batch = Batch(family, np.arange(rows), cameras, times, counts, statuses, extra)
    if reasons:
        good = np.ones(rows, dtype=bool)
        good[list(reasons)] = False
        batch = batch.take(good)
    return batch, reasons


def _times(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    if column.null_count:
        raise pa.ArrowInvalid("a timestamp is missing")
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        raise pa.ArrowInvalid("the timestamps are naive")
    stamps = pc.cast(column, pa.timestamp("us", tz="UTC"), safe=False)
    times: np.ndarray[Any, np.dtype[np.int64]] = stamps.cast(pa.int64()).to_numpy(zero_copy_only=False) + UNIX_EPOCH
    return times


def _counts(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int32]]:
    numbers = pc.cast(column, pa.int64())
    if numbers.null_count or pc.min(numbers).as_py() < 0 or pc.max(numbers).as_py() > LARGEST_COUNT:
        raise pa.ArrowInvalid("a count is missing or out of range")
    counts: np.ndarray[Any, np.dtype[np.int32]] = numbers.to_numpy(zero_copy_only=False).astype(np.int32)
    return counts
