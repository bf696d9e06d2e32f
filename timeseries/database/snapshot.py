"""A transaction that sees the rows of one moment, for as long as it takes to read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from timeseries.database.connections import Connection

SET_LIMITS = """
    SET LOCAL timezone = 'UTC';
    SET LOCAL lock_timeout = '5s';
    SET LOCAL statement_timeout = '1h';
    SET LOCAL idle_in_transaction_session_timeout = '1h'
"""


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """A transaction that sees the rows of one moment, whatever commits meanwhile."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            connection.execute(SET_LIMITS)
            yield
    finally:
        connection.isolation_level = None
