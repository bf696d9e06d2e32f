"""Rows to DataFrames and Arrow tables: the one module that knows how."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analytics.request import CameraInfo, ZoneSelection
from timeseries import InvalidInputError
from timeseries.model.relations import HEALTH_STATUSES

DtypeBackend = Literal["pyarrow"]

CAMERA = pa.dictionary(pa.int32(), pa.string())
STATUS = pa.dictionary(pa.int8(), pa.string())
MOMENT = pa.timestamp("us", "UTC")
# One name, one type, in every answer. Moments get the zone of the answer.
NAMES_OF_TYPES = {
    CAMERA: ("camera", "camera_id"),
    STATUS: ("status", "first_status", "last_status"),
    MOMENT: ("bucket", "start", "end", "timestamp", "counted_at", "status_at", "first_at", "last_at"),
    pa.timestamp("us"): ("local_date", "local_start"),
    pa.duration("us"): ("duration", "count_age", "status_age"),
    pa.int8(): ("weekday", "hour"),
    pa.int32(): ("occupied_min", "occupied_max", "occupied_count", "first_count", "last_count", "level"),
    pa.int64(): ("place", "samples", "healthy_samples", "degraded_samples", "disconnected_samples"),
    pa.float64(): (
        "occupied_avg", "occupied_share", "coverage", "healthy_share", "degraded_share", "disconnected_share",
        "hours_at_least", "hours_at_most", "share_at_least", "share_at_most", "known_hours",
        "car_seconds", "known_seconds", "healthy_seconds", "degraded_seconds", "disconnected_seconds",
    ),
    pa.string(): ("message", "raw_data"),
    pa.bool_(): ("extremes_exact",),
}  # fmt: skip
TYPES = {name: kind for kind, names in NAMES_OF_TYPES.items() for name in names}
INDEXES = ("bucket", "start", "timestamp")  # the first of these that an answer has is the index of its frame
# Whole numbers that can be unknown are pandas' nullable ones; a count of samples is always known.
NULLABLE = {pa.int32(): pd.Int32Dtype()}


def table(
    parts: Sequence[pa.Table],
    asked: Sequence[ZoneSelection],
    columns: Sequence[str],
    keys: Sequence[str],
    attrs: dict[str, Any],
) -> pa.Table:
    """One Arrow table of the answers to several selections: the columns in this order, always of the same types,
    cameras as dictionaries by name, rows in the order of `keys`. `attrs` go into the metadata of its schema.
    """
    cameras = sorted((camera for selection in asked for camera in selection.cameras), key=lambda camera: camera.name)
    rows = pa.concat_tables(parts, promote_options="default").combine_chunks()
    positions = camera_positions(rows["camera_id"], cameras)
    if np.any(positions < 0):  # cameras that were added after the request had been understood
        rows, positions = rows.filter(pa.array(positions >= 0)), positions[positions >= 0]
    zone = attrs["timezone"] or "UTC"
    arrays = [column(name, rows, positions, cameras, zone) for name in columns]
    schema = pa.schema(
        [pa.field(name, array.type) for name, array in zip(columns, arrays, strict=True)],
        metadata={"timeseries": json.dumps(attrs)},
    )
    result = pa.Table.from_arrays(arrays, schema=schema)
    order = order_of([numbers(result[key]) for key in keys])
    return result if order is None else result.take(order)


def frame(found: pa.Table, attrs: dict[str, Any], dtype_backend: DtypeBackend | None = None) -> pd.DataFrame:
    """The same as a DataFrame. Where a row is a time it is indexed by it, in the zone of the cameras, or in UTC where
    they have several. `attrs` go into `DataFrame.attrs`.

    With `dtype_backend="pyarrow"` the columns stay Arrow's; cameras and statuses are categories always.
    """
    if dtype_backend not in (None, "pyarrow"):
        raise InvalidInputError(f"dtype_backend {dtype_backend!r} is unknown; give 'pyarrow', or None")
    index = next((name for name in INDEXES if name in found.column_names), None)
    rest = found if index is None else found.drop_columns([index])
    result: pd.DataFrame = rest.to_pandas(
        types_mapper=NULLABLE.get if dtype_backend is None else arrow_dtype, split_blocks=True
    )
    if index is not None:
        times = pd.DatetimeIndex(numbers(found[index]).view("datetime64[us]"), name=index)
        result.index = times.tz_localize("UTC").tz_convert(attrs["timezone"] or "UTC")
    result.attrs.update(attrs)
    return result


def computed(cameras: Sequence[CameraInfo], columns: dict[str, Any], attrs: dict[str, Any]) -> pd.DataFrame:
    """A frame of what was computed of cameras, by name: a row for each of these, with these columns beside it."""
    labels = {"camera": [one.name for one in cameras], "camera_id": [one.id for one in cameras]}
    categories = {name: pd.Categorical(values, sorted({*values})) for name, values in labels.items()}
    result = pd.DataFrame(categories | columns).sort_values("camera", kind="stable", ignore_index=True)
    result.attrs.update(attrs)
    return result


def attributes(asked: Sequence[ZoneSelection], unit: str) -> dict[str, Any]:
    """What was asked: the range after rounding, in ISO 8601, and whether it was rounded; what differs between
    selections is None. JSON knows all of it, and so do files that keep it.
    """
    zones, starts, ends = ({getattr(s, name) for s in asked} for name in ("timezone", "start", "end"))
    start, end = (moments.pop() if len(moments) == 1 else None for moments in (starts, ends))
    return {
        "start": start.isoformat() if start else None,
        "end": end.isoformat() if end else None,
        "rounded": any(selection.rounded for selection in asked),
        "timezone": zones.pop() if len(zones) == 1 else None,
        "unit": unit,
    }


def arrow_dtype(kind: pa.DataType) -> Any:
    return None if pa.types.is_dictionary(kind) else pd.ArrowDtype(kind)


def camera_positions(ids: pa.ChunkedArray, cameras: Sequence[CameraInfo]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Which of the cameras each row is of, -1 for none of them."""
    chunk = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    encoded = getattr(chunk, "storage", chunk).dictionary_encode()
    place = {bytes.fromhex(camera.id.replace("-", "")): position for position, camera in enumerate(cameras)}
    known = np.array([place.get(value, -1) for value in encoded.dictionary.to_pylist()], dtype=np.int32)
    result: np.ndarray[Any, np.dtype[np.int32]] = known[encoded.indices.to_numpy(zero_copy_only=False)]
    return result


