"""The six aggregates, by kind of server: continuous aggregates with policies, or views; then the answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQL = Path(__file__).parent / "sql"
COMMUNITY = "SELECT current_setting('timescaledb.license', true) = 'timescale'"
EVENTS = {"occupancy": "occupancy_events", "health": "health_logs"}
# Kept for good, and asked for by years: the planner opens every chunk of the range that is asked for.
CHUNKS = {"quarter_hourly": "30 days", "hourly": "120 days", "weekday": "720 days"}
SUMMARY = {
    "occupancy_quarter_hourly":
        'timeseries.summarize_occupancy("timestamp", occupied_count ORDER BY "timestamp")',
    "health_quarter_hourly":
        'timeseries.summarize_health("timestamp", status ORDER BY "timestamp")',
    "occupancy":
        "timeseries.merge_occupancy(q.first_at, q.first_count, q.last_at, q.last_count,"
        " q.car_seconds, q.known_seconds, c.hold ORDER BY q.bucket)",
    "health":
        "timeseries.merge_health(q.first_at, q.first_status, q.last_at, q.last_status,"
        " q.healthy_seconds, q.degraded_seconds, q.disconnected_seconds, c.hold ORDER BY q.bucket)",
}  # fmt: skip

# What the local buckets of the two families differ in.
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

# A watermark that has never moved lets the first scheduled refresh jump over history that was imported before it.
# One event at the end of a past day, refreshed and taken away again, puts all of them at one midnight in UTC.
SEED_AT = "(date_trunc('day', now(), 'UTC') - interval '10 minutes')"
SEED = f"""
    INSERT INTO public.cameras (name) VALUES ('timeseries: watermark');
    INSERT INTO public.occupancy_events (camera_id, "timestamp", occupied_count)
        SELECT id, {SEED_AT}, 0 FROM public.cameras WHERE name = 'timeseries: watermark';
    INSERT INTO public.health_logs (camera_id, "timestamp", status)
        SELECT id, {SEED_AT}, 'healthy' FROM public.cameras WHERE name = 'timeseries: watermark';
"""
UNSEED = """
    DELETE FROM public.occupancy_events USING public.cameras AS c
        WHERE camera_id = c.id AND c.name = 'timeseries: watermark';
    DELETE FROM public.health_logs USING public.cameras AS c
        WHERE camera_id = c.id AND c.name = 'timeseries: watermark';
    DELETE FROM public.cameras WHERE name = 'timeseries: watermark';
"""


class Family(Template):
    """A template whose placeholders begin with @: the dollar is PostgreSQL's."""

    delimiter = "@"


def execute(sql: str) -> None:
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def community() -> bool:
    return bool(op.get_bind().exec_driver_sql(COMMUNITY, execution_options={"no_parameters": True}).scalar())


def aggregates(*, continuous: bool) -> Iterator[tuple[str, str]]:
    """Name and query of each relation, lowest level first."""

    def bucket(width: str, column: str) -> str:
        if continuous:
            return f"public.time_bucket(interval '{width}', {column})"
        return f"date_bin(interval '{width}', {column}, timestamptz 'epoch')"

    text = (SQL / "aggregates.sql").read_text()
    for name, query in re.findall(r"^-- block: (\w+)\n(.*?)(?=^-- block: |\Z)", text, re.MULTILINE | re.DOTALL):
        yield (
            name,
            Template(query.strip()).substitute(
                summary=SUMMARY.get(name) or SUMMARY[name.split("_")[0]],
                quarter=bucket("15 minutes", '"timestamp"'),
                hour=bucket("1 hour", "q.bucket"),
                day=bucket("1 day", "q.bucket"),
                midnight="timeseries.midnight((q.bucket AT TIME ZONE c.timezone)::date + 1, max(c.timezone))",
            ),
        )


def create_continuous_aggregates() -> None:
    for name, query in aggregates(continuous=True):
        chunk = CHUNKS[name.split("_", 1)[1]]
        execute(f"""
            CREATE MATERIALIZED VIEW public.{name}
            WITH (timescaledb.continuous, timescaledb.materialized_only = false,
                  timescaledb.chunk_interval = '{chunk}') AS
            {query}
            WITH NO DATA
        """)


