"""What is to be expected: the typical week of a camera, shifted towards what was seen last."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd

from analytics.arrow_client import fetch
from analytics.docstrings import documented
from analytics.frames import attributes
from analytics.history import Width, averages_of, bucket_of, buckets_of, by_camera, check
from analytics.ranges import EPOCH, TOTAL_AHEAD, Moment, instant, parsed, quarter
from analytics.request import Cameras, Request, ZoneSelection, by_zone
from analytics.typical_week import Array, TypicalWeek
from timeseries import InvalidInputError

EXPECTED = ("camera", "camera_id", "expected", "lower", "upper", "occupied_avg", "coverage")
DAY = timedelta(days=1)
WEEKS = 26
MOST_WEEKS = 52 * 20


@dataclass(frozen=True, slots=True)
class Forecast:
    """Cameras of one zone, the range, and the moment after which nothing counts as known."""

    selection: ZoneSelection
    start: datetime
    end: datetime
    origin: datetime


@documented(
    EXPECTED,
    start="where the range begins (inclusive), given like `end`. By default now.",
    end="where it ends (exclusive): an aware datetime, an ISO 8601 text with an offset, or a date (the midnight at the"
    " lot). By default a day after the start, at most a year ahead.",
)
def expected(
    cameras: Cameras = None,
    start: Moment = None,
    end: Moment = None,
    *,
    width: Width = "hour",
    share: float = 0.9,
    holidays: Container[date] = (),
    weeks: int = WEEKS,
    origin: Moment = None,
    timezone: str | None = None,
    url: str | None = None,
) -> pd.DataFrame:
    """The occupancy that is to be expected, with an interval, by local hour or quarter of an hour.

    It is the typical average of such a weekday and time of day, shifted by what is left of the last deviation from it.
    In the typical average a bucket that is two weeks older weighs half. How much of a deviation is left so many buckets
    later, and how wide the interval is, is measured by the camera's own history; after a week nothing is left. Unknown
    time counts nowhere.

    Args:
        width: "hour", or "quarter" for quarters of an hour.
        share: how much of what will be seen is to lie in the interval, more than 0 and less than 1.
        holidays: dates that are a kind of day of their own, in place of their weekday: a set, or any container of
            dates, like `holidays.country_holidays("DE")` of the library holidays.
        weeks: how far back from the origin history is looked at.
        origin: the moment at which it is expected, not after the start, given like `end`: what was seen later counts
            as unknown, and so does the bucket that is not over. By default the start, but now for a future start.

    Returns:
        A row per camera and bucket that touches the range, by camera and time, indexed by `bucket`. What was seen
        stands beside what was expected. NaN where no such weekday and time of day is known; lower and upper also where
        too little is known to measure errors, as in the first two weeks. `attrs` hold start, end (ISO 8601 in UTC),
        rounded, timezone, unit, width and share.
    """
    check(width, share, holidays)
    if not 1 <= weeks <= MOST_WEEKS:
        raise InvalidInputError(f"weeks {weeks!r}: give how far back history is looked at, from 1 to {MOST_WEEKS}")
    asked = forecasts(Request(cameras, start, end, timezone, url), origin)
    first = max(min(one.origin for one in asked) - weeks * 7 * DAY, EPOCH)
    last = max(one.end for one in asked)
    selections = [one.selection for one in asked]
    rows = averages_of(selections, width, first, last, timezone, url)
    places, values = [np.zeros(0, int)], [np.zeros((3, 0))]
    for one in asked:
        for _, positions, seen in by_camera(rows, one.selection, width, holidays):
            targets = buckets_of(seen, one.start, one.end)
            places.append(positions[targets])
            values.append(np.array(TypicalWeek(seen).expected(bucket_of(seen, one.origin), targets, share)))
    found = beside(rows, np.concatenate(places), np.concatenate(values, axis=1))
    found.attrs.update(attributes(selections, "cars") | {"width": width, "share": share})
    return found


def beside(rows: pd.DataFrame, places: Array, values: Array) -> pd.DataFrame:
    """What is expected of these rows beside what was seen, in the order of the rows."""
    order = np.argsort(places)
    columns = dict(zip(("expected", "lower", "upper"), values[:, order], strict=True))
    return rows.iloc[places[order]].assign(**columns)[list(EXPECTED)]


def forecasts(request: Request, origin: Moment) -> list[Forecast]:
    """What is asked in each time zone, with its defaults."""
    now = datetime.now(UTC)
    given = parsed("origin", origin)
    found = []
    for selection in by_zone(request, partial(fetch, url=request.url)):
        start = selection.start or quarter(now, 0) or now
        end = selection.end or start + DAY
        at = instant("origin", given, selection.timezone) or min(start, now)
        check_order(at, start, end, now)
        found.append(Forecast(replace(selection, start=start, end=end), start, end, at))
    return found


def check_order(origin: datetime, start: datetime, end: datetime, now: datetime) -> None:
    told = f"origin {origin.isoformat()}, start {start.isoformat()}, end {end.isoformat()}"
    if origin < EPOCH:
        raise InvalidInputError(f"{told}: averages begin in 1970; give later ones")
    if origin > start or start >= end:
        raise InvalidInputError(f"{told}: they must follow each other in this order; give other ones")
    if end - now > TOTAL_AHEAD:
        raise InvalidInputError(f"{told}: the end may be a year ahead of now at most; give an earlier one")
