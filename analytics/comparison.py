"""Two ranges side by side."""

from __future__ import annotations

import pandas as pd

from analytics.docstrings import documented
from analytics.ranges import Moment
from analytics.request import Cameras, several
from analytics.weekdays import weekday_averages

COMPARED = ("occupied_avg", "coverage")


@documented()
def compare(
    cameras: Cameras = None,
    *,
    before: tuple[Moment, Moment],
    after: tuple[Moment, Moment],
    timezone: str | None = None,
    url: str | None = None,
) -> pd.DataFrame:
    """The averages of each weekday in two ranges, side by side.

    Args:
        before: a pair of start (inclusive) and end (exclusive), each an aware datetime, an ISO 8601 text with an
            offset, a date (the midnight at the lot), or None for the first observation and for now.
        after: the other pair.

    Returns:
        A row per camera and weekday with known time in either range, with the columns camera, camera_id, weekday,
        occupied_avg_before, coverage_before, occupied_avg_after, coverage_after, difference (cars, after less before)
        and change (the difference as a share of before). `attrs` hold before and after, which are the attrs of the
        two answers, timezone and unit.
    """
    asked = several(cameras)
    first, second = (
        weekday_averages(asked, start=start, end=end, timezone=timezone, fill=True, url=url)
        for start, end in (before, after)
    )
    keys = ["camera", "camera_id", "weekday"]
    result = first[[*keys, *COMPARED]].merge(
        second[[*keys, *COMPARED]], on=keys, how="outer", suffixes=("_before", "_after")
    )
    shares = ["coverage_before", "coverage_after"]
    result[shares] = result[shares].fillna(0)
    result["difference"] = result["occupied_avg_after"] - result["occupied_avg_before"]
    result["change"] = result["difference"] / result["occupied_avg_before"]
    result = result[(result[shares] > 0).any(axis=1)].reset_index(drop=True)
    result.attrs.update(before=first.attrs, after=second.attrs, timezone=first.attrs["timezone"], unit="cars")
    return result
