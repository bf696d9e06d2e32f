"""Time-weighted averages by quarter of an hour, hour and day. The functions of the database do the work."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from analytics.query import FilledAnswer, Parameters, QuerySpec, answered_by, extremes

MEASURES = ("occupied_avg", "occupied_share", "occupied_min", "occupied_max", "samples", "coverage")
MEASURED = tuple(name for name in MEASURES if name != "occupied_share")  # that is made of the camera's capacity


def averages_by(width: str, *labels: str) -> QuerySpec:
    """The rows of the functions of the database that take cameras or groups, a range and a zone, and have a row per
    bucket.
    """
    columns = ("bucket", *labels, *MEASURED)
    query = f"""
        SELECT a.camera_id, {", ".join(f"a.{column}" for column in columns)}
        FROM public.occupancy_{width}(
            $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone
        ) AS a
        WHERE a.coverage > 0 OR $fill::boolean
    """  # noqa: S608 - names of our own
    return QuerySpec(
        query, ("camera", "camera_id", "bucket", *labels, *MEASURES), ("camera", "bucket"),
        group_query=of_groups(width, "bucket", *labels),
    )  # fmt: skip


def of_groups(function: str, *labels: str) -> str:
    """The same rows of groups; sums are whole numbers of the same type as counts."""
    listed = ", ".join(f"a.{label}" for label in labels)
    return f"""
        SELECT a.group_id AS camera_id, {listed}, a.occupied_avg, a.occupied_min::integer AS occupied_min,
               a.occupied_max::integer AS occupied_max, a.samples, a.coverage, a.extremes_exact
        FROM public.group_{function}(
            $camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone,
            exact_rows => $exact_rows::bigint
        ) AS a
        WHERE (a.coverage > 0 OR $fill::boolean)
    """  # noqa: S608 - names of our own


@answered_by(averages_by("quarters"), FilledAnswer[pa.Table, pd.DataFrame])
def quarter_hourly_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and quarter of an hour, aligned in UTC.

    Returns:
        A row per camera or group and quarter of an hour, by camera and time, indexed by `bucket`. One without an event
        has the count that stood.
    """
    return {"fill": fill} | extremes(exact_extremes)


@answered_by(averages_by("hours"), FilledAnswer[pa.Table, pd.DataFrame])
def hourly_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local hour, in each camera's own time zone or in `timezone`.

    Returns:
        A row per camera or group and hour, by camera and time, indexed by `bucket`. An hour without an event has the
        count that stood.
    """
    return {"fill": fill} | extremes(exact_extremes)


@answered_by(averages_by("days", "local_date"), FilledAnswer[pa.Table, pd.DataFrame])
def daily_averages(*, fill: bool = False, exact_extremes: bool = False) -> Parameters:
    """Average occupancy per camera or group and local day, of 23 to 25 hours.

    Returns:
        A row per camera or group and day, by camera and time, indexed by `bucket`, the midnight at which the day
        begins. A day without an event has the count that stood.
    """
    return {"fill": fill} | extremes(exact_extremes)
