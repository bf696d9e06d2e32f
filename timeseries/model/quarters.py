"""Quarters of an hour, on which memberships and capacities begin and end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from timeseries.errors import InvalidInputError, NaiveTimestampError
from timeseries.model.parsing import parse_timestamp

Moment = datetime | date | str
QUARTER = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def on_a_quarter(what: str, moment: Moment | None, zone: str) -> datetime | None:
    """A moment in UTC; of a date the midnight that begins it in `zone`.

    Raises NaiveTimestampError without an offset, InvalidInputError, with the nearest ones, off a quarter of an hour.
    """
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = date.fromisoformat(moment) if is_date(moment) else parse_timestamp(moment)
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day, tzinfo=ZoneInfo(zone))
    if moment.tzinfo is None:
        raise NaiveTimestampError(
            f"{what} {moment.isoformat()} is naive; give it an offset, or a date alone for the midnight at the lot"
        )
    before = quarter_before(moment)
    if before != moment:
        raise InvalidInputError(
            f"{what} {moment.isoformat()} is not on a quarter of an hour; the nearest are {before.isoformat()} and"
            f" {(before + QUARTER).isoformat()}"
        )
    return before


def quarter_before(moment: datetime) -> datetime:
    """The quarter of an hour, in UTC, that has begun."""
    return EPOCH + (moment - EPOCH) // QUARTER * QUARTER


def is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
