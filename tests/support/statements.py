"""What a server works on."""

from __future__ import annotations

import psycopg

SELECT_RUNNING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND query LIKE %s
"""


def running(url: str, part: str) -> list[int]:
    """The sessions of this database whose statement under way has this text."""
    with psycopg.connect(url) as connection:
        return [pid for (pid,) in connection.execute(SELECT_RUNNING, [f"%{part}%"])]
