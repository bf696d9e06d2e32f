"""Two ranges side by side."""

from __future__ import annotations

import pandas as pd

from analytics.ranges import Moment
from analytics.request import Cameras, several
from analytics.weekdays import weekday_averages

COMPARED = ("occupied_avg", "coverage")


def compare(
    cameras: Cameras = None,
    *,
    before: tuple[Moment, Moment],
    after: tuple[Moment, Moment],
    timezone: str | None = None,
    url: str | None = None,
) -> pd.DataFrame:
    """The averages of each weekday in two ranges, each a pair of start and end as `hourly_averages` takes them.

    Returns:
        A row per camera and weekday of which either range knows anything, with the columns camera, camera_id, weekday,
        occupied_avg_before, coverage_before, occupied_avg_after, coverage_after, difference (cars, after less before)
        and change (the difference as a share of before).

    Raises:
        UnknownCameraError: no camera has this name or id.
        InvalidInputError: a range or zone that cannot be used.
        TimeseriesError: what else `hourly_averages` raises.
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
    coverage = result[["coverage_before", "coverage_after"]] = result[["coverage_before", "coverage_after"]].fillna(0)
    result["difference"] = result["occupied_avg_after"] - result["occupied_avg_before"]
    result["change"] = result["difference"] / result["occupied_avg_before"]
    result = result[(coverage > 0).any(axis=1)].reset_index(drop=True)
    result.attrs.update(before=first.attrs, after=second.attrs, timezone=first.attrs["timezone"], unit="cars")
    return result
