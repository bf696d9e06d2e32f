"""Time-weighted averages as frames. The SQL functions of the same names do the work."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from analytics.frames import frame
from analytics.questions import Cameras, Moment, Scope, Weekdays, scopes, weekday_numbers
from analytics.source import fetch

MEASURES = ["occupied_avg", "occupied_min", "occupied_max", "samples", "coverage"]

WEEKDAYS = """
    SELECT c.name AS camera, c.id::text AS camera_id, a.weekday, a.occupied_avg, a.occupied_min, a.occupied_max,
           a.samples, a.coverage
    FROM public.occupancy_weekdays(
        $1::text::uuid[], $2::timestamptz, $3::timestamptz, $4::text
    ) AS a
    JOIN public.cameras AS c ON c.id = a.camera_id
    WHERE a.weekday = ANY ($5::text::integer[]) AND (a.coverage > 0 OR $6::text = 'fill')
    ORDER BY c.name, a.weekday
"""

HOURS = """
    SELECT c.name AS camera, c.id::text AS camera_id, a.bucket, a.occupied_avg, a.occupied_min, a.occupied_max,
           a.samples, a.coverage
    FROM public.occupancy_hours(
        $1::text::uuid[], $2::timestamptz, $3::timestamptz, $4::text
    ) AS a
    JOIN public.cameras AS c ON c.id = a.camera_id
    WHERE a.coverage > 0 OR $5::text = 'fill'
    ORDER BY c.name, a.bucket
"""


def weekday_averages(
    cameras: Cameras = None,
    *,
    weekdays: Weekdays = None,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    fill: bool = False,
    url: str | None = None,
) -> pd.DataFrame:
    """Average occupancy per camera and weekday, in each camera's own time zone or in `timezone`.

    Args:
        cameras: a name, an id, a `Camera`, several of them, or None for all.
        weekdays: names or ISO numbers, one or several; None for all.
        start, end: aware datetimes, ISO 8601 texts with an offset, or dates (the midnight at the lot). A range
            inside a quarter of an hour is rounded outwards. Without a start it begins with the camera's first
            observation, without an end it ends now.
        fill: also rows of weekdays in the range of which nothing is known (`coverage` 0, the average NaN).
        url: the database, if it is not that of the environment.

    Returns:
        A row per camera and weekday, with the columns camera, camera_id, weekday (ISO: Monday 1 to Sunday 7),
        occupied_avg (cars; the integral of the step function of the observations over all such days, divided by the
        time that is known), occupied_min, occupied_max, samples and coverage (the share of the time that is known).
        `attrs` hold start, end, timezone and unit.

    Raises:
        UnknownCameraError, InvalidInputError, ServerUnavailableError, NotMigratedError.
    """
    numbers = weekday_numbers(weekdays)
    asked = scopes(cameras, start, end, timezone, url)
    extra = {"weekdays": "{" + ",".join(map(str, numbers)) + "}", "fill": "fill" if fill else ""}
    tables = [fetch(WEEKDAYS, parameters(scope, timezone) | extra, url) for scope in asked]
    return answer(tables, ["camera", "camera_id", "weekday", *MEASURES], asked)


def hourly_averages(
    cameras: Cameras = None,
    *,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    fill: bool = False,
    url: str | None = None,
) -> pd.DataFrame:
    """Average occupancy per camera and local hour; the arguments are those of `weekday_averages`.

    Returns:
        A row per camera and hour, indexed by `bucket`: where the hour begins, in the zone of the cameras (UTC where
        they have several); with the columns camera, camera_id, occupied_avg, occupied_min, occupied_max, samples and
        coverage. An hour without an event has the count that stood; one of which nothing is known is left out unless
        `fill` is true.

    Raises:
        UnknownCameraError, InvalidInputError, ServerUnavailableError, NotMigratedError.
    """
    asked = scopes(cameras, start, end, timezone, url)
    extra = {"fill": "fill" if fill else ""}
    tables = [fetch(HOURS, parameters(scope, timezone) | extra, url) for scope in asked]
    return answer(tables, ["camera", "camera_id", *MEASURES], asked)


def parameters(scope: Scope, timezone: str | None) -> dict[str, Any]:
    return {
        "camera_ids": "{" + ",".join(scope.camera_ids) + "}",
        "start_at": scope.start,
        "end_at": scope.end,
        "time_zone": timezone,
    }


def answer(tables: list[pa.Table], columns: list[str], asked: list[Scope]) -> pd.DataFrame:
    """One frame of all scopes; what differs between them is None in `attrs`."""
    zones, starts, ends = ({getattr(s, name) for s in asked} for name in ("timezone", "start", "end"))
    return frame(
        pa.concat_tables(tables),
        columns,
        zones.pop() if len(zones) == 1 else None,
        start=starts.pop() if len(starts) == 1 else None,
        end=ends.pop() if len(ends) == 1 else None,
        unit="cars",
    )
