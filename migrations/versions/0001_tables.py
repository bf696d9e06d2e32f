"""The tables, and hypertables where the server has TimescaleDB."""

from __future__ import annotations

from pathlib import Path

from alembic.util import load_python_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
removes = ("cameras", "occupancy_events", "health_logs")

sql = load_python_file(str(Path(__file__).parents[1]), "sql_files.py")


def upgrade() -> None:
    sql.run("versions/0001/extension.sql")
    kind = sql.run("versions/0001/server_kind.sql").scalar()
    sql.run("versions/0001/tables.sql")
    sql.run("versions/0001/camera_versions.sql")
    sql.run("versions/0001/capacities.sql")
    sql.run("versions/0001/periods.sql")
    sql.run("versions/0001/built_for.sql", kind=kind)
    if kind != "postgresql":
        sql.run("versions/0001/hypertables.sql")


def downgrade() -> None:
    sql.run("versions/0001/down.sql")
