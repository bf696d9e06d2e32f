"""When a lot is open: from and to on the wall of the lot, for each weekday on which it opens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time

from timeseries.errors import InvalidInputError

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
TimeOfDay = time | str
OpeningHours = Mapping[str, tuple[TimeOfDay, TimeOfDay] | list[str]]
WHOLE_DAY = 'give ("00:00", "24:00") where it is open all day, and leave the weekday out where it is closed'


def opening_hours(value: object) -> dict[str, list[str]] | None:
    """Opening hours as they are stored, in the order of the week: `{"monday": ["07:00", "20:00"], …}`. A weekday that
    is left out is closed; hours that pass midnight end on the next day. None: always open.

    Raises InvalidInputError with the value and the remedy.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping) or not value or not {*value} <= {*WEEKDAYS}:
        raise InvalidInputError(
            f"opening hours {value!r:.200}: give from and to of each weekday, monday to sunday, on which the lot opens,"
            ' like {"monday": ["07:00", "20:00"]}, or None where it always is open'
        )
    return {
        day: list(from_and_to(f"opening hours of {day}", value[day], WHOLE_DAY)) for day in WEEKDAYS if day in value
    }


def from_and_to(what: str, pair: object, whole_day: str) -> tuple[str, str]:
    """From and to as texts, on quarters of an hour; midnight may be written 24:00. `whole_day` is what to give where
    both are the same.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise InvalidInputError(f'{what} {pair!r:.100} are not a pair of from and to, like ("07:00", "19:30")')
    first, last = (time_of_day(value) for value in pair)
    first = "00:00" if first == "24:00" else first
    if first == last:
        raise InvalidInputError(f"{what} {pair!r} begin when they end; {whole_day}")
    return first, last


def time_of_day(value: object) -> str:
    if value == "24:00":
        return "24:00"
    try:
        at = value if isinstance(value, time) else time.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InvalidInputError(f"time of day {value!r:.100} is not like 07:30") from None
    if at.tzinfo is not None or at.minute % 15 or at.second or at.microsecond:
        raise InvalidInputError(f"time of day {value!r} is local, so without an offset, and on a quarter of an hour")
    return at.isoformat("minutes")
