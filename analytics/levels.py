"""Time at or above a level."""

from __future__ import annotations

from typing import Any, Literal, Protocol, Unpack, overload

import pandas as pd
import pyarrow as pa

from analytics.calendars import COUNTED, Calendar, Dates, Hours
from analytics.docstrings import documented
from analytics.frames import DtypeBackend
from analytics.query import Counted, Frame_co, QuerySpec, Table_co, run, typed
from analytics.ranges import TOTAL_AHEAD, Moment
from analytics.request import Cameras, Request, Weekdays
from timeseries import InvalidInputError

MOST_SHARE = 100
By = Literal["day", "weekday", "month", "total"]
MEASURES = ("level", "hours_at_least", "hours_at_most", "share_at_least", "share_at_most", "known_hours", "coverage")
LABELS: dict[str, tuple[str, ...]] = {
    "day": ("bucket", "local_date"), "weekday": ("weekday",), "month": ("bucket", "local_date"), "total": (),
}  # fmt: skip


def above(kind: str, answer: str) -> str:
    """The rows of the function of the database for cameras, or for groups."""
    return f"""
        SELECT a.{kind}_id AS camera_id, a.bucket, a.local_date, a.weekday, a.cars::integer AS level, a.hours_at_least,
               a.hours_at_most, a.hours_at_least / nullif(a.known_hours, 0) AS share_at_least,
               a.hours_at_most / nullif(a.known_hours, 0) AS share_at_most, a.known_hours, a.coverage
        FROM public.{answer}(
            $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, $level::integer,
            $share::numeric, $per, {COUNTED}
        ) AS a
        WHERE a.coverage > 0
    """  # noqa: S608 - names of our own


SPECS = {
    by: QuerySpec(
        above("camera", "occupancy_above"), ("camera", "camera_id", *labels, *MEASURES), ("camera", *labels[:1]),
        "hours", ahead=TOTAL_AHEAD, group_query=above("group", "group_above"),
    )
    for by, labels in LABELS.items()
}  # fmt: skip


class TimeAboveAnswer(Protocol[Table_co, Frame_co]):
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[True], level: int | None = None,
        share: float | None = None, by: By = "day", **asked: Unpack[Counted],
    ) -> Table_co: ...  # fmt: skip
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[False] = False, level: int | None = None,
        share: float | None = None, by: By = "day", **asked: Unpack[Counted],
    ) -> Frame_co: ...  # fmt: skip


@typed(TimeAboveAnswer[pa.Table, pd.DataFrame])
@documented(MEASURES, groups=True)
def time_above(
    cameras: Cameras = None,
    *,
    level: int | None = None,
    share: float | None = None,
    by: By = "day",
    hours: Hours = None,
    weekdays: Weekdays = None,
    dates: Dates = None,
    without: Dates = None,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """How long at least so many cars were there: hours, and the share of the time that is known.

    It is exact as long as raw rows are there: both bounds are equal. Of a quarter of an hour whose raw rows are gone
    only minimum, maximum and integral are known, and they bound the time. Of a group it is the time in which its
    members together had so many cars, of the quarters of an hour in which all of them are known.

    Args:
        level: so many cars; or `share`, not both.
        share: so much of the capacity that each camera or group has at the time, like 0.85; the level is the least
            whole number of cars that is as much. It is missing in a row in which it changes; where the capacity is
            unknown in some known time, hours and shares are missing, too.
        by: "day", "weekday", "month" (local ones) or "total".

    Returns:
        A row per camera or group and day, weekday or month with known time, by name and time; by day and month indexed
        by `bucket`, the midnight at which it begins, with `local_date`; by weekday with `weekday`; in total a row per
        camera or group. Coverage is of the part of them that lies in the range.
    """
    if (level is None) == (share is None):
        raise InvalidInputError("give either a level, a number of cars, or a share of the capacity, like share=0.85")
    if (level is not None and level < 0) or (share is not None and not 0 <= share <= MOST_SHARE):
        raise InvalidInputError(
            f"level {level!r}, share {share!r}: a level is at least 0, a share from 0 to {MOST_SHARE}"
        )
    if by not in SPECS:
        raise InvalidInputError(f"by {by!r} is unknown; give one of {', '.join(map(repr, SPECS))}")
    request = Request(cameras, start, end, timezone, url)
    counted = Calendar(hours, weekdays, dates, without)
    return run(
        SPECS[by], request, as_arrow=as_arrow, dtype_backend=dtype_backend, calendar=counted, level=level, share=share,
        per=by,
    )  # fmt: skip
