"""Typical weeks: averages by weekday and hour of the day, and the busiest hours."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

import pandas as pd
import pyarrow as pa

from analytics.averages import MEASURES
from analytics.frames import DtypeBackend
from analytics.query import Asked, Filled, QuerySpec, run
from analytics.ranges import TOTAL_AHEAD, Moment
from analytics.request import Cameras, Request, Weekdays, weekday_numbers
from timeseries import InvalidInputError

WEEKDAYS = QuerySpec(
    """
    SELECT a.*
    FROM public.occupancy_weekdays($camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone) AS a
    WHERE a.weekday = ANY ($weekdays::integer[]) AND (a.coverage > 0 OR $fill::boolean)
    """,
    ("camera", "camera_id", "weekday", *MEASURES),
    ("camera", "weekday"),
    ahead=TOTAL_AHEAD,
)
PROFILE = QuerySpec(
    """
    SELECT k.camera_id, k.weekday, k.hour, p.occupied_avg, p.occupied_min, p.occupied_max,
           coalesce(p.samples, 0) AS samples, coalesce(p.coverage, 0) AS coverage
    FROM (
        SELECT camera_id, weekday, hour
        FROM unnest($camera_ids::uuid[]) AS camera_id, generate_series(1, 7) AS weekday, generate_series(0, 23) AS hour
    ) AS k
    LEFT JOIN public.occupancy_profile(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone
    ) AS p USING (camera_id, weekday, hour)
    WHERE p.coverage > 0 OR $fill::boolean
    """,
    ("camera", "camera_id", "weekday", "hour", *MEASURES),
    ("camera", "weekday", "hour"),
    ahead=TOTAL_AHEAD,
)
PEAKS = QuerySpec(
    """
    SELECT a.*, row_number() OVER (PARTITION BY a.camera_id ORDER BY a.occupied_avg DESC, a.bucket) AS place
    FROM public.occupancy_peaks(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, $number::integer
    ) AS a
    """,
    ("camera", "camera_id", "bucket", "place", *MEASURES),
    ("camera", "place"),
)


@overload
def weekday_averages(
    cameras: Cameras = None, *, as_arrow: Literal[True], weekdays: Weekdays = None, **asked: Unpack[Filled]
) -> pa.Table: ...
@overload
def weekday_averages(
    cameras: Cameras = None, *, as_arrow: Literal[False] = False, weekdays: Weekdays = None, **asked: Unpack[Filled]
) -> pd.DataFrame: ...
def weekday_averages(
    cameras: Cameras = None,
    *,
    weekdays: Weekdays = None,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    fill: bool = False,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """Average occupancy per camera and local weekday, over all such days of the range.

    Args:
        cameras: this and all arguments but `weekdays` are those of `hourly_averages`.
        weekdays: names or ISO numbers, one or several; None for all.

    Returns:
        A row per camera and weekday, with the columns camera, camera_id, weekday (ISO: Monday 1 to Sunday 7),
        occupied_avg, occupied_share, occupied_min, occupied_max, samples and coverage. A day that is only partly in the
        range counts with that part; of the future in it a year counts at most, as time of which nothing is known.

    Raises:
        UnknownCameraError: no camera has this name or id.
        InvalidInputError: an unknown weekday, or a range or zone that cannot be used.
        TimeseriesError: what else `hourly_averages` raises.
    """
    numbers = "{" + ",".join(map(str, weekday_numbers(weekdays))) + "}"
    request = Request(cameras, start, end, timezone, url)
    return run(WEEKDAYS, request, as_arrow=as_arrow, dtype_backend=dtype_backend, fill=fill, weekdays=numbers)


@overload
def weekday_profile(cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Filled]) -> pa.Table: ...
@overload
def weekday_profile(
    cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Filled]
) -> pd.DataFrame: ...
def weekday_profile(
    cameras: Cameras = None,
    *,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    fill: bool = False,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """Average occupancy per camera, local weekday and hour of the day: a typical week.

    Arguments and errors are those of `hourly_averages`. A row has also the columns weekday (ISO) and hour (0 to 23);
    with `fill` each camera has all 168. `profile.pivot(index="weekday", columns="hour", values="occupied_avg")` makes
    a matrix of 7 by 24 of one camera; `analytics.plot.heat_map` draws it.
    """
    request = Request(cameras, start, end, timezone, url)
    return run(PROFILE, request, as_arrow=as_arrow, dtype_backend=dtype_backend, fill=fill)


@overload
def peaks(
    cameras: Cameras = None, *, as_arrow: Literal[True], number: int = 10, **asked: Unpack[Asked]
) -> pa.Table: ...
@overload
def peaks(
    cameras: Cameras = None, *, as_arrow: Literal[False] = False, number: int = 10, **asked: Unpack[Asked]
) -> pd.DataFrame: ...
def peaks(
    cameras: Cameras = None,
    *,
    number: int = 10,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """The `number` busiest local hours of each camera in the range, busiest first; of equal ones the earlier first.

    Columns, the other arguments and errors are those of `hourly_averages`; one more column, place, counts from 1.
    """
    if number < 1:
        raise InvalidInputError(f"number {number!r}: it must be at least 1")
    request = Request(cameras, start, end, timezone, url)
    return run(PEAKS, request, as_arrow=as_arrow, dtype_backend=dtype_backend, number=int(number))
