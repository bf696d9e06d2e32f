"""Typical weeks: averages by weekday and hour of the day, and the busiest hours."""

from __future__ import annotations

from typing import Literal, Protocol, Unpack, overload

import pandas as pd
import pyarrow as pa

from analytics.averages import MEASURES, of_groups
from analytics.calendars import COUNTED
from analytics.query import FilledAnswer, Frame_co, Grouped, Parameters, QuerySpec, Table_co, answered_by, extremes
from analytics.ranges import TOTAL_AHEAD
from analytics.request import Cameras
from timeseries import InvalidInputError

WEEKDAYS = QuerySpec(
    f"""
    SELECT a.camera_id, a.weekday, a.occupied_avg, a.occupied_min, a.occupied_max, a.samples, a.coverage
    FROM public.occupancy_weekdays(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, {COUNTED}
    ) AS a
    WHERE a.coverage > 0 OR $fill::boolean
    """,  # noqa: S608 - a text of our own
    ("camera", "camera_id", "weekday", *MEASURES),
    ("camera", "weekday"),
    ahead=TOTAL_AHEAD,
    group_query=of_groups("weekdays", "weekday"),
    width="'day'",
    per="weekday",
)
PROFILE_OF_GROUPS = f"""
    SELECT k.camera_id, k.weekday, k.hour, p.occupied_avg, p.occupied_min, p.occupied_max,
           coalesce(p.samples, 0) AS samples, coalesce(p.coverage, 0) AS coverage,
           coalesce(p.extremes_exact, true) AS extremes_exact
    FROM (
        SELECT camera_id, weekday, hour
        FROM unnest($camera_ids::uuid[]) AS camera_id, generate_series(1, 7) AS weekday, generate_series(0, 23) AS hour
    ) AS k
    LEFT JOIN ({of_groups("profile", "weekday", "hour")}) AS p USING (camera_id, weekday, hour)
    WHERE p.coverage > 0 OR $fill::boolean
"""  # noqa: S608 - names of our own
PEAKS_OF_GROUPS = f"""
    SELECT a.group_id AS camera_id, a.bucket, a.occupied_avg, a.occupied_min::integer AS occupied_min,
           a.occupied_max::integer AS occupied_max, a.samples, a.coverage,
           row_number() OVER (PARTITION BY a.group_id ORDER BY a.occupied_avg DESC, a.bucket) AS place,
           a.extremes_exact
    FROM public.group_peaks(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, $number::integer,
        $exact_rows::bigint, {COUNTED}
    ) AS a
"""  # noqa: S608 - names of our own
PROFILE = QuerySpec(
    f"""
    SELECT k.camera_id, k.weekday, k.hour, p.occupied_avg, p.occupied_min, p.occupied_max,
           coalesce(p.samples, 0) AS samples, coalesce(p.coverage, 0) AS coverage
    FROM (
        SELECT camera_id, weekday, hour
        FROM unnest($camera_ids::uuid[]) AS camera_id, generate_series(1, 7) AS weekday, generate_series(0, 23) AS hour
    ) AS k
    LEFT JOIN public.occupancy_profile(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, {COUNTED}
    ) AS p USING (camera_id, weekday, hour)
    WHERE p.coverage > 0 OR $fill::boolean
    """,  # noqa: S608 - a text of our own
    ("camera", "camera_id", "weekday", "hour", *MEASURES),
    ("camera", "weekday", "hour"),
    ahead=TOTAL_AHEAD,
    group_query=PROFILE_OF_GROUPS,
    width="'hour'",
    per="profile",
)
PEAKS = QuerySpec(
    f"""
    SELECT a.camera_id, a.bucket, a.occupied_avg, a.occupied_min, a.occupied_max, a.samples, a.coverage,
           row_number() OVER (PARTITION BY a.camera_id ORDER BY a.occupied_avg DESC, a.bucket) AS place
    FROM public.occupancy_peaks(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, $number::integer,
        {COUNTED}
    ) AS a
    """,  # noqa: S608 - a text of our own
    ("camera", "camera_id", "bucket", "place", *MEASURES),
    ("camera", "place"),
    group_query=PEAKS_OF_GROUPS,
    width="'hour'",
)


@answered_by(WEEKDAYS, FilledAnswer[pa.Table, pd.DataFrame])
def weekday_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local weekday, over all such days of the range.

    Returns:
        A row per camera and weekday. A day that is only partly in the range counts with that part. At most a year of
        the future in the range counts, as unknown time.
    """
    return {"fill": fill} | extremes(exact_extremes)


@answered_by(PROFILE, FilledAnswer[pa.Table, pd.DataFrame])
def weekday_profile(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group, local weekday and hour of the day: a typical week.

    `profile.pivot(index="weekday", columns="hour", values="occupied_avg")` makes a matrix of 7 by 24 of one camera;
    `analytics.plot.heat_map` draws it.

    Returns:
        A row per camera, weekday and hour; with `fill` each camera has all 168.
    """
    return {"fill": fill} | extremes(exact_extremes)


class PeaksAnswer(Protocol[Table_co, Frame_co]):
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[True], number: int = 10, **asked: Unpack[Grouped]
    ) -> Table_co: ...
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[False] = False, number: int = 10, **asked: Unpack[Grouped]
    ) -> Frame_co: ...


@answered_by(PEAKS, PeaksAnswer[pa.Table, pd.DataFrame])
def peaks(*, number: int = 10, exact_extremes: bool = False) -> Parameters:
    """The busiest local hours of each camera or group in the range.

    Args:
        number: how many hours of each camera, at least 1.

    Returns:
        A row per camera and hour, by camera and place, busiest first, of equal ones the earlier first; indexed by
        `bucket`.
    """
    if number < 1:
        raise InvalidInputError(f"number {number!r}: it must be at least 1")
    return {"number": int(number)} | extremes(exact_extremes)
