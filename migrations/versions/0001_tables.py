"""The tables, and hypertables where the server has TimescaleDB."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = Path(__file__).parent / "sql"

# The extension is created where it is installed and preloaded; its licence decides between the two kinds. Whether it is
# preloaded shows in its settings: shared_preload_libraries itself is for superusers to read.
PRELOADED = """
    SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.max_background_workers')
"""
HYPERTABLES = """
    SELECT EXISTS (
        SELECT FROM timescaledb_information.hypertables
        WHERE hypertable_schema = 'public' AND hypertable_name = 'occupancy_events')
"""
log = logging.getLogger("timeseries.migrations")


def execute(sql: str) -> Any:
    return op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def upgrade() -> None:
    preloaded = execute(PRELOADED).scalar()
    if preloaded:
        execute("CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public")
    execute((SQL / "tables.sql").read_text())
    if preloaded:
        execute((SQL / "hypertables.sql").read_text())


def move_up() -> None:
    """On a server that has been given TimescaleDB since: plain tables become hypertables, with all rows."""
    if not execute(PRELOADED).scalar():
        return
    execute("CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public")
    if not execute(HYPERTABLES).scalar():
        log.info("occupancy_events and health_logs become hypertables")
        execute((SQL / "hypertables.sql").read_text())


def downgrade() -> None:
    execute("""
        DROP TABLE public.health_logs;
        DROP TABLE public.occupancy_events;
        DROP TABLE public.cameras;
        DROP TYPE public.health_status;
        DROP TYPE public.desired_state;
        DROP SCHEMA timeseries CASCADE;
    """)