def column(name: str, rows: pa.Table, positions: Any, cameras: Sequence[CameraInfo], zone: str) -> pa.Array:
    if name in ("camera", "camera_id"):
        texts = pa.array([camera.name if name == "camera" else camera.id for camera in cameras], pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(positions), texts)
    if name == "occupied_share":
        return share(rows, positions, cameras)
    kind, values = TYPES[name], rows[name].combine_chunks()
    if kind == STATUS:
        codes = pc.index_in(values, pa.array(HEALTH_STATUSES)).cast(pa.int8())
        return pa.DictionaryArray.from_arrays(codes, pa.array(HEALTH_STATUSES))
    if pa.types.is_timestamp(kind) and kind.tz:
        return values.cast(pa.timestamp("us", zone))
    return getattr(values, "storage", values).cast(kind)


def share(rows: pa.Table, positions: Any, cameras: Sequence[CameraInfo]) -> pa.Array:
    """The share of today's capacity; where the rows have one of the capacities of the time, that of cameras which had
    another.
    """
    capacities = np.array([camera.capacity or np.nan for camera in cameras], dtype=float)[positions]
    today = pc.divide(rows["occupied_avg"].combine_chunks(), pa.array(capacities, from_pandas=True))
    if "occupied_share" not in rows.column_names:
        return today
    changed = np.array([camera.has_capacities for camera in cameras])[positions]
    return pc.if_else(pa.array(changed), rows["occupied_share"].combine_chunks(), today)


def numbers(values: pa.ChunkedArray) -> Any:
    """For sorting: moments as microseconds, cameras as their places."""
    whole = values.combine_chunks()
    if pa.types.is_dictionary(whole.type):
        whole = whole.indices
    return (whole.cast(pa.int64()) if pa.types.is_timestamp(whole.type) else whole).to_numpy(zero_copy_only=False)


def order_of(keys: Sequence[Any]) -> Any:
    """The places of the rows in the order of the keys, the first one before the others; None where they have it.

    NumPy sorts, because a radix sort of keys packed into one number saved only 6 of 300 ms for half a million rows.
    """
    order = np.lexsort(keys[::-1])
    return None if np.all(order[1:] > order[:-1]) else order
