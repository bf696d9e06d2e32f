"""Guards of a migration: its lock, the refusal to remove rows unasked, and errors that say what to do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy.exc import DBAPIError

from timeseries.database.connections import LIFT_LIMITS, NO_LIMIT, Connection, connect, libpq_options
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
from timeseries.database.rows import value
from timeseries.errors import (
    ConfigurationError,
    InvalidInputError,
    NotAllowedError,
    ServerUnavailableError,
    TimeseriesError,
)

log = logging.getLogger("timeseries.migrations")
IN_THIS_PROCESS = threading.Lock()  # Alembic's context and operations are global
RETRY_SECONDS = 0.2
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(hashtextextended('timeseries migrate', 0))"


@contextmanager
def migration_lock(url: str) -> Iterator[None]:
    """Hold the advisory lock of this database's migrations; a second one, in this process or another, waits.

    The lock is scoped to a transaction, on a connection of its own, because migrations commit, and because a session
    lock would leak to another client behind PgBouncer in transaction mode. A waiting migration polls and does not
    block, because a blocked statement holds a snapshot.
    """
    with IN_THIS_PROCESS, connect(url, deadline=NO_LIMIT) as connection:
        connection.execute(LIFT_LIMITS)
        waited = False
        while not value(connection, TRY_LOCK):
            if not waited:
                log.info("another migration of this database is at work; waiting for its end")
            waited = True
            time.sleep(RETRY_SECONDS)
        yield


def require_nothing_lost(connection: Connection, removed: Iterable[str], revision: str) -> None:
    """Raises InvalidInputError where the way down to a revision would remove rows of these relations."""
    counts = {relation: _count(connection, relation) for relation in dict.fromkeys(removed)}
    lost = [f"{number:,} rows of {relation}" for relation, number in counts.items() if number]
    if lost:
        raise InvalidInputError(
            f"the way down to {revision} would remove {', '.join(lost)}: averages that retention left, too;"
            " make a backup first (timeseries backup FILE), then say --yes, in Python discard_data=True"
        )


def _count(connection: Connection, relation: str) -> int:
    if value(connection, "SELECT to_regclass(%s)", [f"public.{relation}"]) is None:
        return 0
    counted = value(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", relation)))
    return int(counted)


@contextmanager
def translated_migration_errors(url: str) -> Iterator[None]:
    """Translate the errors of a migration, whether psycopg raises them or SQLAlchemy wraps them."""
    try:
        yield
    except DBAPIError as error:
        if not isinstance(error.orig, psycopg.Error):
            raise
        raise explain_error(error.orig, url) from error
    except psycopg.Error as error:
        raise explain_error(error, url) from error


def explain_error(error: psycopg.Error, url: str) -> TimeseriesError:
    """Our error, with what an operator has to do before the migration can go on."""
    text, meant = said(error), meaning(error)
    if meant is NOT_ALLOWED:
        role = libpq_options(url).get("user", "ROLE")
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
