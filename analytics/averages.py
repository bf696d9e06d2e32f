"""Time-weighted averages by quarter of an hour, hour and day. The functions of the database do the work."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from analytics.query import FilledAnswer, Parameters, QuerySpec, answered_by

MEASURES = ("occupied_avg", "occupied_share", "occupied_min", "occupied_max", "samples", "coverage")
MEASURED = tuple(name for name in MEASURES if name != "occupied_share")  # that is made of the camera's capacity


def averages_by(function: str, *labels: str) -> QuerySpec:
    """The rows of a function of the database that takes cameras, a range and a zone, and has a row per bucket."""
    columns = ("camera_id", "bucket", *labels, *MEASURED)
    query = f"""
        SELECT {", ".join(f"a.{column}" for column in columns)}
        FROM public.{function}($camera_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone) AS a
        WHERE a.coverage > 0 OR $fill::boolean
    """  # noqa: S608 - names of our own
    return QuerySpec(query, ("camera", "camera_id", "bucket", *labels, *MEASURES), ("camera", "bucket"))


@answered_by(averages_by("occupancy_quarters"), FilledAnswer[pa.Table, pd.DataFrame])
def quarter_hourly_averages(*, fill: bool = False) -> Parameters:
    """Average occupancy per camera and quarter of an hour, aligned in UTC.

    Returns:
        A row per camera and quarter of an hour, by camera and time, indexed by `bucket`. One without an event has the
        count that stood.
    """
    return {"fill": fill}


@answered_by(averages_by("occupancy_hours"), FilledAnswer[pa.Table, pd.DataFrame])
def hourly_averages(*, fill: bool = False) -> Parameters:
    """Average occupancy per camera and local hour, in each camera's own time zone or in `timezone`.

    Returns:
        A row per camera and hour, by camera and time, indexed by `bucket`. An hour without an event has the count that
        stood.
    """
    return {"fill": fill}


@answered_by(averages_by("occupancy_days", "local_date"), FilledAnswer[pa.Table, pd.DataFrame])
def daily_averages(*, fill: bool = False) -> Parameters:
    """Average occupancy per camera and local day, of 23 to 25 hours.

    Returns:
        A row per camera and day, by camera and time, indexed by `bucket`, the midnight at which the day begins. A day
        without an event has the count that stood.
    """
    return {"fill": fill}
