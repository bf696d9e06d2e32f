"""The schema's version: Alembic's migrations, run from the installed package or a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, pool

from timeseries.connections import conninfo, create_engine, translated_errors
from timeseries.errors import NotMigratedError
from timeseries.jobs import bound_lock_waits
from timeseries.server import ServerKind, inspect_server

HYPERTABLES = """
    SELECT count(*) = 2 FROM timescaledb_information.hypertables
    WHERE hypertable_schema = 'public' AND hypertable_name IN ('occupancy_events', 'health_logs')
"""


def migrations_folder() -> Path:
    """Inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def head() -> str:
    """The revision that this version of the package works with."""
    return ScriptDirectory.from_config(alembic_config()).get_current_head() or ""


def migrate(url: str, revision: str = "head") -> None:
    """Bring the schema up to `revision`, or down to it where it is an older one ("base": no schema).

    With "head", a database whose server has been given TimescaleDB, or its Community licence, since is moved up: tables
    become hypertables and views continuous aggregates, with all rows and averages. Interrupted, it can be run again.

    Raises ConfigurationError where the server cannot work as it is set up, ServerUnavailableError where it is away.
    """
    config = alembic_config()
    with translated_errors(), psycopg.connect(conninfo(url)) as probe:
        inspect_server(probe)
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        script = ScriptDirectory.from_config(config)
        known = [step.revision for step in script.walk_revisions()]  # newest first
        found = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()  # Alembic begins its own transactions
        downwards = revision == "base" or (found in known and revision in known[known.index(found) + 1 :])
        (command.downgrade if downwards else command.upgrade)(config, revision)
        if revision == "head":
            _move_up(connection, script)
    if revision == "head":
        with translated_errors(), psycopg.connect(conninfo(url)) as operator:
            bound_lock_waits(operator)


def _move_up(connection: Connection, script: ScriptDirectory) -> None:
    """What the migrations would have made on the server as it is now, where it was a lesser one when they ran."""
    connection.commit()  # so that each step can have a transaction of its own
    context = MigrationContext.configure(connection)
    for step in reversed(list(script.walk_revisions())):
        move_up = getattr(step.module, "move_up", None)
        if move_up is not None:
            with Operations.context(context), context.begin_transaction():
                move_up()


def current(url: str) -> str | None:
    """The revision of the database, None where there is no schema."""
    with translated_errors():
        try:
            with psycopg.connect(conninfo(url)) as connection:
                row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            return None
    return row[0] if row else None


def require_current(url: str) -> None:
    """Raises NotMigratedError where the database has another version of the schema than this package, or was made on a
    lesser kind of server than it has now.
    """
    found, wanted = current(url), head()
    if found != wanted:
        raise NotMigratedError(
            f"the database {'has no schema' if found is None else f'is at revision {found}'}, this package needs"
            f" revision {wanted}; run: timeseries migrate"
        )
    with translated_errors(), psycopg.connect(conninfo(url)) as connection:
        server = inspect_server(connection)
        if not _is_built_for(connection, server.kind):
            raise NotMigratedError(
                f"the database was made on a lesser server than {server}; to move it up, run: timeseries migrate"
            )


def _is_built_for(connection: psycopg.Connection[Any], kind: ServerKind) -> bool:
    if kind is ServerKind.POSTGRESQL:
        return True
    hypertables = connection.execute(HYPERTABLES).fetchone() == (True,)
    kept = connection.execute("SELECT to_regclass('timeseries.occupancy_kept') IS NOT NULL").fetchone() == (True,)
    return hypertables and (kind is ServerKind.APACHE or not kept)
