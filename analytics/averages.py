"""Time-weighted averages by quarter of an hour, hour and day. The functions of the database do the work."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

import pandas as pd
import pyarrow as pa

from analytics.frames import DtypeBackend
from analytics.query import Filled, QuerySpec, run
from analytics.ranges import Moment
from analytics.request import Cameras, Request

MEASURES = ("occupied_avg", "occupied_share", "occupied_min", "occupied_max", "samples", "coverage")
BUCKETS = ("camera", "camera_id", "bucket", *MEASURES)

QUARTERS = QuerySpec(
    """
    SELECT a.*
    FROM public.occupancy_quarters($camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone) AS a
    WHERE a.coverage > 0 OR $fill::boolean
    """,
    BUCKETS,
    ("camera", "bucket"),
)
HOURS = QuerySpec(
    """
    SELECT a.*
    FROM public.occupancy_hours($camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone) AS a
    WHERE a.coverage > 0 OR $fill::boolean
    """,
    BUCKETS,
    ("camera", "bucket"),
)
DAYS = QuerySpec(
    """
    SELECT a.*
    FROM public.occupancy_days($camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone) AS a
    WHERE a.coverage > 0 OR $fill::boolean
    """,
    ("camera", "camera_id", "bucket", "local_date", *MEASURES),
    ("camera", "bucket"),
)


@overload
def hourly_averages(cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Filled]) -> pa.Table: ...
@overload
def hourly_averages(
    cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Filled]
) -> pd.DataFrame: ...
def hourly_averages(
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
    """Average occupancy per camera and local hour, in each camera's own time zone or in `timezone`.

    Args:
        cameras: a name, an id, a `Camera`, several of them, or None for all.
        start: where the range begins (inclusive): an aware datetime, an ISO 8601 text with an offset, or a date (the
            midnight at the lot). By default the camera's first observation. Time before 1970 is left out. A bound
            inside a quarter of an hour is rounded outwards, and `attrs["rounded"]` is true.
        end: where it ends (exclusive), given in the same ways. By default now.
        timezone: an IANA name, instead of each camera's own; hours and dates are those of this zone.
        fill: also rows of which nothing is known (`coverage` 0, the average NaN), up to ten years ahead.
        as_arrow: a `pyarrow.Table` instead; the times are its column `bucket`, `attrs` its metadata.
        dtype_backend: "pyarrow" for columns of Arrow's types.
        url: the database, if it is not that of the environment.

    Returns:
        A row per camera and hour, by camera and time, indexed by `bucket`: where the hour begins, in the zone of the
        cameras (UTC where they have several). Columns: camera, camera_id, occupied_avg (cars; the integral of the step
        function of the observations, divided by the time that is known), occupied_share (of the capacity, NaN without
        one), occupied_min, occupied_max, samples and coverage (the share of the time that is known). An hour without
        an event has the count that stood. `attrs` hold start and end (ISO 8601 in UTC), rounded, timezone and unit.

    Raises:
        UnknownCameraError: no camera has this name or id; the nearest names are in the message.
        InvalidInputError: a naive, reversed or malformed range, or an unknown time zone.
        ServerUnavailableError: the server is away.
        QueryCancelledError: the server cancelled the query, mostly at its `statement_timeout`.
        NotMigratedError: the database lacks the schema.
    """
    request = Request(cameras, start, end, timezone, url)
    return run(HOURS, request, as_arrow=as_arrow, dtype_backend=dtype_backend, fill=fill)


@overload
def quarter_hourly_averages(
    cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Filled]
) -> pa.Table: ...
@overload
def quarter_hourly_averages(
    cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Filled]
) -> pd.DataFrame: ...
def quarter_hourly_averages(
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
    """The same per quarter of an hour; arguments, columns and errors are those of `hourly_averages`."""
    request = Request(cameras, start, end, timezone, url)
    return run(QUARTERS, request, as_arrow=as_arrow, dtype_backend=dtype_backend, fill=fill)


@overload
def daily_averages(cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Filled]) -> pa.Table: ...
@overload
def daily_averages(
    cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Filled]
) -> pd.DataFrame: ...
def daily_averages(
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
    """The same per local day, of 23 to 25 hours; arguments and errors are those of `hourly_averages`.

    `bucket` is the midnight at which the day begins; one more column, local_date, has it on the wall, without a zone.
    """
    request = Request(cameras, start, end, timezone, url)
    return run(DAYS, request, as_arrow=as_arrow, dtype_backend=dtype_backend, fill=fill)
