"""Two ranges, or two calendars, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import pandas as pd

from analytics.calendars import Dates, Hours, listed
from analytics.docstrings import documented
from analytics.ranges import Moment
from analytics.request import Cameras, Weekdays, several, weekday_numbers
from analytics.weekdays import weekday_averages
from timeseries import InvalidInputError

COMPARED = ("occupied_avg", "coverage")


class Side(TypedDict, total=False):
    """A side of a comparison: a range, and which of its time counts."""

    start: Moment
    end: Moment
    hours: Hours
    weekdays: Weekdays
    dates: Dates
    without: Dates


Compared = tuple[Moment, Moment] | Side


@documented()
def compare(
    cameras: Cameras = None,
    *,
    before: Compared,
    after: Compared,
    hours: Hours = None,
    weekdays: Weekdays = None,
    dates: Dates = None,
    without: Dates = None,
    timezone: str | None = None,
    url: str | None = None,
) -> pd.DataFrame:
    """The averages of each weekday in two ranges, or at two kinds of time, side by side.

    Args:
        before: a pair of start (inclusive) and end (exclusive), each an aware datetime, an ISO 8601 text with an
            offset, a date (the midnight at the lot), or None for the first observation and for now. Or a dictionary of
            start, end, hours, weekdays, dates and without, each optional; what it says of hours and days comes in place
            of what is said for both.
        after: the other one.

    Returns:
        A row per camera and weekday with known time in either range, with the columns camera, camera_id, weekday,
        occupied_avg_before, coverage_before, occupied_avg_after, coverage_after, difference (cars, after less before)
        and change (the difference as a share of before). `attrs` hold before and after, which are the attrs of the
        two answers, timezone and unit.
    """
    both = {
        "hours": hours,
        "weekdays": None if weekdays is None else weekday_numbers(weekdays),
        "dates": listed("dates", dates),
        "without": listed("without", without),
    }
    asked = several(cameras)
    first, second = (
        weekday_averages(asked, **(both | side(name, given)), timezone=timezone, fill=True, url=url)
        for name, given in (("before", before), ("after", after))
    )
    keys = ["camera", "camera_id", "weekday"]
    result: pd.DataFrame = first[[*keys, *COMPARED]].merge(
        second[[*keys, *COMPARED]], on=keys, how="outer", suffixes=("_before", "_after")
    )
    shares = ["coverage_before", "coverage_after"]
    result[shares] = result[shares].fillna(0)
    result["difference"] = result["occupied_avg_after"] - result["occupied_avg_before"]
    result["change"] = result["difference"] / result["occupied_avg_before"]
    result = result[(result[shares] > 0).any(axis=1)].reset_index(drop=True)
    result.attrs.update(before=first.attrs, after=second.attrs, timezone=first.attrs["timezone"], unit="cars")
    return result


def side(name: str, given: Compared) -> dict[str, Any]:
    """One side as arguments of an answer."""
    if not isinstance(given, Mapping):
        return dict(zip(("start", "end"), given, strict=True))
    unknown = given.keys() - Side.__annotations__.keys()
    if unknown:
        raise InvalidInputError(f"{name} has {sorted(unknown)}; it may have {', '.join(Side.__annotations__)}")
    return dict(given)
