"""The six aggregates, by kind of server: continuous aggregates with policies, or views."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Template
from typing import Any

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

# A watermark that has never moved lets the first scheduled refresh jump over history that was imported before it.
# One event at the end of a past day, refreshed and taken away again, puts all of them at one midnight in UTC. Its
# summaries go first: a quarter without raw rows would stay.
MIDNIGHT = "date_trunc('day', now(), 'UTC')"
SEED_AT = f"({MIDNIGHT} - interval '10 minutes')"
SEED = f"""
    INSERT INTO public.cameras (name) VALUES ('timeseries: watermark') ON CONFLICT DO NOTHING;
    INSERT INTO public.occupancy_events (camera_id, "timestamp", occupied_count)
        SELECT id, {SEED_AT}, 0 FROM public.cameras WHERE name = 'timeseries: watermark' ON CONFLICT DO NOTHING;
    INSERT INTO public.health_logs (camera_id, "timestamp", status)
        SELECT id, {SEED_AT}, 'healthy' FROM public.cameras WHERE name = 'timeseries: watermark' ON CONFLICT DO NOTHING;
"""
UNSEED = """
    DELETE FROM public.occupancy_events USING public.cameras AS c
        WHERE camera_id = c.id AND c.name = 'timeseries: watermark';
    DELETE FROM public.health_logs USING public.cameras AS c
        WHERE camera_id = c.id AND c.name = 'timeseries: watermark';
    DELETE FROM public.cameras WHERE name = 'timeseries: watermark';
"""
MATERIALIZATIONS = """
    SELECT a.user_view_name, format('%I.%I', h.schema_name, h.table_name),
           format('%I.%I', a.partial_view_schema, a.partial_view_name)
    FROM _timescaledb_catalog.continuous_agg AS a
    JOIN _timescaledb_catalog.hypertable AS h ON h.id = a.mat_hypertable_id
    WHERE a.user_view_schema = 'public'
"""
log = logging.getLogger("timeseries.migrations")


def execute(sql: str) -> Any:
    return op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def community() -> bool:
    return bool(execute(COMMUNITY).scalar())


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
            CREATE INDEX ix_{events}_time ON public.{events}
                USING brin ("timestamp", date_bin(interval '15 minutes', "timestamp", timestamptz 'epoch'));
            CREATE VIEW timeseries.{family}_live AS {query};
            CREATE TABLE timeseries.{family}_kept (LIKE timeseries.{family}_live);
            ALTER TABLE timeseries.{family}_kept ADD CONSTRAINT pk_{family}_kept PRIMARY KEY (camera_id, bucket);
            CREATE VIEW public.{name} AS
                SELECT * FROM timeseries.{family}_kept UNION ALL SELECT * FROM timeseries.{family}_live;
        """)


def materializations() -> dict[str, tuple[str, str]]:
    """Of each continuous aggregate the hypertable that keeps it and the view that computes it."""
    return {name: (relation, definition) for name, relation, definition in execute(MATERIALIZATIONS).fetchall()}


def refresh(names: Iterable[str], start: str) -> None:
    """Move the watermarks to midnight. A refresh cannot be in a transaction with anything else."""
    with op.get_context().autocommit_block():
        for name in names:
            execute(f"CALL public.refresh_continuous_aggregate('public.{name}', {start}, {MIDNIGHT})")


def unseed() -> None:
    for relation, _ in materializations().values():
        execute(f"""
            DELETE FROM {relation} AS m USING public.cameras AS c
            WHERE m.camera_id = c.id AND c.name = 'timeseries: watermark'
        """)
    execute(UNSEED)


def upgrade() -> None:
    continuous = community()
    execute((SQL / "summaries.sql").read_text())
    if not continuous:
        create_views()
    else:
        create_continuous_aggregates()
        execute(SEED)
        refresh(materializations(), "NULL")
        unseed()
        execute((SQL / "sealed_quarters.sql").read_text())
        execute((SQL / "policies.sql").read_text())
    execute((SQL / ("late_continuous.sql" if continuous else "late_views.sql")).read_text())
    execute((SQL / "guards.sql").read_text())
    execute((SQL / "retention.sql").read_text())
    execute((SQL / "store.sql").read_text())


