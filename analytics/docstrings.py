"""Docstrings of the answers: what they have in common is written once, and `help()` of each one is complete."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

RANGE = (
    "where the range begins (inclusive): an aware datetime, an ISO 8601 text with an offset, or a date (the midnight at"
    " the lot). By default the first observation of the camera."
)
ROUNDED = (
    " Time before 1970 is left out. A bound inside a quarter of an hour is rounded outwards, and `attrs['rounded']` is"
    " true."
)
GROUPS = "a name or an id of a camera or a group, a `Camera`, a `Group`, several of them, or None for all cameras."
ARGUMENTS = {
    "cameras": "a name, an id, a `Camera`, several of them, or None for all.",
    "start": RANGE,
    "end": "where it ends (exclusive), given in the same ways. By default now.",
    "timezone": "an IANA name, in place of each camera's own; dates and times are those of this zone.",
    "hours": "the local time of day that counts, from and to on quarters of an hour, as texts or `datetime.time`:"
    ' `("07:00", "19:00")`. It may pass midnight: `("22:00", "06:00")`. Or "opening": the opening hours of each camera'
    " or group, on its own wall; all time of one that has none.",
    "weekdays": "the local weekdays that count, names or ISO numbers, one or several.",
    "dates": "the local dates that count: one, several, or a container of dates, such as `holidays.Germany()`.",
    "without": "local dates that do not count, given in the same ways.",
    "fill": "also rows without any known time (`coverage` 0, the average NaN), up to ten years ahead.",
    "exact_extremes": "read all raw rows of the range for the exact minima and maxima of groups; without it, only where"
    " these are few.",
    "as_arrow": "a `pyarrow.Table` in place of a DataFrame; the index is a column of it, `attrs` its metadata.",
    "dtype_backend": '"pyarrow" for columns of Arrow\'s types.',
    "url": "the database, if it is not that of the environment.",
}
COLUMNS = {
    "bucket": "where it begins",
    "local_date": "the day on the wall, without a zone",
    "local_start": "the same on the wall, without a zone",
    "weekday": "ISO: Monday 1 to Sunday 7",
    "hour": "0 to 23",
    "place": "counts from 1",
    "occupied_avg": "cars; the integral of the step function of the observations, divided by the time that is known",
    "occupied_share": "the mean share of the capacity of that time, NaN where it is unknown",
    "expected": "cars",
    "lower": "of the interval",
    "upper": "of the interval",
    "level": "cars",
    "share_at_least": "of the known time",
    "share_at_most": "of the known time",
    "samples": "how many observations",
    "coverage": "the share of the time that is known",
    "end": "NaT where it lasts to the end of the range, or now",
    "duration": "a timedelta",
    "message": "the first one",
}
OF_GROUPS = "In an answer that a group is in, the columns camera and camera_id hold its name and id"
OF_EXTREMES = (
    ", and a column is added: extremes_exact (false where occupied_min and occupied_max of the sum are bounds)"
)
ATTRS = (
    "Times are in the zone of the cameras, in UTC where they have several. `attrs` hold start and end (ISO 8601 in"
    " UTC), rounded, timezone and unit, calendar where not all time counts, and left_out where periods took out some."
)
ERRORS = {
    "UnknownCameraError": "no camera has this name or id; the nearest names are in the message.",
    "InvalidInputError": "an argument that cannot be used, such as a naive or reversed range or an unknown time zone.",
    "ServerUnavailableError": "the server is away.",
    "PoolBusyError": "all connections of this process are busy for a minute.",
    "QueryCancelledError": "the server cancelled the query, mostly at its `statement_timeout`.",
    "NotAllowedError": "the role lacks a right.",
    "NotMigratedError": "the database lacks the schema.",
}


def documented(
    columns: Sequence[str] = (), *, exact: bool = False, groups: bool = False, **others: str
) -> Callable[[F], F]:
    """Complete the docstring of an answer: its common arguments after its own, the `columns` of its frame, the errors.

    A docstring has a section `Returns`, which may describe `attrs`, and `Args` before it where there are arguments of
    its own. An `exact` range is not rounded; `groups` may be asked for, too. `others` are common arguments that mean
    something else here.
    """

    def complete(function: F) -> F:
        if function.__doc__:  # there is none under python -OO
            function.__doc__ = completed(function, columns, exact, groups, others)
        return function

    return complete


def completed(
    function: Callable[..., Any], columns: Sequence[str], exact: bool, groups: bool, others: dict[str, str]
) -> str:
    before, _, returns = inspect.cleandoc(function.__doc__ or "").partition("\n\nReturns:\n")
    about, _, own = before.partition("\n\nArgs:\n")
    texts = ARGUMENTS | {"start": RANGE + (" The range is taken exactly." if exact else ROUNDED)} | others
    texts |= {"cameras": GROUPS} if groups else {}
    common = [f"{name}: {texts[name]}" for name in inspect.signature(function).parameters if name in texts]
    frame = [" ".join(returns.split()), *described(columns, groups), *([] if "`attrs`" in returns else [ATTRS])]
    return "\n".join(
        [
            *(about, "", "Args:", *([own] if own else []), *wrapped(common)),
            *("", "Returns:", textwrap.fill(" ".join(frame), 115, initial_indent="    ", subsequent_indent="    ")),
            *("", "Raises:", *wrapped(f"{name}: {text}" for name, text in ERRORS.items()), ""),
        ]
    )


def described(columns: Sequence[str], groups: bool) -> list[str]:
    told = [f"{name} ({COLUMNS[name]})" if name in COLUMNS else name for name in columns]
    listed = ["Columns: " + ", ".join(told) + "."] if told else []
    return [*listed, f"{OF_GROUPS}{OF_EXTREMES if 'occupied_min' in columns else ''}."] if groups and told else listed


def wrapped(lines: Iterable[str]) -> list[str]:
    return [textwrap.fill(line, 115, initial_indent="    ", subsequent_indent="        ") for line in lines]
