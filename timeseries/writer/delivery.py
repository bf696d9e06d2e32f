"""Delivery of batches to the store: retries with backoff, isolation of refused events, and counters."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from timeseries.deadline import Deadline
from timeseries.model.events import Event, RecordResult, Rejection, RejectionKind
from timeseries.settings import BATCH_DEADLINE_VARIABLE
from timeseries.writer.backoff import delays
from timeseries.writer.tally import Tally

log = logging.getLogger(__name__)
Record = Callable[[Sequence[Event]], RecordResult]


class Delivery:
    """Stores batches of events by `record`, retries them, isolates the events that are refused for good, and counts."""

    def __init__(self, record: Record, on_rejected: Callable[[Rejection], None] | None, deadline: float) -> None:
        self.stored = self.duplicates = self.retries = 0
        self.tally = Tally()
        self.last_error: str | None = None
        self._deadline = Deadline(deadline, BATCH_DEADLINE_VARIABLE, self._waiting)
        self._record, self._on_rejected = record, on_rejected
        self._counting = threading.Lock()
        self._stop = threading.Event()

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    @property
    def silent_seconds(self) -> float | None:
        """How long the call under way has waited for a byte of the server; None where there is none."""
        return self._deadline.silence

    def stop(self) -> None:
        """End the retries; a call under way goes on, unless it is silent."""
        self._stop.set()
        self._deadline.hurry()

    def deliver(self, events: list[Event]) -> bool:
        """Store events; False where it was stopped before."""
        pauses = delays()
        while True:
            try:
                begun = time.monotonic()
                with self._deadline.running():
                    result = self._record(events)
                self.tally.batch(time.monotonic() - begun)
            except ValueError as error:  # a retry cannot succeed; the store's own `record` isolates and raises none
                self._remember(error)
                return self._isolate(events, error)
            except Exception as error:  # transient, or an operator has to act
                if not self.wait(error, pauses, len(events)):
                    return False
            else:
                self.stored += result.inserted
                self.duplicates += result.duplicates
                for rejection in result.rejected:
                    self.reject(replace(rejection, event=events[rejection.index]))
                return True

    def wait(self, error: Exception, pauses: Iterator[float], number: int) -> bool:
        """Pause before another try for as many events; False where it was stopped."""
        self._remember(error)
        self.retries += 1
        pause = next(pauses)
        log.warning("%d events wait, next try in %.1f s: %s", number, pause, self.last_error)
        return not self._stop.wait(pause)

    def _waiting(self, text: str) -> None:
        self.last_error = text

    def _remember(self, error: Exception) -> None:
        self.last_error = f"{type(error).__name__}: {error}".splitlines()[0]

    def _isolate(self, events: list[Event], error: Exception) -> bool:
        """Halve a batch that was refused for good, until only the refused event is left."""
        if len(events) == 1:
            self.reject(Rejection(0, f"it was refused: {error}", events[0], RejectionKind.SERVER))
            return True
        middle = len(events) // 2
        return self.deliver(events[:middle]) and self.deliver(events[middle:])

    def reject(self, rejection: Rejection) -> None:
        """Count an event that cannot be stored, and pass it to `on_rejected`."""
        with self._counting:
            self.tally.rejected[rejection.kind] += 1
        log.warning("rejected: %s", rejection.reason)
        if self._on_rejected is not None:
            try:
                self._on_rejected(rejection)
            except Exception:
                log.exception("on_rejected failed")