def move_up() -> None:
    """On a server that has become Community since: views become continuous aggregates, with all that was kept.

    Each step is done wholly or not at all, and the tables of kept quarters go last: while they are there, an
    interrupted run is taken up again. Whoever stores late events is told to try again meanwhile.
    """
    if not community() or execute("SELECT to_regclass('timeseries.occupancy_kept')").scalar() is None:
        return
    execute((SQL / "refuse_late.sql").read_text())
    rights = execute((SQL / "rights.sql").read_text()).fetchall()
    if not materializations():
        replace_views()
        give(rights)
    execute(SEED)
    refilled = [name for name in materializations() if not name.endswith("_quarter_hourly")]
    since = {
        family: execute(
            f"SELECT least(date_trunc('day', max(bucket), 'UTC'), {MIDNIGHT} - interval '24 hours')"
            f" FROM {materializations()[f'{family}_quarter_hourly'][0]}"
        ).scalar()
        for family in EVENTS
    }
    for family, start in since.items():
        refresh([f"{family}_quarter_hourly"], f"'{start}'" if start else "NULL")
    for name in refilled:
        fill(name)
    refresh(refilled, f"{MIDNIGHT} - interval '24 hours'")
    unseed()
    execute("""
        DROP FUNCTION timeseries.sealed, timeseries.materialize, timeseries.prune_day;
        DROP VIEW IF EXISTS timeseries.occupancy_stored_quarters, timeseries.occupancy_stored_hours,
            timeseries.occupancy_stored_days, timeseries.health_stored_quarters, timeseries.health_stored_hours,
            timeseries.health_stored_days;
        DROP VIEW timeseries.occupancy_live, timeseries.health_live;
        DROP TABLE timeseries.occupancy_kept, timeseries.health_kept;
        DROP INDEX public.ix_occupancy_events_quarter; DROP INDEX public.ix_occupancy_events_time;
        DROP INDEX public.ix_health_logs_quarter; DROP INDEX public.ix_health_logs_time;
    """)
    execute((SQL / "late_continuous.sql").read_text())
    give(rights)
    execute((SQL / "policies.sql").read_text())


def give(rights: Iterable[tuple[str, bool, str]]) -> None:
    for name, is_routine, statements in rights:
        if execute(f"SELECT to_reg{'procedure' if is_routine else 'class'}('{name}')").scalar() is not None:
            execute(statements)


def replace_views() -> None:
    names = [name for name, _ in aggregates(continuous=True)]
    for name in sorted(names, key=lambda name: name.endswith("_quarter_hourly")):
        execute(f"DROP VIEW public.{name}")
    create_continuous_aggregates()
    execute((SQL / "sealed_quarters.sql").read_text())
    for family in EVENTS:
        relation, _ = materializations()[f"{family}_quarter_hourly"]
        log.info("%s_quarter_hourly: the quarters that were kept", family)
        execute(f"INSERT INTO {relation} SELECT * FROM timeseries.{family}_kept")
        fill(f"{family}_quarter_hourly", keep=True)


def fill(name: str, *, keep: bool = False) -> None:
    """Compute what lies before midnight, ten days at a time."""
    relation, definition = materializations()[name]
    if not keep:
        execute(f"DELETE FROM {relation} WHERE bucket < {MIDNIGHT}")
    source = name if name.endswith("_quarter_hourly") else f"{name.split('_')[0]}_quarter_hourly"
    column, table = ("timestamp", EVENTS[name.split("_")[0]]) if source == name else ("bucket", source)
    steps = execute(f"""
        SELECT step::text, least(step + interval '240 hours', {MIDNIGHT})::text
        FROM generate_series((SELECT date_trunc('day', min("{column}"), 'UTC') FROM public.{table}),
                             {MIDNIGHT} - interval '1 second', interval '240 hours') AS step
    """).fetchall()
    for start, end in steps:
        log.info("%s: from %s", name, start)
        execute(f"INSERT INTO {relation} SELECT * FROM {definition} WHERE bucket >= '{start}' AND bucket < '{end}'")


def downgrade() -> None:
    continuous = community()
    execute("""
        DROP FUNCTION public.store_tables, public.store_lag, public.store_jobs;
        DROP ROUTINE timeseries.retain_all, timeseries.retain;
        DROP TRIGGER guard_history ON public.cameras;
        DROP TRIGGER IF EXISTS rebuild_camera ON public.cameras;
        DROP FUNCTION timeseries.guard_history, timeseries.sealed, timeseries.materialize;
        DROP FUNCTION IF EXISTS timeseries.rebuild_camera, timeseries.prune_day;
    """)
    for name in reversed([name for name, _ in aggregates(continuous=continuous)]):
        execute(f"DROP {'MATERIALIZED VIEW' if continuous else 'VIEW'} public.{name}")
    if continuous:
        for events in EVENTS.values():
            execute(f"SELECT public.remove_retention_policy('public.{events}')")
            execute(f"CALL public.remove_columnstore_policy('public.{events}')")
        execute("DROP FUNCTION timeseries.keep_sealed_quarter")
    else:
        for family, events in EVENTS.items():
            execute(f"""
                DROP TABLE timeseries.{family}_kept;
                DROP VIEW timeseries.{family}_live;
                DROP INDEX public.ix_{events}_quarter;
                DROP INDEX public.ix_{events}_time;
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
