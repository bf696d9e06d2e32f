"""Which time counts: hours of the day, weekdays and dates on the wall of the lot, in words that people use."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from analytics.ranges import EPOCH, LOOKAHEAD
from analytics.request import Weekdays, ZoneSelection, weekday_numbers
from timeseries import InvalidInputError
from timeseries.model.opening_hours import TimeOfDay, from_and_to

Hours = tuple[TimeOfDay, TimeOfDay] | Literal["opening"] | None
Dates = date | str | Iterable[date | str] | Container[date] | None

# What a query passes to an answer of the database.
COUNTED = """public.calendar(
            $hours_from::time, $hours_to::time, $counted_weekdays::integer[], $dates::date[], $without::date[],
            $opening::jsonb, $opening_zone
        )"""
NAMES = ("hours", "weekdays", "dates", "without")
ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The time that counts: within the hours, and on the weekdays, and on the dates, and not on those of `without`.

    What is None lets all time count. Each quarter of an hour is judged by its own wall time. The hours "opening" are
    the opening hours of each camera or group; one that has none is always open.
    """

    hours: Hours = None
    weekdays: Weekdays = None
    dates: Dates = None
    without: Dates = None

    @property
    def is_of_opening_hours(self) -> bool:
        return self.hours == "opening"

    def found(self, selections: Iterable[ZoneSelection]) -> list[Found]:
        """In each selection what counts, or InvalidInputError."""
        hours = self.hours if self.hours is None or self.hours == "opening" else hours_of(self.hours)
        weekdays = None if self.weekdays is None else weekday_numbers(self.weekdays)
        only, without = listed("dates", self.dates), listed("without", self.without)
        return [
            Found(hours, weekdays, days(only, one), days(without, one), one.opening_hours, one.opening_zone)
            for one in selections
        ]


@dataclass(frozen=True, slots=True)
class Found:
    """A calendar in one time zone and range: texts, numbers and sorted dates."""

    hours: tuple[str, str] | Literal["opening"] | None
    weekdays: list[int] | None
    dates: list[date] | None
    without: list[date] | None
    opening_hours: str | None = None
    opening_zone: str | None = None

    def parameters(self) -> dict[str, object]:
        """For the query, which has COUNTED."""
        first, last = self.hours if isinstance(self.hours, tuple) else (None, None)
        return {
            "hours_from": first,
            "hours_to": last,
            "counted_weekdays": array(self.weekdays),
            "dates": array(self.dates),
            "without": array(self.without),
            "opening": self.opening_hours,
            "opening_zone": self.opening_zone,
        }


def attributes(found: Iterable[Found]) -> dict[str, object]:
    """What counts, in JSON, for the `attrs` of a frame: nothing where all time does."""
    parts = list(found)
    texts: dict[str, object] = {
        "hours": next((list(one.hours) if isinstance(one.hours, tuple) else one.hours for one in parts), None),
        "weekdays": next((one.weekdays for one in parts if one.weekdays is not None), None),
        "dates": united([one.dates for one in parts]),
        "without": united([one.without for one in parts]),
    }
    return {"calendar": texts} if any(value is not None for value in texts.values()) else {}


def united(parts: Iterable[list[date] | None]) -> list[str] | None:
    known = [dates for dates in parts if dates is not None]
    return sorted({one.isoformat() for dates in known for one in dates}) if known else None


def array(values: Iterable[object] | None) -> str | None:
    """A literal of a PostgreSQL array."""
    return None if values is None else "{" + ",".join(map(str, values)) + "}"


def hours_of(hours: tuple[TimeOfDay, TimeOfDay]) -> tuple[str, str]:
    """From and to as texts, on quarters of an hour; midnight may be written 24:00."""
    if isinstance(hours, str):
        raise InvalidInputError(
            f'hours {hours!r:.100} are not a pair of from and to, like ("07:00", "19:30"), nor "opening", for the'
            " opening hours of each lot"
        )
    return from_and_to("hours", hours, "leave hours out where the whole day counts")


def listed(name: str, dates: Dates) -> list[date] | Container[date] | None:
    """Dates that are given one by one as a list, because an iterable may be read only once; other containers as they
    are. A mapping, as that of the library `holidays`, may know more dates than it lists.
    """
    if dates is None:
        return None
    if isinstance(dates, str | date):
        return [day_of(name, dates)]
    if isinstance(dates, Iterable) and not isinstance(dates, Mapping):
        return [day_of(name, one) for one in dates]
    if isinstance(dates, Container):
        return dates
    raise InvalidInputError(f"{name} {dates!r} is neither a date, an iterable of dates nor a container of dates")


def day_of(name: str, value: object) -> date:
    """A date, an ISO 8601 text, or a naive datetime at midnight, as pandas makes of dates."""
    try:
        found = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if isinstance(found, datetime) and found.tzinfo is None and found.time() == time():
        found = found.date()
    if not isinstance(found, date) or isinstance(found, datetime):
        raise InvalidInputError(f"{name} has {value!r}, which is not a date like 2026-12-25")
    return found


def days(dates: list[date] | Container[date] | None, selection: ZoneSelection) -> list[date] | None:
    """Those of the dates that may touch the range, sorted; a container is asked for each day of the range."""
    if dates is None:
        return None
    zone = ZoneInfo(selection.timezone)
    first = (selection.start or EPOCH).astimezone(zone).date()
    last = (selection.end or datetime.now(UTC) + LOOKAHEAD).astimezone(zone).date()
    if isinstance(dates, list):
        return sorted({day for day in dates if first <= day <= last})
    every = (first + number * ONE_DAY for number in range((last - first).days + 1))
    return [day for day in every if day in dates]
