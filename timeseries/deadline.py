"""How long a call to the server may be silent: the clock starts again with each byte, because progress counts and not
duration.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

log = logging.getLogger(__name__)
Result = TypeVar("Result")
TICK = 0.1  # seconds between two looks at a call, as psycopg has it
NOTICE = 10.0  # seconds of silence until it is reported
ASK = 20.0  # seconds of silence until the server is asked, by another connection, whether it answers at all
HURRY = 10.0  # seconds of silence that are left to a call whose caller has gone; a lock is waited for half as long
NEVER_LOOKED = object()  # because most calls end before the first look, and a look takes as long as a small answer
LONGEST = 600.0  # seconds, at most, for a call that was given up before, while its server answered others


class GivenUpError(Exception):
    """The call under way is given up; the message says why."""


class UnansweredError(GivenUpError):
    """The server is silent to others, too, so that another host may do."""


class Deadline:
    """The seconds of silence after which a call is given up, and how long the one under way has been silent.

    A call that is given up although the server answers others may just be slow, so the next one gets twice the time.
    """

    def __init__(self, seconds: float, name: str, on_silence: Callable[[str], None] | None = None) -> None:
        """`name` is what the limit is called in an error, `on_silence` is told once in each call that it waits."""
        self.limit = seconds
        self._seconds, self._name = seconds, name
        self._on_silence = on_silence
        self._heard: float | None = None
        self._noticed = self._hurried = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """A block whose calls are bounded by this deadline, in this thread."""
        before = _current.set(self)
        self._noticed = False
        self.heard()
        try:
            yield
            self.limit = self._seconds
        finally:
            _current.reset(before)
            self._heard = None

    @contextmanager
    def lowered(self, seconds: float, name: str) -> Iterator[None]:
        """A block in which it is this one, which is shorter."""
        before = self.limit, self._name
        self.limit, self._name = seconds, name
        try:
            yield
        finally:
            self.limit, self._name = before

    @property
    def silence(self) -> float | None:
        """Seconds since the last byte of the call under way; None where there is no call."""
        heard = self._heard
        return None if heard is None else time.monotonic() - heard

    def heard(self) -> None:
        self._heard = time.monotonic()

    def hurry(self) -> None:
        """Nobody waits for the call under way any more; may be called by another thread."""
        self._hurried = True

    def look(self) -> None:
        """Raises GivenUpError where the call has been silent for too long."""
        silence = self.silence or 0.0
        if self._hurried and silence > HURRY:
            raise GivenUpError(f"the server was silent for {HURRY:g} seconds after the caller had gone")
        if silence > self.limit:
            limit, self.limit = self.limit, max(self.limit, min(2 * self.limit, LONGEST))
            raise GivenUpError(f"the server was silent for {limit:g} seconds, which is the limit ({self._name})")
        if silence > min(NOTICE, self.limit / 3) and not self._noticed:
            self._noticed = True
            self._report(f"the server has been silent for {silence:.0f} seconds; the limit is {self.limit:g}")

    def _report(self, text: str) -> None:
        log.warning("%s (%s)", text, self._name)
        if self._on_silence is not None:
            self._on_silence(text)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)
current = _current.get


@contextmanager
def at_most(seconds: float, name: str) -> Iterator[None]:
    """A block whose calls may be silent for so long at most, also where a deadline is running already."""
    deadline = current()
    if deadline is None:
        with Deadline(seconds, name).running():
            yield
    elif deadline.limit <= seconds:
        yield
    else:
        with deadline.lowered(seconds, name):
            yield


class Watch:
    """One call on one connection: whether bytes move and, while none do, whether its server answers anybody.

    `moved` gives what changes with each byte, None where that cannot be seen. `answers` opens another connection to the
    same server, and says whether anything came back; it runs in a thread, because it takes seconds.
    """

    def __init__(self, deadline: Deadline, moved: Callable[[], object], answers: Callable[[], bool]) -> None:
        self._deadline = deadline
        self._moved = moved
        self._seen: object = NEVER_LOOKED
        self._inquiry = _Inquiry(answers)
        deadline.heard()

    def look(self) -> None:
        """Called again and again while nothing can be read. Raises GivenUpError where the call is given up."""
        moved = self._moved()
        if moved != self._seen:
            self._seen = moved
            self._deadline.heard()
        self._deadline.look()
        self._inquiry.look(self._deadline)

    def heard(self) -> None:
        self._deadline.heard()


def watched(work: Callable[[], Result], watch: Watch, drop: Callable[[], None]) -> Result:
    """What `work` returns, which a driver does without a word: in a thread, which is left alone where `watch` gives it
    up or Ctrl-C ends the wait. `drop` is called then.
    """
    future: Future[Result] = Future()
    threading.Thread(target=_settle, args=[future, work], name="timeseries-call", daemon=True).start()
    try:
        while not wait([future], TICK).done:
            watch.look()
    except BaseException:
        drop()
        raise
    return future.result()


def _settle(future: Future[Result], work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


class _Inquiry:
    """Asks whether a silent server answers, each time when it has been silent for another while."""

    def __init__(self, answers: Callable[[], bool]) -> None:
        self._answers = answers
        self._thread: threading.Thread | None = None
        self._answered = False
        self._asked = 0.0  # the silence at the last answer

    def look(self, deadline: Deadline) -> None:
        silence, pause = deadline.silence or 0.0, min(ASK, deadline.limit / 2)
        if silence < pause:
            self._thread, self._asked = None, 0.0
        elif self._thread is None and silence > self._asked + pause:
            self._thread = threading.Thread(target=self._ask, name="timeseries-inquiry", daemon=True)
            self._thread.start()
        elif self._thread is not None and not self._thread.is_alive():
            if not self._answered:
                raise UnansweredError(f"the server has been silent for {silence:.0f} seconds and answers nobody else")
            self._thread, self._asked = None, silence

    def _ask(self) -> None:
        self._answered = self._answers()
