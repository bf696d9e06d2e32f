"""Places for a bounded number of threads; who waits longest comes next."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from timeseries.cancellation import check_cancelled
from timeseries.errors import PoolBusyError
from timeseries.settings import READ_POOL_SIZE_VARIABLE

LOOK = 0.1  # seconds until a thread that waits sees that its call was cancelled


class Places:
    """As many threads as there are places are inside at once."""

    def __init__(self, number: int, wait: float) -> None:
        """`number` may be changed at any time; `wait` is how many seconds a thread waits at most."""
        self.number, self._wait = number, wait
        self._lock = threading.Lock()
        self._taken = 0
        self._queue: deque[threading.Event] = deque()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A block in a place of its own. Raises PoolBusyError where none comes free, QueryCancelledError where the call
        is cancelled meanwhile.
        """
        turn = self._enter()
        try:
            self._await(turn)
        except BaseException:
            self._give_up(turn)
            raise
        try:
            yield
        finally:
            with self._lock:
                self._leave()

    def _enter(self) -> threading.Event:
        turn = threading.Event()
        with self._lock:
            self._queue.append(turn)
            self._admit()
        return turn

    def _admit(self) -> None:
        while self._queue and self._taken < self.number:
            self._taken += 1
            self._queue.popleft().set()

    def _await(self, turn: threading.Event) -> None:
        until = time.monotonic() + self._wait
        while not turn.wait(LOOK):
            check_cancelled()
            if time.monotonic() > until:
                raise PoolBusyError(
                    f"all {self.number} connections for answers are busy, and none came free within {self._wait:g}"
                    f" seconds; ask fewer questions at once, or raise {READ_POOL_SIZE_VARIABLE}"
                )

    def _give_up(self, turn: threading.Event) -> None:
        with self._lock:
            if turn in self._queue:
                self._queue.remove(turn)
            else:  # it was called at the last moment
                self._leave()

    def _leave(self) -> None:
        self._taken -= 1
        self._admit()
