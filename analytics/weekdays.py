"""Typical weeks: averages by weekday and hour of the day, and the busiest hours."""

from __future__ import annotations

from typing import Literal, Protocol, Unpack, overload

import pandas as pd
import pyarrow as pa

from analytics.averages import MEASURES
from analytics.calendars import COUNTED
from analytics.query import Counted, FilledAnswer, Frame_co, Parameters, QuerySpec, Table_co, answered_by
from analytics.ranges import TOTAL_AHEAD
from analytics.request import Cameras
from timeseries import InvalidInputError

WEEKDAYS = QuerySpec(
    f"""
    SELECT a.*
    FROM public.occupancy_weekdays(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, {COUNTED}
    ) AS a
    WHERE a.coverage > 0 OR $fill::boolean
    """,  # noqa: S608 - a text of our own
    ("camera", "camera_id", "weekday", *MEASURES),
    ("camera", "weekday"),
    ahead=TOTAL_AHEAD,
)
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
)
PEAKS = QuerySpec(
    f"""
    SELECT a.*, row_number() OVER (PARTITION BY a.camera_id ORDER BY a.occupied_avg DESC, a.bucket) AS place
    FROM public.occupancy_peaks(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, $number::integer,
        {COUNTED}
    ) AS a
    """,  # noqa: S608 - a text of our own
    ("camera", "camera_id", "bucket", "place", *MEASURES),
    ("camera", "place"),
)


@answered_by(WEEKDAYS, FilledAnswer[pa.Table, pd.DataFrame])
def weekday_averages(*, fill: bool = False) -> Parameters:
    """Average occupancy per camera and local weekday, over all such days of the range.

    Returns:
        A row per camera and weekday. A day that is only partly in the range counts with that part. At most a year of
        the future in the range counts, as unknown time.
    """
    return {"fill": fill}


@answered_by(PROFILE, FilledAnswer[pa.Table, pd.DataFrame])
def weekday_profile(*, fill: bool = False) -> Parameters:
    """Average occupancy per camera, local weekday and hour of the day: a typical week.

    `profile.pivot(index="weekday", columns="hour", values="occupied_avg")` makes a matrix of 7 by 24 of one camera;
    `analytics.plot.heat_map` draws it.

    Returns:
        A row per camera, weekday and hour; with `fill` each camera has all 168.
    """
    return {"fill": fill}


class PeaksAnswer(Protocol[Table_co, Frame_co]):
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[True], number: int = 10, **asked: Unpack[Counted]
    ) -> Table_co: ...
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[False] = False, number: int = 10, **asked: Unpack[Counted]
    ) -> Frame_co: ...


@answered_by(PEAKS, PeaksAnswer[pa.Table, pd.DataFrame])
def peaks(*, number: int = 10) -> Parameters:
    """The busiest local hours of each camera in the range.

    Args:
        number: how many hours of each camera, at least 1.

    Returns:
        A row per camera and hour, by camera and place, busiest first, of equal ones the earlier first; indexed by
        `bucket`.
    """
    if number < 1:
        raise InvalidInputError(f"number {number!r}: it must be at least 1")
    return {"number": int(number)}
