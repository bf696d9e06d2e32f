"""Events of both families, and the checks of a value that raise the reason against it."""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from numbers import Real
from typing import Any
from uuid import UUID

from timeseries.errors import InvalidInputError
from timeseries.model.relations import HEALTH_STATUSES

POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EARLIEST = (datetime(1970, 1, 1, tzinfo=UTC) - POSTGRES_EPOCH) // MICROSECOND  # a CHECK refuses older ones
LARGEST_COUNT = 2**31 - 1
LARGEST_LOOKED_AT = 10**30  # larger numbers take long to convert or to print
NUL_IN_JSON = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class OccupancyEvent:
    """`occupied_count` cars were seen by a camera at `timestamp`, an aware datetime; `raw_data` is any JSON."""

    camera_id: UUID | str
    timestamp: datetime
    occupied_count: int
    raw_data: Any = None


@dataclass(frozen=True, slots=True)
class HealthLog:
    """A camera is `healthy`, `degraded` or `disconnected` from `timestamp` on, an aware datetime."""

    camera_id: UUID | str
    timestamp: datetime
    status: str
    message: str | None = None


Event = OccupancyEvent | HealthLog


class RejectionKind(StrEnum):
    """Why an event was rejected, as a word that counters and alerts can use: its camera is not there, its timestamp is
    ahead of the server's clock, its quarter is finalized, one of its fields has a value that cannot be stored, the
    server refused it, or something else.
    """

    UNKNOWN_CAMERA = "unknown_camera"
    FUTURE = "future"
    FINALIZED = "finalized"
    CAMERA_ID = "camera_id"
    TIMESTAMP = "timestamp"
    OCCUPIED_COUNT = "occupied_count"
    RAW_DATA = "raw_data"
    STATUS = "status"
    MESSAGE = "message"
    SERVER = "server"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that was not stored: its index in the input, the reason, the event itself, and the kind of reason."""

    index: int
    reason: str
    event: object = None
    kind: RejectionKind = RejectionKind.OTHER


class InvalidEventError(InvalidInputError):
    """An event cannot be stored, because of what it holds; `kind` is that of its rejection."""

    def __init__(self, reason: str, kind: RejectionKind = RejectionKind.OTHER) -> None:
        super().__init__(reason)
        self.kind = kind


def invalid(field: str, problem: str) -> InvalidEventError:
    """The error for a field that cannot be stored, whose name is the kind of the rejection."""
    return InvalidEventError(f"{field} {problem}", RejectionKind(field))


@dataclass(frozen=True, slots=True)
class RecordResult:
    """What became of the events: each was inserted, was a duplicate of a stored one, was rejected, or, with
    `on_conflict="replace"`, replaced a stored one.
    """

    inserted: int = 0
    duplicates: int = 0
    rejected: tuple[Rejection, ...] = ()
    replaced: int = 0

    def __add__(self, other: RecordResult) -> RecordResult:
        return RecordResult(
            self.inserted + other.inserted,
            self.duplicates + other.duplicates,
            self.rejected + other.rejected,
            self.replaced + other.replaced,
        )


def camera_bytes(camera_id: object) -> bytes:
    """The sixteen bytes of a camera's id."""
    if isinstance(camera_id, UUID):
        return camera_id.bytes
    try:
        return UUID(camera_id).bytes  # type: ignore[arg-type]
    except (ValueError, AttributeError, TypeError):
        raise invalid("camera_id", f"{camera_id!r:.100} is not a UUID; use Camera.id") from None


def microseconds(timestamp: object) -> int:
    """Microseconds since 2000-01-01 in UTC, as PostgreSQL counts them."""
    if not isinstance(timestamp, datetime):
        raise invalid("timestamp", f"{timestamp!r:.100} is not a datetime")
    try:
        return operator.index((timestamp - POSTGRES_EPOCH) // MICROSECOND)
    except TypeError:  # pandas.NaT is an instance of datetime, and subtraction from it gives a float
        pass
    except (OverflowError, ValueError):
        raise invalid("timestamp", f"{timestamp!r:.100} is no moment that can be stored") from None
    raise invalid("timestamp", f"{timestamp!r} is naive or not a time; give it a time zone, for example tzinfo=UTC")


def event_time(timestamp: object) -> int:
    """The `microseconds` of an event; earlier than 1970 is only a clock that was never set."""
    time = microseconds(timestamp)
    if time < EARLIEST:
        raise invalid("timestamp", f"{timestamp!s:.100} is before 1970: a clock that was never set?")
    return time


def as_integer(value: object) -> int | None:
    """A number without a fraction as an int, None for all else; pandas makes 3 a 3.0 where a neighbour is missing."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    if not isinstance(value, Real | Decimal):
        return None
    number: Any = value
    try:
        return int(number) if abs(number) < LARGEST_LOOKED_AT and number == int(number) else None
    except ArithmeticError:  # a decimal NaN
        return None


def check_count(value: object) -> int:
    """A number of cars: whole, not negative, and not beyond what an integer column holds."""
    number = as_integer(value)
    if number is None:
        raise invalid("occupied_count", f"{value!r:.100} is not a whole number")
    if number < 0:
        raise invalid("occupied_count", f"{max(number, -LARGEST_LOOKED_AT)} is negative")
    if number > LARGEST_COUNT:
        raise invalid("occupied_count", f"{min(number, LARGEST_LOOKED_AT)} is beyond {LARGEST_COUNT}")
    return number


def json_bytes(value: object) -> bytes | None:
    """JSON in UTF-8, as `jsonb` accepts it: no NaN, no NUL, no lone surrogate."""
    if value is None:
        return None
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        if NUL_IN_JSON.search(text):
            raise invalid("raw_data", "holds a NUL character, which PostgreSQL cannot store; remove it")
        return text.encode()
    except InvalidEventError:
        raise
    except UnicodeEncodeError:
        raise invalid("raw_data", "holds a lone surrogate, which is no text; remove it") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise invalid("raw_data", f"cannot be written as JSON: {error}") from None


def status_bytes(value: object) -> bytes:
    """One of the three statuses."""
    for status in HEALTH_STATUSES if isinstance(value, str) else ():
        if value == status:
            return status.encode()
    raise invalid("status", f"{value!r:.100} is unknown; it must be one of {', '.join(HEALTH_STATUSES)}")


def text_bytes(value: object) -> bytes | None:
    """Text in UTF-8 without NUL."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid("message", f"{value!r:.100} is not a text")
    if "\0" in value:
        raise invalid("message", "holds a NUL character, which PostgreSQL cannot store; remove it")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise invalid("message", "holds a lone surrogate, which is no text; remove it") from None
