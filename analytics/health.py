"""How the cameras were: shares of time per status, and what was wrong when; and how they are now."""

from __future__ import annotations

from typing import Any, Literal, Protocol, overload

import pandas as pd
import pyarrow as pa

from analytics.calendars import COUNTED
from analytics.docstrings import documented
from analytics.frames import DtypeBackend
from analytics.query import (
    CountedAnswer,
    Frame_co,
    Parameters,
    QuerySpec,
    RangeAnswer,
    Table_co,
    answered_by,
    run,
    typed,
)
from analytics.ranges import TOTAL_AHEAD
from analytics.request import Cameras, Request

UPTIME = QuerySpec(
    f"""
    SELECT a.*
    FROM public.health_uptime(
        $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, {COUNTED}
    ) AS a
    """,  # noqa: S608 - a text of our own
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
    exact=True,
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
    group_query="""
    SELECT a.group_id AS camera_id, a.occupied_count::integer AS occupied_count,
           a.occupied_count::double precision AS occupied_avg, a.counted_at,
           (date_part('epoch', a.count_age) * 1000000)::bigint AS count_age, NULL::public.health_status AS status,
           NULL::timestamptz AS status_at, NULL::bigint AS status_age,
           'no count stands of ' || a.missing AS message
    FROM public.group_latest($camera_ids::uuid[]) AS a
    """,
)  # fmt: skip


@answered_by(UPTIME, CountedAnswer[pa.Table, pd.DataFrame])
def uptime() -> Parameters:
    """The share of time in each status, from health logs as states that hold until the next, at most for the camera's
    hold, never past now.

    Returns:
        A row per camera. The shares are of the time that is known, together 1, and NaN where nothing is known. Coverage
        is of the whole range, in which at most a year of the future counts.
    """
    return {}


@answered_by(STATES, RangeAnswer[pa.Table, pd.DataFrame])
def states() -> Parameters:
    """Unbroken times in one status, inside the range and as far back as raw rows go.

    Returns:
        A row per unbroken time, by camera and time, indexed by `start`. A status that no log renews ends with the
        camera's hold; between rows nothing is known.
    """
    return {"healthy": True}


@answered_by(STATES, RangeAnswer[pa.Table, pd.DataFrame])
def outages() -> Parameters:
    """Unbroken times in a status that is not healthy, inside the range and as far back as raw rows go.

    Returns:
        A row per unbroken time, by camera and time, indexed by `start`. A status that no log renews ends with the
        camera's hold; between rows the camera was healthy, or nothing is known.
    """
    return {"healthy": False}


class LatestAnswer(Protocol[Table_co, Frame_co]):
    @overload
    def __call__(self, cameras: Cameras = None, *, as_arrow: Literal[True], url: str | None = None) -> Table_co: ...
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[False] = False, dtype_backend: DtypeBackend | None = None,
        url: str | None = None,
    ) -> Frame_co: ...  # fmt: skip


@typed(LatestAnswer[pa.Table, pd.DataFrame])
@documented(groups=True)
def latest(
    cameras: Cameras = None,
    *,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """The newest count and the newest health status of each camera, however old; of a group the sum of its members'
    counts, where each of them still stands.

    Returns:
        A row per camera or group. Columns: camera, camera_id, occupied_count, occupied_share (of the capacity, NaN
        without one), counted_at, count_age, status, status_at, status_age and message (which lives as long as its raw
        row). What was never observed is missing. Of a group occupied_count is missing where a member's count does not
        stand, and the message names those members; counted_at is when a member was counted last; there is no status.
    """
    return run(LATEST, Request(cameras, url=url), as_arrow=as_arrow, dtype_backend=dtype_backend)
