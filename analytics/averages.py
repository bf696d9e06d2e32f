"""Time-weighted averages by buckets of any width. The functions of the database do the work."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Protocol, Unpack, overload

import pandas as pd
import pyarrow as pa

from analytics.calendars import COUNTED
from analytics.query import Filled, FilledAnswer, Frame_co, Parameters, QuerySpec, Table_co, answered_by, extremes
from analytics.ranges import LOOKAHEAD, TOTAL_AHEAD
from analytics.request import Cameras
from timeseries import InvalidInputError

MEASURES = ("occupied_avg", "occupied_share", "occupied_min", "occupied_max", "samples", "coverage")
MEASURED = tuple(name for name in MEASURES if name != "occupied_share")  # that is made of the camera's capacity


def averages_by(answer: str, *labels: str, width: str, own: str = "", ahead: timedelta = LOOKAHEAD) -> QuerySpec:
    """The rows of the functions of the database that take cameras or groups, a range, a zone, what is their `own` and a
    calendar, and have a row per bucket of a `width`, in SQL. `ahead` is at least this width, because the future part of
    a bucket lowers the coverage.
    """
    columns = ("bucket", *labels, *MEASURED)
    query = f"""
        SELECT a.camera_id, {", ".join(f"a.{column}" for column in columns)}
        FROM public.occupancy_{answer}(
            $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, {own}{COUNTED}
        ) AS a
        WHERE a.coverage > 0 OR $fill::boolean
    """  # noqa: S608 - names of our own
    return QuerySpec(
        query, ("camera", "camera_id", "bucket", *labels, *MEASURES), ("camera", "bucket"), ahead=ahead,
        group_query=of_groups(answer, "bucket", *labels, own=own), width=width,
    )  # fmt: skip


def of_groups(answer: str, *labels: str, own: str = "") -> str:
    """The same rows of groups; sums are whole numbers of the same type as counts."""
    listed = ", ".join(f"a.{label}" for label in labels)
    return f"""
        SELECT a.group_id AS camera_id, {listed}, a.occupied_avg, a.occupied_min::integer AS occupied_min,
               a.occupied_max::integer AS occupied_max, a.samples, a.coverage, a.extremes_exact
        FROM public.group_{answer}(
            $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, {own}
            exact_rows => $exact_rows::bigint, calendar => {COUNTED}
        ) AS a
        WHERE (a.coverage > 0 OR $fill::boolean)
    """  # noqa: S608 - names of our own


@answered_by(averages_by("quarters", width="'quarter'"), FilledAnswer[pa.Table, pd.DataFrame])
def quarter_hourly_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and quarter of an hour, aligned in UTC.

    Returns:
        A row per camera or group and quarter of an hour, by name and time, indexed by `bucket`. One without an event
        has the count that stood.
    """
    return {"fill": fill} | extremes(exact_extremes)


@answered_by(averages_by("hours", width="'hour'"), FilledAnswer[pa.Table, pd.DataFrame])
def hourly_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local hour, in each camera's own time zone or in `timezone`.

    Returns:
        A row per camera or group and hour, by name and time, indexed by `bucket`. An hour without an event has the
        count that stood.
    """
    return {"fill": fill} | extremes(exact_extremes)


@answered_by(averages_by("days", "local_date", width="'day'"), FilledAnswer[pa.Table, pd.DataFrame])
def daily_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local day, of 23 to 25 hours.

    Returns:
        A row per camera or group and day, by name and time, indexed by `bucket`, the midnight at which the day begins.
        A day without an event has the count that stood.
    """
    return {"fill": fill} | extremes(exact_extremes)


@answered_by(averages_by("weeks", "local_date", width="'week'"), FilledAnswer[pa.Table, pd.DataFrame])
def weekly_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local week, from Monday (ISO 8601).

    Returns:
        A row per camera or group and week, by name and time, indexed by `bucket`, the midnight at which the week
        begins, also where the range begins later.
    """
    return {"fill": fill} | extremes(exact_extremes)


@answered_by(
    averages_by("months", "local_date", width="'month'", ahead=TOTAL_AHEAD), FilledAnswer[pa.Table, pd.DataFrame]
)
def monthly_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local month.

    Returns:
        A row per camera or group and month, by name and time, indexed by `bucket`, the midnight at which the month
        begins, also where the range begins later.
    """
    return {"fill": fill} | extremes(exact_extremes)


@answered_by(
    averages_by("years", "local_date", width="'year'", ahead=TOTAL_AHEAD), FilledAnswer[pa.Table, pd.DataFrame]
)
def yearly_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local year.

    Returns:
        A row per camera or group and year, by name and time, indexed by `bucket`, the midnight at which the year
        begins, also where the range begins later.
    """
    return {"fill": fill} | extremes(exact_extremes)


class WidthAnswer(Protocol[Table_co, Frame_co]):
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[True], width: timedelta | str, **asked: Unpack[Filled]
    ) -> Table_co: ...
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[False] = False, width: timedelta | str,
        **asked: Unpack[Filled],
    ) -> Frame_co: ...  # fmt: skip


BY_WIDTH = averages_by("averages", "local_start", width="timeseries.bucket_width($width)", own="$width, ")


@answered_by(BY_WIDTH, WidthAnswer[pa.Table, pd.DataFrame])
def bucket_averages(*, width: timedelta | str, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local bucket of any width.

    Args:
        width: a timedelta, or a text as pandas reads it, like "30 minutes" or "2h": a multiple of a quarter of an hour
            that divides a day, counted from local midnight; or a week.

    Returns:
        A row per camera or group and bucket, by name and time, indexed by `bucket`. Where the clock is put back, a
        bucket of up to an hour that comes twice is two rows; a wider one lasts longer.
    """
    try:
        minutes = pd.Timedelta(width).total_seconds() / 60
    except (TypeError, ValueError):
        raise InvalidInputError(
            f'width {width!r} is no length of time like "2h"; monthly_averages and yearly_averages have others'
        ) from None
    return {"width": f"{minutes:g} minutes", "fill": fill} | extremes(exact_extremes)
