"""Which revision of the schema this package needs, and which one a database has: asked without Alembic."""

from __future__ import annotations

import logging
from pathlib import Path

import psycopg

from timeseries.database.connections import NO_LIMIT, Connection, connect, translated_errors
from timeseries.database.internals import find_wrong_internals
from timeseries.database.rows import value
from timeseries.database.server import ServerKind, inspect_server
from timeseries.errors import NotMigratedError

log = logging.getLogger(__name__)
# A schema that was built for one kind of server works on a lesser one too.
LESSER_FIRST = (ServerKind.POSTGRESQL, ServerKind.APACHE, ServerKind.COMMUNITY)


def migrations_folder() -> Path:
    """Inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def head() -> str:
    """The revision that this version of the package works with: that of the last migration, by its number."""
    *_, last = sorted(file.stem for file in (migrations_folder() / "versions").glob("[0-9]*.py"))
    return last.partition("_")[0]


def current(url: str) -> str | None:
    """The revision of the database, None where there is no schema."""
    with translated_errors(), connect(url, deadline=NO_LIMIT) as connection:
        return revision_of(connection)


def revision_of(connection: Connection) -> str | None:
    """The same of the database behind a connection."""
    try:
        with connection.transaction():
            found: str | None = value(connection, "SELECT version_num FROM public.alembic_version")
    except psycopg.errors.UndefinedTable:
        return None
    return found


def require_current(connection: Connection) -> None:
    """Raises NotMigratedError where the database has another version of the schema than this package, or was made on a
    lesser kind of server than it has now; ConfigurationError where the server's licence forbids what it holds. Logs a
    warning where TimescaleDB's internals are not as expected, because events can be stored nevertheless.
    """
    server = inspect_server(connection)
    found, wanted = revision_of(connection), head()
    if found != wanted:
        raise NotMigratedError(
            f"the database {'has no schema' if found is None else f'is at revision {found}'}, this package needs"
            f" revision {wanted}; run: timeseries migrate"
        )
    built_for = ServerKind(value(connection, "SELECT timeseries.built_for()"))
    if LESSER_FIRST.index(built_for) < LESSER_FIRST.index(server.kind):
        raise NotMigratedError(
            f"the database was made on a lesser server than {server}; to move it up, run: timeseries migrate"
        )
    if wrong := find_wrong_internals(connection, server):
        log.warning("%s", wrong)
