"""Groups of cameras: who is a member when, and the answers about them."""

from __future__ import annotations

from pathlib import Path

from alembic.util import load_python_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
removes = ("camera_groups", "group_members")

sql = load_python_file(str(Path(__file__).parents[1]), "sql_files.py")
HERE = "versions/0004"
# The answers by bucket, and what a bucket of each begins with.
BY_BUCKET = {
    "group_quarters": "times", "group_hours": "times", "group_days": "dates", "group_weeks": "dates",
    "group_months": "dates", "group_years": "dates", "group_averages": "times",
}  # fmt: skip
EXACT_ROWS = "20000"  # raw rows that an answer reads unasked, for exact extremes of a group


def upgrade() -> None:
    sql.run(f"{HERE}/tables.sql")
    sql.run(f"{HERE}/group_buckets.sql")
    sql.run(f"{HERE}/shares.sql")
    sql.run(f"{HERE}/levels.sql")
    for name, kind in BY_BUCKET.items():
        parts = sql.parts(f"{HERE}/answers.sql", "buckets", kind, name)
        sql.execute(sql.fill("@statements", name=name, exact_rows=EXACT_ROWS, **parts))
    parts = sql.parts(f"{HERE}/answers.sql", "others")
    sql.execute(sql.fill("@statements", exact_rows=EXACT_ROWS, **parts))


def downgrade() -> None:
    sql.run(f"{HERE}/down.sql")
