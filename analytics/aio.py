"""The answers for asyncio: the functions of `analytics` with the same names, arguments and docstrings, each awaited.

They run in twice as many threads as a database has connections for answers, because some make frames while others wait
for the server. A question beyond waits, so memory is bounded. When a task is cancelled its query is cancelled on the
server, before the task ends. `events` gives an asynchronous iterator.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial, wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

import pandas as pd
import pyarrow as pa

import analytics
from analytics.arrow_client import largest_pool_size
from analytics.averages import WidthAnswer
from analytics.health import LatestAnswer
from analytics.levels import TimeAboveAnswer
from analytics.query import CountedAnswer, FilledAnswer, RangeAnswer, typed
from analytics.raw_rows import EventsAnswer, RowsAnswer
from analytics.weekdays import PeaksAnswer
from timeseries.calls import Calls

P = ParamSpec("P")
R = TypeVar("R")
Table: TypeAlias = Coroutine[Any, Any, pa.Table]
Frame: TypeAlias = Coroutine[Any, Any, pd.DataFrame]
_lock = threading.Lock()
_calls: dict[tuple[int, int], Calls] = {}


def awaited(answer: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The answer, asked in a thread."""

    @wraps(answer)
    async def ask(*given: P.args, **options: P.kwargs) -> R:
        return await calls().run(partial(answer, *given, **options))

    return ask


def paged(answer: Callable[P, Iterator[R]]) -> Callable[P, AsyncIterator[R]]:
    """The same of an iterator: each of its steps is a call."""

    @wraps(answer)
    async def ask(*given: P.args, **options: P.kwargs) -> AsyncIterator[R]:
        pages = answer(*given, **options)
        while (page := await calls().run(partial(next, pages, None))) is not None:
            yield page

    return ask


def calls() -> Calls:
    """The threads of this process; more of them, once a database may have more connections."""
    key = (os.getpid(), largest_pool_size())
    with _lock:
        if key not in _calls:
            _calls[key] = Calls(2 * key[1], "timeseries-answer")
        return _calls[key]


def _renew_lock() -> None:
    """In a forked process, because another thread of its parent may have held it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)

# The Protocol of each answer is named again, because type checkers let only one of its overloads through a decorator.
quarter_hourly_averages = typed(FilledAnswer[Table, Frame])(awaited(analytics.quarter_hourly_averages))
hourly_averages = typed(FilledAnswer[Table, Frame])(awaited(analytics.hourly_averages))
daily_averages = typed(FilledAnswer[Table, Frame])(awaited(analytics.daily_averages))
weekly_averages = typed(FilledAnswer[Table, Frame])(awaited(analytics.weekly_averages))
monthly_averages = typed(FilledAnswer[Table, Frame])(awaited(analytics.monthly_averages))
yearly_averages = typed(FilledAnswer[Table, Frame])(awaited(analytics.yearly_averages))
bucket_averages = typed(WidthAnswer[Table, Frame])(awaited(analytics.bucket_averages))
weekday_averages = typed(FilledAnswer[Table, Frame])(awaited(analytics.weekday_averages))
weekday_profile = typed(FilledAnswer[Table, Frame])(awaited(analytics.weekday_profile))
peaks = typed(PeaksAnswer[Table, Frame])(awaited(analytics.peaks))
uptime = typed(CountedAnswer[Table, Frame])(awaited(analytics.uptime))
states = typed(RangeAnswer[Table, Frame])(awaited(analytics.states))
outages = typed(RangeAnswer[Table, Frame])(awaited(analytics.outages))
latest = typed(LatestAnswer[Table, Frame])(awaited(analytics.latest))
time_above = typed(TimeAboveAnswer[Table, Frame])(awaited(analytics.time_above))
aggregate_rows = typed(RowsAnswer[Table, Frame])(awaited(analytics.aggregate_rows))
events = typed(EventsAnswer[AsyncIterator[pa.Table], AsyncIterator[pd.DataFrame]])(paged(analytics.events))
compare = awaited(analytics.compare)
expected = awaited(analytics.expected)
backtest = awaited(analytics.backtest)
