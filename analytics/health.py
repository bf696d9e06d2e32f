"""How the cameras were: shares of time per status, and what was wrong when; and how they are now."""

from __future__ import annotations

from typing import Any, Literal, Unpack, overload

import pandas as pd
import pyarrow as pa

from analytics.frames import DtypeBackend
from analytics.query import Asked, QuerySpec, run
from analytics.ranges import TOTAL_AHEAD, Moment
from analytics.request import Cameras, Request

UPTIME = QuerySpec(
    "SELECT a.* FROM public.health_uptime($camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz) AS a",
    ("camera", "camera_id", "healthy_share", "degraded_share", "disconnected_share", "samples", "coverage"),
    ("camera",),
    unit="share of the known time",
    ahead=TOTAL_AHEAD,
)
STATES = QuerySpec(
    """
    SELECT a.camera_id, a.start_at AS start, a.end_at AS "end", (a.seconds * 1000000)::bigint AS duration,
           a.status, a.message
    FROM public.health_states($camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz) AS a
    WHERE a.status <> 'healthy' OR $healthy::boolean
    """,
    ("camera", "camera_id", "start", "end", "duration", "status", "message"),
    ("camera", "start"),
    "status",
)
LATEST = QuerySpec(
    """
    SELECT a.camera_id, a.occupied_count, a.occupied_count::double precision AS occupied_avg, a.counted_at,
           (date_part('epoch', a.count_age) * 1000000)::bigint AS count_age, a.status, a.status_at,
           (date_part('epoch', a.status_age) * 1000000)::bigint AS status_age, a.message
    FROM public.latest($camera_ids::uuid[]) AS a
    """,
    ("camera", "camera_id", "occupied_count", "occupied_share", "counted_at", "count_age", "status", "status_at",
     "status_age", "message"),
)  # fmt: skip


@overload
def uptime(cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Asked]) -> pa.Table: ...
@overload
def uptime(cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Asked]) -> pd.DataFrame: ...
def uptime(
    cameras: Cameras = None,
    *,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """The share of time in each status, from health logs as states that hold until the next, at most for the camera's
    hold, never past now. Arguments and errors are those of `hourly_averages`; `timezone` is where dates begin.

    Returns:
        A row per camera, with the columns camera, camera_id, healthy_share, degraded_share, disconnected_share (of the
        time that is known, together 1; NaN where nothing is), samples (logs) and coverage (the share of the range that
        is known).
    """
    request = Request(cameras, start, end, timezone, url)
    return run(UPTIME, request, as_arrow=as_arrow, dtype_backend=dtype_backend)


@overload
def states(cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Asked]) -> pa.Table: ...
@overload
def states(cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Asked]) -> pd.DataFrame: ...
def states(
    cameras: Cameras = None,
    *,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """Unbroken times in one status, inside the range and as far back as raw rows go.

    Arguments and errors are those of `hourly_averages`; the range is taken exactly.

    Returns:
        A row per unbroken time, by camera and time, indexed by `start`, with the columns camera, camera_id, end (NaT
        where it lasts to the end of the range, or now), duration, status and message (the first one). A status that no
        log renews ends with the camera's hold; between rows nothing is known.
    """
    request = Request(cameras, start, end, timezone, url)
    return run(STATES, request, as_arrow=as_arrow, dtype_backend=dtype_backend, exact=True, healthy=True)


@overload
def outages(cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Asked]) -> pa.Table: ...
@overload
def outages(cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Asked]) -> pd.DataFrame: ...
def outages(
    cameras: Cameras = None,
    *,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """Unbroken times in a status that is not healthy: the rows of `states` but those that are well."""
    request = Request(cameras, start, end, timezone, url)
    return run(STATES, request, as_arrow=as_arrow, dtype_backend=dtype_backend, exact=True, healthy=False)


@overload
def latest(cameras: Cameras = None, *, as_arrow: Literal[True], url: str | None = None) -> pa.Table: ...
@overload
def latest(
    cameras: Cameras = None,
    *,
    as_arrow: Literal[False] = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> pd.DataFrame: ...
def latest(
    cameras: Cameras = None,
    *,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """The newest count and the newest health status of each camera, however old.

    Returns:
        A row per camera, with the columns camera, camera_id, occupied_count, occupied_share (of the capacity),
        counted_at, count_age, status, status_at, status_age and message. Times are in the zone of the cameras (UTC
        where they have several); what was never observed is missing. The message lives as long as its raw row.

    Raises:
        UnknownCameraError: no camera has this name or id.
        TimeseriesError: what else `hourly_averages` raises.
    """
    return run(LATEST, Request(cameras, url=url), as_arrow=as_arrow, dtype_backend=dtype_backend)
