"""Batches of checked events as columns, and the bytes that PostgreSQL's binary COPY wants of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from timeseries.model.events import (
    POSTGRES_EPOCH,
    Event,
    InvalidEventError,
    OccupancyEvent,
    Rejection,
    camera_bytes,
    check_count,
    event_time,
    json_bytes,
    status_bytes,
    text_bytes,
)
from timeseries.model.relations import HEALTH, OCCUPANCY, Family

Bytes = list[bytes | None]
QUARTER = timedelta(minutes=15)
QUARTER_MICROSECONDS = 15 * 60 * 1_000_000
DAY_MICROSECONDS = 96 * QUARTER_MICROSECONDS
LARGEST_SPAN = 7 * DAY_MICROSECONDS
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
# One row without raw data: number of fields, then length and value of each, big-endian.
OCCUPANCY_ROW = np.dtype(
    [("fields", ">i2"), ("l0", ">i4"), ("camera", "V16"), ("l1", ">i4"), ("time", ">i8"),
     ("l2", ">i4"), ("count", ">i4"), ("l3", ">i4")]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one family, each column as long as the others: `rows` are their indexes in the input, `cameras` their
    sixteen-byte ids, `times` microseconds since 2000-01-01 UTC; then counts and raw data, or statuses and messages.
    """

    family: Family
    rows: npt.NDArray[np.int64]
    cameras: npt.NDArray[np.void]
    times: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int32] | None = None
    statuses: Bytes | None = None
    extra: Bytes | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, where: npt.NDArray[Any]) -> Batch:
        """The events at these positions, in this order."""
        positions = np.flatnonzero(where) if where.dtype == bool else where
        return Batch(
            self.family,
            self.rows[positions],
            self.cameras[positions],
            self.times[positions],
            None if self.counts is None else self.counts[positions],
            None if self.statuses is None else [self.statuses[i] for i in positions],
            None if self.extra is None else [self.extra[i] for i in positions],
        )

    @classmethod
    def joined(cls, batches: Sequence[Batch]) -> Batch:
        """Batches of one family as one, which has raw data or not as a whole."""
        first = batches[0]
        has_extra = any(batch.extra is not None for batch in batches)
        return Batch(
            first.family,
            np.concatenate([batch.rows for batch in batches]),
            np.concatenate([batch.cameras for batch in batches]),
            np.concatenate([batch.times for batch in batches]),
            None if first.counts is None else np.concatenate([batch.counts for batch in batches]),
            None if first.statuses is None else [status for batch in batches for status in batch.statuses or ()],
            [value for batch in batches for value in batch.extra or [None] * len(batch)] if has_extra else None,
        )

    def keys(self) -> npt.NDArray[np.void]:
        """Camera and time of each event, comparable for equality."""
        keys = np.empty(len(self), dtype=[("camera", "V16"), ("time", "i8")])
        keys["camera"], keys["time"] = self.cameras, self.times
        return keys

    def ordered(self, *, keep_last: bool = False) -> tuple[Batch, Batch]:
        """In the order in which every writer locks (time, camera), each key once, its first event or its last; and
        the repeated ones.
        """
        halves = np.ascontiguousarray(self.cameras).view(">u8").reshape(-1, 2)
        order = np.lexsort((self.rows, halves[:, 1], halves[:, 0], self.times))
        batch = self.take(order)
        keys = batch.keys()
        chosen = np.ones(len(batch), dtype=bool)
        chosen[slice(None, -1) if keep_last else slice(1, None)] = keys[1:] != keys[:-1]
        return (batch, batch.take(~chosen)) if chosen.all() else (batch.take(chosen), batch.take(~chosen))

    def slices(self, size: int) -> Iterator[Batch]:
        """Parts of an ordered batch, bounded in number and in time: no transaction opens thousands of chunks."""
        start = 0
        while start < len(self):
            day = self.times[start] // DAY_MICROSECONDS * DAY_MICROSECONDS
            end = int(np.searchsorted(self.times, day + LARGEST_SPAN))
            end = max(min(end, start + size), start + 1)
            yield self.take(np.arange(start, end))
            start = end

    def parts(self, size: int) -> Iterator[Batch]:
        """The events in order, so many at a time."""
        if len(self) <= size:
            yield self
            return
        for start in range(0, len(self), size):
            yield self.take(np.arange(start, min(start + size, len(self))))

    def quarters(self) -> tuple[str, str, str]:
        """The quarters of an hour that the events touch, each once, as texts of PostgreSQL's arrays, because a driver
        takes longer over hundreds of thousands of objects: camera ids, beginnings, and the number of events.
        """
        ids, camera = np.unique(self.cameras, return_inverse=True)
        starts, quarter = np.unique(self.times // QUARTER_MICROSECONDS, return_inverse=True)
        touched, numbers = np.unique(quarter * len(ids) + camera, return_counts=True)
        names = [str(UUID(bytes=id_.tobytes())) for id_ in ids]
        moments = [f'"{POSTGRES_EPOCH + int(start) * QUARTER}"' for start in starts]
        return (
            array_text(names[at] for at in (touched % len(ids)).tolist()),
            array_text(moments[at] for at in (touched // len(ids)).tolist()),
            array_text(map(str, numbers.tolist())),
        )

    def copy_payload(self) -> bytes:
        """The events as binary COPY data for the columns `family.columns`."""
        if self.counts is not None and self.extra is None:
            rows = np.zeros(len(self), dtype=OCCUPANCY_ROW)
            rows["fields"], rows["l0"], rows["l1"], rows["l2"], rows["l3"] = 4, 16, 8, 4, -1
            rows["camera"], rows["time"], rows["count"] = self.cameras, self.times, self.counts
            return HEADER + rows.tobytes() + TRAILER
        return HEADER + b"".join(self._rows()) + TRAILER

    def _rows(self) -> Iterator[bytes]:
        extra = self.extra or [None] * len(self)
        jsonb = b"\x01" if self.family is OCCUPANCY else b""
        if self.counts is not None:
            values: Sequence[bytes | None] = pieces(self.counts.astype(">i4"))
        else:
            values = self.statuses or []
        times = pieces(self.times.astype(">i8"))
        for camera, time, value, more in zip(self.cameras.tolist(), times, values, extra, strict=True):
            assert value is not None  # noqa: S101 - for the type checker
            yield b"".join((
                b"\0\x04\0\0\0\x10", camera, b"\0\0\0\x08", time, len(value).to_bytes(4), value,
                NULL if more is None else (len(jsonb) + len(more)).to_bytes(4) + jsonb + more,
            ))  # fmt: skip


def array_text(elements: Iterable[str]) -> str:
    return f"{{{','.join(elements)}}}"


def pieces(column: npt.NDArray[Any]) -> list[bytes]:
    """The bytes of each element, in the byte order of the column."""
    data, width = column.tobytes(), column.itemsize
    return [data[start : start + width] for start in range(0, len(data), width)]


def camera_array(ids: Sequence[bytes]) -> npt.NDArray[np.void]:
    return np.frombuffer(b"".join(ids), dtype="V16")


def from_events(events: Sequence[object], first_row: int = 0) -> tuple[list[Batch], list[Rejection]]:
    """At most one batch a family, and a rejection for each event that is wrong in itself."""
    rejected: list[Rejection] = []
    checked: dict[Family, list[tuple[Any, ...]]] = {OCCUPANCY: [], HEALTH: []}
    for row, event in enumerate(events, first_row):
        try:
            if not isinstance(event, Event):
                raise InvalidEventError(f"{event!r:.100} is neither an OccupancyEvent nor a HealthLog")
            camera, time = camera_bytes(event.camera_id), event_time(event.timestamp)
            if isinstance(event, OccupancyEvent):
                fields = (row, camera, time, check_count(event.occupied_count), json_bytes(event.raw_data))
                checked[OCCUPANCY].append(fields)
            else:
                checked[HEALTH].append((row, camera, time, status_bytes(event.status), text_bytes(event.message)))
        except InvalidEventError as error:
            rejected.append(Rejection(row, str(error), event, error.kind))
    return [_batch(family, *zip(*rows, strict=True)) for family, rows in checked.items() if rows], rejected


def _batch(family: Family, rows: Any, cameras: Any, times: Any, values: Any, extra: Any) -> Batch:
    common = family, np.array(rows), camera_array(cameras), np.array(times, dtype=np.int64)
    if family is HEALTH:
        return Batch(*common, statuses=list(values), extra=list(extra))
    raw_data = list(extra) if any(value is not None for value in extra) else None
    return Batch(*common, counts=np.array(values, dtype=np.int32), extra=raw_data)
