"""Columns of events, from Arrow or as lists. A column is converted as a whole, and only rows for which that fails are
parsed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from timeseries.errors import InvalidInputError
from timeseries.ingest.batches import Bytes, camera_array
from timeseries.model.events import (
    EARLIEST,
    LARGEST_COUNT,
    MICROSECOND,
    POSTGRES_EPOCH,
    Rejection,
    RejectionKind,
    check_count,
    event_time,
)
from timeseries.model.parsing import localize, parse_count, parse_timestamp

Column: TypeAlias = "pa.Array | list[Any]"
Mask: TypeAlias = npt.NDArray[np.bool_]
UNIX_EPOCH = -(POSTGRES_EPOCH - POSTGRES_EPOCH.replace(year=1970)) // MICROSECOND
LATEST = (POSTGRES_EPOCH.replace(year=9999) - POSTGRES_EPOCH) // MICROSECOND - UNIX_EPOCH
PER_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that Python cannot hold: what is wrong with it, and the nearest text."""

    reason: str
    text: str


def python_value(scalar: pa.Scalar) -> Any:
    """A value of Arrow's in Python, or an Unreadable."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        raw = scalar.as_buffer().to_pybytes() if isinstance(scalar, pa.BinaryScalar) else b""
        return Unreadable(f"{raw!r:.100} is not UTF-8; save the file as UTF-8", raw.decode(errors="backslashreplace"))
    except (ValueError, OverflowError, KeyError, pa.ArrowException) as error:
        number = scalar.value if isinstance(scalar, pa.TimestampScalar) else ""
        return Unreadable(f"{number} {scalar.type} cannot be read: {error}", str(number))


def python_values(column: Column, positions: npt.NDArray[np.int64]) -> list[Any]:
    """Some values of a column in Python, or as Unreadable."""
    if isinstance(column, list):
        return [column[position] for position in positions.tolist()]
    if not len(positions):
        return []
    try:
        values: list[Any] = (column if len(positions) == len(column) else column.take(pa.array(positions))).to_pylist()
        return values
    except (ValueError, OverflowError, KeyError, pa.ArrowException):
        return [python_value(column[position]) for position in positions.tolist()]


def readable(name: str, value: Any) -> Any:
    """The value itself. Raises InvalidInputError where it is none."""
    if isinstance(value, Unreadable):
        raise InvalidInputError(f"{name} {value.reason}")
    return value


@dataclass(slots=True)
class Columns:
    """Parses the columns of a table into those of a batch, and keeps the first rejection of each row."""

    columns: dict[str, Column]
    rejected: dict[int, Rejection] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.columns["camera"])

    def cameras(self, ids: dict[str, bytes]) -> npt.NDArray[np.void]:
        """The sixteen-byte ids, `ids` having them by name and by text; zeros in rejected rows."""

        def camera(value: Any) -> bytes:
            found = None if value is None else ids.get(camera_key(value))
            if found is None:
                raise InvalidInputError(
                    f"no camera has the name or id {value!s:.200}; give a file of cameras, or add it"
                )
            return found

        try:
            values, good = known_cameras(self.columns["camera"], ids)
        except (pa.ArrowException, UnicodeDecodeError):
            values, good = np.zeros(self.rows, dtype="V16"), self.no_rows()
        for position, value in self.parse_where("camera", ~good, camera):
            values[position] = np.void(value)
        return values

    def times(self, zone: ZoneInfo | None) -> npt.NDArray[np.int64]:
        """Microseconds since 2000-01-01 UTC; `zone` is that of naive timestamps."""
        try:
            values, good = zoned_times(self.columns["timestamp"])
        except pa.ArrowException:
            values, good = np.zeros(self.rows, dtype=np.int64), self.no_rows()
        convert = self.parse_where("timestamp", ~good, lambda value: event_time(localize(parse_timestamp(value), zone)))
        for position, value in convert:
            values[position] = value
        return values

    def counts(self) -> npt.NDArray[np.int32]:
        """Cars."""
        try:
            values, good = whole_counts(self.columns["occupied_count"])
        except pa.ArrowException:
            values, good = np.zeros(self.rows, dtype=np.int32), self.no_rows()
        convert = self.parse_where(
            "occupied_count", ~good, lambda value: check_count(parse_count(value) if isinstance(value, str) else value)
        )
        for position, value in convert:
            values[position] = value
        return values

    def parse_all(self, name: str, convert: Callable[[Any], bytes | None], default: bytes | None) -> Bytes:
        """The bytes of each row, parsed one by one; `default` in rejected rows."""
        values = [default] * self.rows
        for position, value in self.parse_where(name, ~self.no_rows(), convert):
            values[position] = value
        return values

    def parse_optional(self, name: str, convert: Callable[[Any], bytes | None]) -> Bytes | None:
        """The bytes of each row of an optional column, None where no row has a value."""
        column = self.columns.get(name)
        if column is None or (isinstance(column, pa.Array) and column.null_count == self.rows):
            return None
        values = self.parse_all(name, convert, None)
        return values if any(value is not None for value in values) else None

    def parse_where(self, name: str, where: Mask, convert: Callable[[Any], Any]) -> Iterator[tuple[int, Any]]:
        """Position and parsed value of the rows of a mask; a row that cannot be parsed is rejected."""
        kind = RejectionKind("unknown_camera" if name == "camera" else name)
        positions = np.flatnonzero(where)
        values = python_values(self.columns[name], positions)
        for position, value in zip(positions.tolist(), values, strict=True):
            try:
                yield position, convert(readable(name, value))
            except InvalidInputError as error:
                self.rejected.setdefault(position, Rejection(position, str(error), kind=kind))

    def no_rows(self) -> Mask:
        return np.zeros(self.rows, dtype=bool)


def camera_key(value: object) -> str:
    """A camera's name or the text of its id."""
    return str(UUID(bytes=value)) if isinstance(value, bytes) and len(value) == 16 else str(value)


