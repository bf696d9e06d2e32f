"""Calls that somebody else can cancel: what they wait for at the server is ended there, by another connection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from timeseries.errors import QueryCancelledError

log = logging.getLogger(__name__)
Result = TypeVar("Result")
AGAIN = 0.2  # seconds between two attempts to end a call, which may be between two statements
LONGEST = 10.0  # seconds; then its connection has a deadline of its own


class Cancellation:
    """Whether one call is cancelled, and what ends the statement that it waits for."""

    def __init__(self) -> None:
        self.cancelled = False
        self._lock = threading.Lock()
        self._ends: list[Callable[[], object]] = []

    def call(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, in this thread; its statements can be ended from another."""
        before = _current.set(self)
        try:
            return work()
        finally:
            _current.reset(before)

    def end(self, call: Future[Any]) -> None:
        """Cancel the call until it has ended; blocks meanwhile."""
        until = time.monotonic() + LONGEST
        self.cancelled = True
        while not call.done() and time.monotonic() < until:
            with self._lock:
                for end in self._ends:
                    _tried(end)
            wait([call], AGAIN)

    @contextmanager
    def ended_by(self, end: Callable[[], object]) -> Iterator[None]:
        with self._lock:
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock:  # no attempt is under way any more, which could hit the next statement of the connection
                self._ends.remove(end)


def _tried(end: Callable[[], object]) -> None:
    try:
        end()
    except Exception as error:  # the server is away, and so is the statement soon
        log.warning("a statement could not be cancelled: %s", error)


_current: ContextVar[Cancellation | None] = ContextVar("cancellation", default=None)


def check_cancelled() -> None:
    """Raises QueryCancelledError where the call under way was cancelled."""
    call = _current.get()
    if call is not None and call.cancelled:
        raise QueryCancelledError("the caller cancelled the call")


@contextmanager
def cancellable(end: Callable[[], object]) -> Iterator[None]:
    """A block whose statement `end` ends where the caller cancels; `end` may be called more than once, by a thread.

    Raises QueryCancelledError where it was cancelled before.
    """
    check_cancelled()
    call = _current.get()
    if call is None:
        yield
    else:
        with call.ended_by(end):
            yield
