"""The answers: set-returning functions over local time that notebooks and dashboards share."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent / "sql"
COMMUNITY = "SELECT current_setting('timescaledb.license', true) = 'timescale'"
# In what the local buckets of the two families differ.
FAMILIES = (
    {
        "family": "occupancy",
        "events": "occupancy_events",
        "columns": "occupied_min, occupied_max, car_seconds, known_seconds",
        "of_event": "e.occupied_count, e.occupied_count, 0, 0",
        "unknown": "NULL::integer AS occupied_min, NULL::integer AS occupied_max,"
                   " NULL::double precision AS car_seconds, NULL::double precision AS known_seconds",
        "stored_state": "r.last_count",
        "event_state": "e.occupied_count",
        "results": "occupied_min integer, occupied_max integer, car_seconds double precision,"
                   " known_seconds double precision",
        "totals": "min(least(p.occupied_min, CASE WHEN p.stood > 0 THEN p.standing END)),"
                  " max(greatest(p.occupied_max, CASE WHEN p.stood > 0 THEN p.standing END)),"
                  " sum(coalesce(p.car_seconds, 0) + CASE WHEN p.stood > 0 THEN p.stood * p.standing ELSE 0 END),"
                  " sum(coalesce(p.known_seconds, 0) + p.stood)",
    },
    {
        "family": "health",
        "events": "health_logs",
        "columns": "healthy_seconds, degraded_seconds, disconnected_seconds",
        "of_event": "0, 0, 0",
        "unknown": "NULL::double precision AS healthy_seconds, NULL::double precision AS degraded_seconds,"
                   " NULL::double precision AS disconnected_seconds",
        "stored_state": "CASE r.last_status WHEN 'healthy' THEN 1 WHEN 'degraded' THEN 2 ELSE 3 END",
        "event_state": "CASE e.status WHEN 'healthy' THEN 1 WHEN 'degraded' THEN 2 ELSE 3 END",
        "results": "healthy_seconds double precision, degraded_seconds double precision,"
                   " disconnected_seconds double precision",
        "totals": "sum(coalesce(p.healthy_seconds, 0) + CASE p.standing WHEN 1 THEN p.stood ELSE 0 END),"
                  " sum(coalesce(p.degraded_seconds, 0) + CASE p.standing WHEN 2 THEN p.stood ELSE 0 END),"
                  " sum(coalesce(p.disconnected_seconds, 0) + CASE p.standing WHEN 3 THEN p.stood ELSE 0 END)",
    },
)  # fmt: skip


class Family(Template):
    """A template whose placeholders begin with @: the dollar is PostgreSQL's."""

    delimiter = "@"


def execute(sql: str) -> Any:
    return op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def community() -> bool:
    return bool(execute(COMMUNITY).scalar())


def create_stored() -> None:
    """What is materialized or kept, by kind of server."""
    execute((SQL / ("stored_continuous.sql" if community() else "stored_views.sql")).read_text())


def upgrade() -> None:
    create_stored()
    execute((SQL / "local_time.sql").read_text())
    for family in FAMILIES:
        execute(Family((SQL / "buckets.sql").read_text()).substitute(family))
    execute((SQL / "answers.sql").read_text())
    execute((SQL / "states.sql").read_text())
    execute((SQL / "last_seen.sql").read_text())


def move_up() -> None:
    """On a server that has become Community since: what is materialized now is read."""
    if community() and execute("SELECT to_regclass('timeseries.occupancy_stored_days')").scalar() is None:
        execute("DROP FUNCTION timeseries.watermarks")
        create_stored()


def downgrade() -> None:
    execute("""
        DROP FUNCTION public.occupancy_quarters, public.occupancy_hours, public.occupancy_days,
            public.occupancy_weekdays, public.occupancy_profile, public.occupancy_peaks, public.health_hours,
            public.health_weekdays, public.health_uptime, public.health_states, public.health_outages, public.latest;
        DROP FUNCTION timeseries.last_events, timeseries.chunk_spans;
        DROP FUNCTION timeseries.occupancy_buckets, timeseries.health_buckets, timeseries.watermarks,
            timeseries.local_buckets, timeseries.local_hours, timeseries.local_days, timeseries.next_midnight;
        DROP TYPE timeseries.local_bucket, timeseries.camera_scope;
        DROP VIEW timeseries.occupancy_stored_quarters, timeseries.occupancy_stored_hours,
            timeseries.occupancy_stored_days, timeseries.health_stored_quarters, timeseries.health_stored_hours,
            timeseries.health_stored_days;
    """)
