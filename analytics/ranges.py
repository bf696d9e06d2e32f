"""Ranges of time: from words that people use to instants, and what of them a server need look at."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from timeseries import InvalidInputError

Moment = datetime | date | str | None
Range = tuple[datetime | None, datetime | None]

QUARTER = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_QUARTER = datetime(9999, 12, 31, 23, 45, tzinfo=UTC)
# How far after now a range may reach, because nothing is known of the future. LOOKAHEAD covers hours and days that have
# begun, in every zone, and clocks that differ; TOTAL_AHEAD is for totals, whose coverage future time lowers.
LOOKAHEAD = timedelta(days=8)
TOTAL_AHEAD = timedelta(days=366)
MAX_FILL_AHEAD = timedelta(days=3653)


def parsed(name: str, value: Moment) -> datetime | date | None:
    """An aware datetime in UTC, or a date, which begins at another moment in each zone."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) <= len("2026-11-01") else datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInputError(f"{name} {value!r} is not ISO 8601, like 2026-11-01 or 2026-11-01T06:00Z") from None
    if isinstance(value, datetime) and value == value:  # NaT is no moment
        if value.utcoffset() is None:
            raise InvalidInputError(
                f"{name} {value.isoformat()} is naive; give it an offset ({value.isoformat()}Z), or a date alone for"
                " the midnight at the lot"
            )
        try:
            at = value.astimezone(UTC)
            return datetime.combine(at.date(), at.time(), UTC)  # also of a subclass of its own arithmetic
        except OverflowError:
            raise beyond(name, value) from None
    if value is None or (isinstance(value, date) and value == value):
        return value
    raise InvalidInputError(f"{name} {value!r} is neither a datetime, a date nor a text")


def instant(name: str, value: datetime | date | None, zone: str) -> datetime | None:
    """An instant as it is; a date as the midnight that begins it in `zone`."""
    if value is None or isinstance(value, datetime):
        return value
    try:
        return midnight(value, zone)
    except OverflowError:
        raise beyond(name, value) from None


def beyond(name: str, value: date) -> InvalidInputError:
    return InvalidInputError(f"{name} {value.isoformat()} lies, in UTC, outside the years 1 to 9999; leave it out")


def midnight(day: date, zone: str) -> datetime:
    """The first instant of a local day: where midnight happens twice the first, where it does not, the change.

    Python reads a wall time in a gap with the offset before it, which gives the instant of the change.
    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def quarter(value: datetime | None, up: int) -> datetime | None:
    """Down to a quarter of an hour, or up to the next."""
    if value is None:
        return None
    quarters, rest = divmod(min(value, LAST_QUARTER) - EPOCH, QUARTER)
    return EPOCH + (quarters + (up if rest else 0)) * QUARTER


def clamp_to_observable(start: datetime | None, end: datetime | None, ahead: timedelta, *, exact: bool) -> Range:
    """Clamp a range before it is queried: unless `exact`, drop everything before 1970; always drop what lies more than
    `ahead` after now. A range entirely outside these bounds is shortened to the length `ahead`, not emptied, because
    totals still have their row, of coverage 0.
    """
    if end is not None:
        known = max(datetime.now(UTC), start or EPOCH)
        if end - known > ahead:
            end = known + ahead
    if start is not None and start < EPOCH and not exact:
        if end is None or end > EPOCH:
            start = EPOCH
        elif end - start > ahead:
            start = end - ahead
    return start, end


def check_filled(end: datetime | None) -> None:
    """Raise InvalidInputError where rows would be made of more than ten years of future."""
    if end is not None and end - datetime.now(UTC) > MAX_FILL_AHEAD:
        raise InvalidInputError(
            f"end {end.isoformat()} is more than ten years ahead, and fill=True gives a row for all of that time; give"
            " an earlier end, or leave fill out"
        )
