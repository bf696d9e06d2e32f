"""What surrounds a migration: one at a time, nothing thrown away unasked, and errors in our words."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.exc import DBAPIError

from timeseries.database.connections import conninfo, parse_url
from timeseries.database.failures import (
    BUSY,
    CANCELLED,
    EXTENSION_MISSING,
    NOT_ALLOWED,
    READ_ONLY,
    UNREACHABLE,
    meaning,
    said,
)
from timeseries.errors import (
    ConfigurationError,
    InvalidInputError,
    NotAllowedError,
    ServerUnavailableError,
    TimeseriesError,
)

log = logging.getLogger("timeseries.migrations")
IN_THIS_PROCESS = threading.Lock()  # Alembic's context and operations are global
PAUSE = 0.2
# The transaction that holds the lock lasts as long as the migration: whatever limits the role has are not for it.
UNLIMITED = """
    SELECT set_config(name, '0', true) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('timeseries migrate', 0))"


@contextmanager
def alone(url: str) -> Iterator[None]:
    """No other migration of this database goes on meanwhile, in this process or another; the second one waits.

    The lock belongs to a transaction on a connection of its own: migrations have transactions of their own, and behind
    PgBouncer a session's lock could be left to somebody else. Who waits asks again and again, and so holds no snapshot.
    """
    with IN_THIS_PROCESS, psycopg.connect(conninfo(url)) as connection:
        connection.execute(UNLIMITED)
        waited = False
        while connection.execute(LOCK).fetchone() != (True,):
            if not waited:
                log.info("another migration of this database is at work; waiting for its end")
            waited = True
            time.sleep(PAUSE)
        yield


def require_nothing_lost(connection: psycopg.Connection[Any], removed: Iterable[str], revision: str) -> None:
    """Raises InvalidInputError where the way down to a revision would remove rows of these relations."""
    counts = {relation: _count(connection, relation) for relation in dict.fromkeys(removed)}
    lost = [f"{number:,} rows of {relation}" for relation, number in counts.items() if number]
    if lost:
        raise InvalidInputError(
            f"the way down to {revision} would remove {', '.join(lost)}: averages that retention left, too;"
            " make a backup first (timeseries backup FILE), then say --yes, in Python discard_data=True"
        )


def _count(connection: psycopg.Connection[Any], relation: str) -> int:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"public.{relation}"]).fetchone()
    if row != (True,):
        return 0
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", relation))
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


@contextmanager
def explained_errors(url: str) -> Iterator[None]:
    """Raise our errors for what the server says to a migration, whichever library brings it."""
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error):
            raise
        raise explained(error.orig, url) from error
    except psycopg.Error as error:
        raise explained(error, url) from error


def explained(error: psycopg.Error, url: str) -> TimeseriesError:
    """The decision that an operator has to take."""
    text, meant = said(error), meaning(error)
    if meant is NOT_ALLOWED:
        role = parse_url(url).username or "ROLE"
        return NotAllowedError(
            f"the database role may not migrate: {text}; as the owner of the database or a superuser run:"
            f" timeseries grant --owner {role}; or migrate as the role that owns the tables"
        )
    if meant is READ_ONLY:
        return ConfigurationError(f"the server takes no writes ({text}); migrate on the primary")
    if meant in (BUSY, CANCELLED):
        return ServerUnavailableError(
            f"the migration could not go on: {text}; end the transactions that hold locks, see what the server lacks,"
            " and run it again: a step is done wholly or not at all"
        )
    if meant is not None and meant in (UNREACHABLE, EXTENSION_MISSING):
        return meant(text)
    return ConfigurationError(
        f"the server refused a step of the migration: {text} (SQLSTATE {error.sqlstate}); the database is not as the"
        " revision that it names left it, or holds something else: mend that and run it again"
    )
