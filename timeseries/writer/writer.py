"""The background writer of an edge device: it batches, retries, isolates, and never drops an event silently."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Literal, Self

from timeseries.errors import ConfigurationError, NotStoredError, SpoolError, WriterFullError
from timeseries.model.events import Event, Rejection, RejectionKind
from timeseries.settings import BATCH_DEADLINE
from timeseries.writer.backoff import delays
from timeseries.writer.delivery import Delivery, Record
from timeseries.writer.replay import Replay
from timeseries.writer.spool import Spool

log = logging.getLogger(__name__)
OnFull = Literal["block", "raise"]
AGE_RESOLUTION = 0.01  # seconds
LAST_WAIT = 0.5  # seconds for a thread that was told to stop
EXIT_TIMEOUT = 10.0  # seconds, at most, for a writer that nobody closed, or that Ctrl-C closes


@dataclass(frozen=True, slots=True)
class WriterState:
    """What a writer has done and what is left: `pending` events are accepted and not stored yet, `oldest_seconds` is
    how long the oldest of them waits (None: nothing waits), `silent_seconds` how long the call to the server has waited
    for a byte (None: there is no call), `damaged` counts records of the spool that are unreadable or missing,
    `spool_bytes` is its size on disk. A retry after a lost answer finds its events stored, and counts them as
    duplicates. After a recovery of the database `replayed` events were sent again; what was delivered before
    `lost_before` (UTC) may be lost. `rejected_by` has the rejections by `RejectionKind`,
    `batches` the stored batches by the seconds that they took, up to each of `timeseries.writer.tally.BOUNDS`, and
    `batch_seconds` their sum.
    """

    accepted: int
    pending: int
    oldest_seconds: float | None
    silent_seconds: float | None
    stored: int
    duplicates: int
    rejected: int
    retries: int
    damaged: int
    last_error: str | None
    replayed: int
    lost_before: datetime | None
    spool_bytes: int
    rejected_by: Mapping[RejectionKind, int]
    batches: tuple[int, ...]
    batch_seconds: float


class Writer:
    """Stores events in the background, in batches. Safe to share between threads.

    `record` accepts an event: into memory, or with a spool onto disk. A thread stores what was accepted when
    `batch_size` events wait or the oldest has waited for `flush_interval` seconds. A failed batch is retried with
    exponential backoff, without end; an event that is refused for good goes to `on_rejected`, and the rest of its batch
    is stored. A call to the server over which no byte moves for `deadline` seconds is given up, and its batch sent by
    another connection. When `max_pending` events wait, `record` blocks or raises WriterFullError.
    """

    def __init__(
        self,
        record: Record,
        *,
        batch_size: int = 5_000,
        flush_interval: float = 1.0,
        max_pending: int = 100_000,
        on_full: OnFull = "block",
        on_rejected: Callable[[Rejection], None] | None = None,
        spool: Path | str | None = None,
        keep_delivered: float = 0.0,
        identify: Callable[[], str | None] = lambda: None,
        close_timeout: float = 60.0,
        deadline: float = BATCH_DEADLINE.total_seconds(),
    ) -> None:
        """Raises ConfigurationError for settings that contradict each other, or a spool that cannot be used."""
        if not 0 < batch_size <= max_pending or min(flush_interval, deadline) <= 0 or on_full not in ("block", "raise"):
            raise ConfigurationError(
                f"writer settings: batch_size {batch_size} must lie between 1 and max_pending {max_pending},"
                f" flush_interval {flush_interval} and deadline {deadline} must be above 0,"
                f" on_full {on_full!r} must be 'block' or 'raise'"
            )
        self._batch_size, self._flush_interval = batch_size, flush_interval
        self._max_pending, self._on_full = max_pending, on_full
        self._close_timeout = close_timeout
        self._spool = Spool(Path(spool), keep_delivered) if spool is not None else None
        self._memory: deque[Event] = deque()
        self._ages: deque[tuple[int, float]] = deque()  # events accepted in all, and when
        self._accepted = len(self._spool) if self._spool is not None else 0
        self._settled = 0
        if self._accepted:
            self._ages.append((self._accepted, time.monotonic()))
        self._entering = 0  # threads on their way into the spool
        self._changed = threading.Condition()
        self._flushing = self._accepted
        self._closing = self._ended = False
        self._replay = Replay(identify)
        self._delivery = Delivery(record, on_rejected, deadline)
        self._thread = threading.Thread(target=self._run, name="timeseries-writer", daemon=True)
        self._thread.start()
        self._process = os.getpid()
        atexit.register(self._close_at_exit)

    @property
    def state(self) -> WriterState:
        """A snapshot."""
        rejected_by = dict(self._delivery.tally.rejected)  # a copy, because its thread goes on counting
        with self._changed:
            return WriterState(
                accepted=self._accepted,
                pending=self._accepted - self._settled,
                oldest_seconds=time.monotonic() - self._ages[0][1] if self._ages else None,
                silent_seconds=self._delivery.silent_seconds,
                stored=self._delivery.stored,
                duplicates=self._delivery.duplicates,
                rejected=sum(rejected_by.values()),
                retries=self._delivery.retries,
                damaged=self._spool.damaged if self._spool is not None else 0,
                last_error=self._delivery.last_error,
                replayed=self._replay.replayed,
                lost_before=self._replay.lost_before,
                spool_bytes=self._spool.bytes if self._spool is not None else 0,
                rejected_by=rejected_by,
                batches=tuple(self._delivery.tally.batches),
                batch_seconds=self._delivery.tally.seconds,
            )

    def record(self, event: Event) -> None:
        """Accept an event; with a spool it is on disk on return. An invalid event goes to `on_rejected`, with a spool
        before this returns.

        Raises WriterFullError where too much is pending and `on_full` is "raise", SpoolError where the disk refuses.
        """
        block = self._on_full == "block"
        if self._spool is None:
            self._put(event, block=block)
        elif self._acceptable(event):
            self._spool_event(event, self._spool, block=block)

    async def arecord(self, event: Event) -> None:
        """`record` for asyncio: the loop goes on while it waits for room or for the disk."""
        if self._spool is not None:
            await asyncio.to_thread(self.record, event)
            return
        try:
            self._put(event, block=False)
        except WriterFullError:
            if self._on_full == "raise":
                raise
            await asyncio.to_thread(self._put, event, block=True)

    def _acceptable(self, event: Event) -> bool:
        from timeseries.ingest.batches import from_events

        rejections = from_events([event])[1]
        if rejections:
            self._delivery.reject(rejections[0])
        return not rejections

    def _put(self, event: Event, *, block: bool) -> None:
        with self._changed:
            self._wait_for_room(block=block)
            self._memory.append(event)
            self._count(self._accepted + 1)

    def _spool_event(self, event: Event, spool: Spool, *, block: bool) -> None:
        with self._changed:
            self._wait_for_room(block=block)
            self._entering += 1
        try:
            spool.append(event)
        finally:  # interrupted, it may be accepted all the same
            with self._changed:
                self._entering -= 1
                self._count(spool.accepted)
                if self._closing:
                    self._changed.notify_all()

    def _wait_for_room(self, *, block: bool) -> None:
        while self._accepted + self._entering - self._settled >= self._max_pending and not self._closing:
            if not block:
                raise WriterFullError(f"{self._max_pending:,} events wait to be stored ({self._delivery.last_error})")
            self._changed.wait(1)
        if self._closing:
            raise NotStoredError("the writer is closed; the event was not accepted")

    def _count(self, accepted: int) -> None:
        before, self._accepted = self._accepted - self._settled, max(accepted, self._accepted)
        now = time.monotonic()
        if self._ages and now - self._ages[-1][1] < AGE_RESOLUTION:
            self._ages[-1] = (self._accepted, self._ages[-1][1])
        elif self._accepted - self._settled > before:
            self._ages.append((self._accepted, now))
        if before == 0 or before < self._batch_size <= self._accepted - self._settled:
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all that was accepted before is settled.

        Raises NotStoredError after `timeout` seconds, or where the writer ended before.
        """
        with self._changed:
            wanted = self._flushing = self._accepted
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._settled >= wanted or self._ended, timeout)
            if self._settled < wanted:
                raise NotStoredError(
                    f"{wanted - self._settled:,} events are not stored yet ({self._delivery.last_error})"
                )

    def close(self, timeout: float | None = None) -> None:
        """Accept nothing more, store what waits, and stop.

        Raises NotStoredError where that takes longer than `timeout` seconds (`close_timeout` by default): what waits
        is lost then, or stays in the spool for the next writer on its path. A call to the server that is under way is
        left alone half a second later, may still store its batch, and only then gives the spool back: ten seconds of
        silence later at most.
        """
        with self._changed:
            self._closing = True
            self._flushing = self._accepted
            self._changed.notify_all()
        self._thread.join(self._close_timeout if timeout is None else timeout)
        self._delivery.stop()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(LAST_WAIT)
        busy = self._thread.is_alive()
        if not busy:
            atexit.unregister(self._close_at_exit)
        left = self._accepted - self._settled
        if left:
            where = f"they stay in the spool {self._spool.path}" if self._spool is not None else "they are lost"
            where += ", but for those that a call under way may still store" if busy else ""
            raise NotStoredError(f"{left:,} events were accepted and not stored, {where} ({self._delivery.last_error})")

    def _close_at_exit(self) -> None:
        """Close a writer that was left open at exit; a forked process does not, because the thread is its parent's."""
        if os.getpid() != self._process:
            return
        try:
            self.close(min(self._close_timeout, EXIT_TIMEOUT))
        except NotStoredError as error:
            log.error("the writer was not closed before the program ended: %s", error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is not None and not issubclass(kind, Exception)
        self.close(min(self._close_timeout, EXIT_TIMEOUT) if interrupted else None)

    def _run(self) -> None:
        try:
            while wanted := self._wait_for_work():
                taken = self._take(self._replay.limit(wanted))
                if taken is None or (taken[1] and not self._delivery.deliver(taken[1])):
                    return
                self._settle(taken[0])
        except Exception as error:  # a bug: end the writer, because `flush` and `close` would wait for ever
            log.exception("the writer stopped")
            self._delivery.last_error = f"{type(error).__name__}: {error}"
        finally:
            if self._spool is not None:
                self._spool.close()
            with self._changed:
                self._closing = self._ended = True
                self._changed.notify_all()

    def _take(self, number: int) -> tuple[int, list[Event]] | None:
        """The oldest records and their events; None where it was stopped before they could be read."""
        if self._spool is None:
            return number, list(islice(self._memory, number))
        pauses = delays()
        while True:
            try:
                return self._spool.take(number)
            except SpoolError as error:
                if not self._delivery.wait(error, pauses, number):
                    return None

    def _wait_for_work(self) -> int:
        """How many events to take, once a batch is full, the oldest event has waited long enough, or somebody flushes;
        0 when all is done.
        """
        with self._changed:
            while not self._delivery.stopped:
                waiting = self._accepted - self._settled
                if not waiting:
                    if self._closing and not self._entering:
                        return 0
                    self._changed.wait(self._flush_interval)
                    continue
                rest = self._flush_interval - (time.monotonic() - self._ages[0][1])
                if waiting >= self._batch_size or self._settled < self._flushing or rest <= 0:
                    return min(waiting, self._batch_size)
                self._changed.wait(rest)
        return 0

    def _settle(self, number: int) -> None:
        if self._spool is not None:
            if again := self._replay.begin(self._spool, self._delivery):
                with self._changed:
                    self._settled -= again
                return
            self._spool.remove()
        with self._changed:
            if self._spool is None:
                for _ in range(number):
                    self._memory.popleft()
            self._settled += number
            while self._ages and self._ages[0][0] <= self._settled:
                self._ages.popleft()
            self._changed.notify_all()

    def __len__(self) -> int:
        return self._accepted - self._settled
