"""The answers: set-returning functions over local time that notebooks and dashboards share."""

from __future__ import annotations

from pathlib import Path

from alembic.util import load_python_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
removes = ()

sql = load_python_file(str(Path(__file__).parents[1]), "sql_files.py")
HERE = "versions/0003"
# The answers by bucket, and what a bucket of each begins with.
BY_BUCKET = {
    "occupancy_quarters": "times", "occupancy_hours": "times", "occupancy_days": "dates", "occupancy_weeks": "dates",
    "occupancy_months": "dates", "occupancy_years": "dates", "occupancy_averages": "times",
}  # fmt: skip


def of_family(name: str, family: str) -> str:
    """A file that says the same of both families."""
    parts = sql.parts(f"{HERE}/families.sql", family) | sql.blocks(f"{HERE}/pieces.sql")
    return str(sql.read(f"{HERE}/{name}.sql", family=family, **parts))


def upgrade() -> None:
    sql.run(f"{HERE}/{'continuous' if sql.built_for() == 'community' else 'views'}/stored.sql")
    sql.run(f"{HERE}/first_observations.sql")
    sql.run(f"{HERE}/local_time.sql")
    sql.run(f"{HERE}/calendar.sql")
    sql.run(f"{HERE}/left_out.sql")
    for family in ("occupancy", "health"):
        sql.execute(of_family("buckets", family))
    for name, kind in BY_BUCKET.items():
        parts = sql.parts(f"{HERE}/occupancy_by_bucket.sql", "function", kind, name)
        sql.execute(sql.fill("@statements", name=name, **parts))
    sql.run(f"{HERE}/answers.sql")
    sql.run(f"{HERE}/shares.sql")
    sql.run(f"{HERE}/unusual.sql")
    sql.run(f"{HERE}/levels.sql")
    sql.run(f"{HERE}/last_seen.sql")
    sql.run(f"{HERE}/states.sql")


def downgrade() -> None:
    sql.run(f"{HERE}/down.sql")
