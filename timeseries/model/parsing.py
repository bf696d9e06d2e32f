"""Values written as text, as files and command lines have them."""

from __future__ import annotations

import difflib
import json
import re
from datetime import datetime, timedelta
from numbers import Number
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from timeseries.errors import InvalidInputError, NaiveTimestampError
from timeseries.model.events import as_integer

UNITS_OF_TIME = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "min": "minutes", "s": "seconds"}
WHOLE = re.compile(r"\s*([+-]?\d+)(?:\.0*)?\s*")
INTERVAL = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(weeks?|days?|hours?|minutes?|min|seconds?|[wdhms])\s*")


def parse_timestamp(value: object) -> datetime:
    """A moment from ISO 8601; whether it has an offset is for the caller to ask."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, Number):
        raise InvalidInputError(
            f"timestamp {value!s:.100} is a number, which may count seconds or milliseconds; give datetimes, for"
            " example pandas.to_datetime(numbers, unit='s', utc=True)"
        )
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        raise InvalidInputError(
            f"timestamp {value!r:.100} is not ISO 8601 with an offset, like 2026-11-03T08:15:00Z"
        ) from None


def parse_zone(name: str) -> ZoneInfo:
    """A time zone by its IANA name. Raises InvalidInputError that names the nearest ones."""
    try:
        return ZoneInfo(name)
    except (KeyError, TypeError, ValueError, OSError):  # because the name is looked up as a file
        raise InvalidInputError(f"time zone {name!r:.100} is unknown; {zone_hint(name)}") from None


def zone_hint(name: object) -> str:
    """What to give in place of a name that is no time zone."""
    near = difflib.get_close_matches(str(name), available_timezones(), n=3)
    return f"did you mean {' or '.join(near)}?" if near else "give an IANA name, like Europe/Berlin"


def localize(moment: datetime, zone: ZoneInfo | None) -> datetime:
    """A naive moment as the time that the clocks of a zone show; an aware one as it is.

    Raises NaiveTimestampError without a zone, InvalidInputError where those clocks show the time twice or never.
    """
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise NaiveTimestampError(
            f"timestamp {moment.isoformat()} is naive; give it an offset, or say whose time it is (naive_timezone)"
        )
    first, second = moment.replace(tzinfo=zone), moment.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        raise InvalidInputError(
            f"timestamp {moment.isoformat()} comes twice or never in {zone.key}, where clocks change; give it an offset"
        )
    return first


def parse_count(value: object) -> int:
    """A whole number, perhaps from text, which may end in `.0`."""
    match = WHOLE.fullmatch(value) if isinstance(value, str) else None
    try:
        number = int(match[1]) if match else as_integer(value)
    except ValueError:  # thousands of digits
        number = None
    if number is None:
        raise InvalidInputError(f"{value!r:.100} is not a whole number")
    return number


def parse_json(value: object) -> Any:
    """JSON from text; values that are no text are taken as they are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{value!r:.100} is not JSON: {error}") from None


def parse_interval(value: object) -> timedelta:
    """A length of time like `90 days`, `12h` or `1d 6h`."""
    if isinstance(value, timedelta):
        return value
    text = str(value)
    parts = INTERVAL.findall(text)
    if not parts or INTERVAL.sub("", text):
        raise InvalidInputError(f"{value!r:.100} is not a length of time, like 90 days, 12h or 15 minutes")
    return sum(
        (
            timedelta(**{UNITS_OF_TIME.get(unit, unit if unit.endswith("s") else unit + "s"): float(n)})
            for n, unit in parts
        ),
        timedelta(),
    )


def interval_text(value: timedelta) -> str:
    """A length of time as `parse_interval` reads it, like `4 days 15 minutes`."""
    seconds = int(value.total_seconds())
    parts = []
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        number, seconds = divmod(seconds, length)
        if number:
            parts.append(f"{number} {unit}{'' if number == 1 else 's'}")
    return " ".join(parts) or "0 seconds"