def known_cameras(column: Column, ids: dict[str, bytes]) -> tuple[npt.NDArray[np.void], Mask]:
    """The ids of the cameras, and where they are known; each name is looked up once."""
    if not isinstance(column, pa.Array):
        raise pa.ArrowNotImplementedError("a list")
    if getattr(column.type, "extension_name", None) == "arrow.uuid":
        column = column.storage
    encoded = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    found = [None if name is None else ids.get(camera_key(name)) for name in names] + [None]
    indices = encoded.indices.cast(pa.int64()).fill_null(len(names)).to_numpy(zero_copy_only=False)
    good = np.array([camera is not None for camera in found])
    return camera_array([camera or bytes(16) for camera in found]).take(indices), good.take(indices)


def zoned_times(column: Column) -> tuple[npt.NDArray[np.int64], Mask]:
    """Microseconds since 2000-01-01, and where they are the moments that were meant: not those of a naive type."""
    if isinstance(column, pa.Array) and is_text(column.type):
        column = pc.cast(column, pa.timestamp("us", tz="UTC"))
    if not isinstance(column, pa.Array) or not pa.types.is_timestamp(column.type) or column.type.tz is None:
        raise pa.ArrowNotImplementedError("no zoned timestamps")
    numbers = column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    per_unit = PER_UNIT.get(column.type.unit)
    numbers, last = (numbers // 1_000, LATEST) if per_unit is None else (numbers, LATEST // per_unit)
    good = (numbers >= (EARLIEST - UNIX_EPOCH)) & (numbers <= last)
    return np.where(good, numbers, 0) * (per_unit or 1) + UNIX_EPOCH, good


def whole_counts(column: Column) -> tuple[npt.NDArray[np.int32], Mask]:
    """The counts, and where they are such; floats are where they have no fraction."""
    if not isinstance(column, pa.Array) or pa.types.is_boolean(column.type):
        raise pa.ArrowNotImplementedError("no numbers")
    if is_text(column.type) and pc.any(pc.match_substring(column, "x", ignore_case=True)).as_py():
        raise pa.ArrowNotImplementedError("text like 0x10, which Arrow takes for a number")
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    numbers = (column if numeric else pc.cast(column, pa.int64())).to_numpy(zero_copy_only=False)
    good = (numbers >= 0) & (numbers <= LARGEST_COUNT)
    if numbers.dtype.kind == "f":
        good &= numbers == np.floor(numbers)
    return np.where(good, numbers, 0).astype(np.int32), good


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
