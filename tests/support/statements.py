"""What a server works on."""

from __future__ import annotations

import psycopg

SELECT_RUNNING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active' AND query LIKE %s
"""
SELECT_WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def running(url: str, part: str) -> list[int]:
    """The sessions of this database whose statement under way has this text."""
    with psycopg.connect(url) as connection:
        return [pid for (pid,) in connection.execute(SELECT_RUNNING, [f"%{part}%"])]


def waiting(url: str) -> list[int]:
    """The sessions of this database that wait for a lock."""
    with psycopg.connect(url) as connection:
        return [pid for (pid,) in connection.execute(SELECT_WAITING)]
