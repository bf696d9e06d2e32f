"""The six aggregates, by kind of server: continuous aggregates with policies, or views."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from alembic import op
from alembic.util import load_python_file

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
removes = ("occupancy_quarter_hourly", "health_quarter_hourly")

sql = load_python_file(str(Path(__file__).parents[1]), "sql_files.py")
HERE = "versions/0002"
FAMILIES = ("occupancy", "health")
CHUNKS = {"quarter_hourly": "30 days", "hourly": "120 days", "weekday": "720 days"}
LATE = {"quarter": "quarter_hourly", "hour": "hourly", "day": "weekday"}
MIDNIGHT = "date_trunc('day', now(), 'UTC')"


def aggregates(kind: str) -> dict[str, str]:
    """Name and query of each relation, lowest level first; `kind` is continuous or views."""
    found = {}
    for family in FAMILIES:
        for level in CHUNKS:
            parts = sql.parts(f"{HERE}/aggregates.sql", "coarse", family, level, kind)
            found[f"{family}_{level}"] = sql.fill("@query", family=family, **parts)
    return found


def create_continuous_aggregates() -> None:
    for name, query in aggregates("continuous").items():
        chunk = CHUNKS[name.partition("_")[2]]
        sql.run(f"{HERE}/continuous/aggregate.sql", name=name, chunk=chunk, query=query)


def create_late_functions() -> None:
    """What materializes late events, by names and queries of the aggregates that are there."""
    sql.run(f"{HERE}/continuous/late_events.sql")
    found = sql.execute("SELECT name, relation::text FROM timeseries.materializations WHERE family IS NOT NULL")
    relations = dict(found.fetchall())
    for family in FAMILIES:
        names = {f"{name}s": relations[f"{family}_{level}"] for name, level in LATE.items()}
        queries = {}
        for name, level in LATE.items():
            late = "late_quarter" if name == "quarter" else "late_coarse"
            parts = sql.parts(f"{HERE}/aggregates.sql", "coarse", family, level, "continuous", late)
            queries[f"{name}_query"] = sql.fill("@query", family=family, **parts, **names)
        events = sql.blocks(f"{HERE}/aggregates.sql")[f"{family}.events"]
        sql.run(f"{HERE}/continuous/late_quarter.sql", family=family, events=events, **names, **queries)


def create_views() -> None:
    for name, query in aggregates("views").items():
        family, _, level = name.partition("_")
        if level == "quarter_hourly":
            events = sql.blocks(f"{HERE}/aggregates.sql")[f"{family}.events"]
            sql.run(f"{HERE}/views/quarters.sql", family=family, events=events, query=query)
        else:
            sql.execute(f"CREATE VIEW public.{name} AS {query}")


def refresh(names: Iterable[str], start: str) -> None:
    """Move the watermarks to midnight UTC. A refresh has transactions of its own."""
    with op.get_context().autocommit_block():
        for name in names:
            sql.execute(f"CALL public.refresh_continuous_aggregate('public.{name}', {start}, {MIDNIGHT})")


def upgrade() -> None:
    continuous = sql.built_for() == "community"
    kind = "continuous" if continuous else "views"
    sql.run(f"{HERE}/{kind}/catalog.sql")
    sql.run(f"{HERE}/materializations.sql")
    sql.run(f"{HERE}/archive.sql")
    sql.run(f"{HERE}/summaries.sql")
    if continuous:
        create_continuous_aggregates()
        sql.run(f"{HERE}/continuous/seed.sql")
        refresh(aggregates("continuous"), "NULL")
        sql.run(f"{HERE}/continuous/unseed.sql")
        sql.run(f"{HERE}/continuous/final_quarters.sql")
        sql.run(f"{HERE}/continuous/policies.sql")
        create_late_functions()
        sql.run(f"{HERE}/continuous/import_quarters.sql")
    else:
        create_views()
        sql.run(f"{HERE}/views/late_events.sql")
        sql.run(f"{HERE}/views/import_quarters.sql")
    for name in ("chunks", "camera_history_guard", "retention", "backups", "monitoring"):
        sql.run(f"{HERE}/{name}.sql")


def downgrade() -> None:
    sql.run(f"{HERE}/{'continuous' if sql.built_for() == 'community' else 'views'}/down.sql")
    sql.run(f"{HERE}/down.sql")
