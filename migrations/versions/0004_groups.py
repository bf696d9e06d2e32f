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
EXACT_ROWS = "20000"  # raw rows that an answer reads unasked, for exact extremes of a group


def upgrade() -> None:
    sql.run(f"{HERE}/tables.sql")
    sql.run(f"{HERE}/group_buckets.sql")
    for width in ("quarter", "hour", "day"):
        parts = sql.parts(f"{HERE}/answers.sql", "buckets", width)
        sql.execute(sql.fill("@statements", width=width, exact_rows=EXACT_ROWS, **parts))
    parts = sql.parts(f"{HERE}/answers.sql", "others")
    sql.execute(sql.fill("@statements", exact_rows=EXACT_ROWS, **parts))


def downgrade() -> None:
    sql.run(f"{HERE}/down.sql")