def create_views() -> None:
    """A quarter whose raw rows were pruned is in a table, any other is computed: never both."""
    for name, query in aggregates(continuous=False):
        family = name.split("_")[0]
        if not name.endswith("_quarter_hourly"):
            execute(f"CREATE VIEW public.{name} AS {query}")
            continue
        events = EVENTS[family]
        execute(f"""
            CREATE INDEX ix_{events}_quarter ON public.{events}
                (camera_id, date_bin(interval '15 minutes', "timestamp", timestamptz 'epoch'));
            CREATE VIEW timeseries.{family}_live AS {query};
            CREATE TABLE timeseries.{family}_kept (LIKE timeseries.{family}_live);
            ALTER TABLE timeseries.{family}_kept ADD CONSTRAINT pk_{family}_kept PRIMARY KEY (camera_id, bucket);
            CREATE VIEW public.{name} AS
                SELECT * FROM timeseries.{family}_kept UNION ALL SELECT * FROM timeseries.{family}_live;
        """)


def refresh(names: list[str]) -> None:
    for name in names:
        execute(f"CALL public.refresh_continuous_aggregate('public.{name}', NULL, date_trunc('day', now(), 'UTC'))")


def upgrade() -> None:
    continuous = community()
    execute((SQL / "summaries.sql").read_text())
    if not continuous:
        create_views()
    else:
        create_continuous_aggregates()
        execute(SEED)
        with op.get_context().autocommit_block():
            refresh([name for name, _ in aggregates(continuous=True)])
        execute(UNSEED)
        with op.get_context().autocommit_block():
            refresh([name for name, _ in aggregates(continuous=True)])
        execute((SQL / "policies.sql").read_text())
    execute((SQL / ("late_continuous.sql" if continuous else "late_views.sql")).read_text())
    execute((SQL / "local_time.sql").read_text())
    execute((SQL / ("stored_continuous.sql" if continuous else "stored_views.sql")).read_text())
    for family in FAMILIES:
        execute(Family((SQL / "buckets.sql").read_text()).substitute(family))
    execute((SQL / "answers.sql").read_text())
    execute((SQL / "states.sql").read_text())
    execute((SQL / "guards.sql").read_text())


def downgrade() -> None:
    continuous = community()
    execute("""
        DROP TRIGGER guard_history ON public.cameras;
        DROP TRIGGER IF EXISTS rebuild_camera ON public.cameras;
        DROP FUNCTION timeseries.guard_history, timeseries.sealed, timeseries.materialize;
        DROP FUNCTION IF EXISTS timeseries.rebuild_camera, timeseries.prune_day, timeseries.prune_lock;
        DROP FUNCTION public.occupancy_hours, public.occupancy_weekdays, public.health_hours, public.health_weekdays,
            public.occupancy_quarters, public.occupancy_days, public.occupancy_profile, public.occupancy_peaks,
            public.health_uptime, public.health_states, public.health_outages, public.latest;
        DROP FUNCTION timeseries.occupancy_buckets, timeseries.health_buckets, timeseries.watermarks,
            timeseries.local_buckets, timeseries.local_hours, timeseries.local_days, timeseries.next_midnight;
        DROP TYPE timeseries.local_bucket, timeseries.camera_scope;
        DROP VIEW timeseries.occupancy_stored_quarters, timeseries.occupancy_stored_hours,
            timeseries.occupancy_stored_days, timeseries.health_stored_quarters, timeseries.health_stored_hours,
            timeseries.health_stored_days;
    """)
    for name in reversed([name for name, _ in aggregates(continuous=continuous)]):
        execute(f"DROP {'MATERIALIZED VIEW' if continuous else 'VIEW'} public.{name}")
    if continuous:
        for events in EVENTS.values():
            execute(f"SELECT public.remove_retention_policy('public.{events}')")
            execute(f"CALL public.remove_columnstore_policy('public.{events}')")
    else:
        for family, events in EVENTS.items():
            execute(f"""
                DROP TABLE timeseries.{family}_kept;
                DROP VIEW timeseries.{family}_live;
                DROP INDEX public.ix_{events}_quarter;
            """)
    execute("""
        DROP FUNCTION timeseries.midnight;
        DROP AGGREGATE timeseries.summarize_occupancy(timestamptz, integer);
        DROP AGGREGATE timeseries.summarize_health(timestamptz, public.health_status);
        DROP AGGREGATE timeseries.merge_occupancy(
            timestamptz, integer, timestamptz, integer, double precision, double precision, interval);
        DROP AGGREGATE timeseries.merge_health(
            timestamptz, public.health_status, timestamptz, public.health_status,
            double precision, double precision, double precision, interval);
        DROP FUNCTION timeseries.add_occupancy, timeseries.join_occupancy,
            timeseries.add_health, timeseries.join_health;
        DROP TYPE timeseries.occupancy_summary, timeseries.health_summary;
    """)
