"""The two kinds of event, and what is wrong with one that cannot be stored."""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from timeseries.errors import InvalidInputError
from timeseries.models import HEALTH_STATUSES

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LARGEST_COUNT = 2**31 - 1
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


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that was not stored: its index in the input, the reason, and the event itself."""

    index: int
    reason: str
    event: object = None


@dataclass(frozen=True, slots=True)
class RecordResult:
    """What became of a batch: every event is inserted, a duplicate of a stored one, rejected, or, where that was asked
    for, replaced a stored one.
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
        raise InvalidInputError(f"camera_id {camera_id!r:.100} is not a UUID; use Camera.id") from None


def microseconds(timestamp: object) -> int:
    """Microseconds since 2000-01-01 in UTC, as PostgreSQL counts them."""
    if not isinstance(timestamp, datetime):
        raise InvalidInputError(f"timestamp {timestamp!r:.100} is not a datetime")
    try:
        return (timestamp - EPOCH) // MICROSECOND
    except TypeError:
        pass
    raise InvalidInputError(
        f"timestamp {timestamp!r} is naive or not a time; give it a time zone, for example tzinfo=UTC"
    )


def count(value: object) -> int:
    """A number of cars: whole, not negative, and not beyond what an integer column holds."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise InvalidInputError(f"occupied_count {value!r:.100} is not a whole number")
    if number < 0:
        raise InvalidInputError(f"occupied_count {number} is negative")
    if number > LARGEST_COUNT:
        raise InvalidInputError(f"occupied_count {number!s:.100} is beyond {LARGEST_COUNT}")
    return number


def json_bytes(value: object) -> bytes | None:
    """JSON in UTF-8, as `jsonb` accepts it: no NaN, no NUL, no lone surrogate."""
    if value is None:
        return None
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        if NUL_IN_JSON.search(text):
            raise InvalidInputError("raw_data holds a NUL character, which PostgreSQL cannot store; remove it")
        return text.encode()
    except InvalidInputError:
        raise
    except UnicodeEncodeError:
        raise InvalidInputError("raw_data holds a lone surrogate, which is no text; remove it") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"raw_data cannot be written as JSON: {error}") from None


def status_bytes(value: object) -> bytes:
    """One of the three statuses."""
    if value not in HEALTH_STATUSES:
        raise InvalidInputError(f"status {value!r:.100} is unknown; it must be one of {', '.join(HEALTH_STATUSES)}")
    return str(value).encode()


def text_bytes(value: object) -> bytes | None:
    """Text in UTF-8 without NUL."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInputError(f"message {value!r:.100} is not a text")
    if "\0" in value:
        raise InvalidInputError("message holds a NUL character, which PostgreSQL cannot store; remove it")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("message holds a lone surrogate, which is no text; remove it") from None
