"""The schema's version: Alembic's migrations, run from the installed package or a checkout."""

from __future__ import annotations

from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import pool

from timeseries.connections import conninfo, create_engine
from timeseries.errors import NotMigratedError, ServerUnavailableError
from timeseries.server import inspect_server


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
    """Bring the schema up to `revision`, or down to it where it is an older one ("base": no schema)."""
    config = alembic_config()
    try:
        with psycopg.connect(conninfo(url)) as probe:
            inspect_server(probe)
    except psycopg.OperationalError as error:
        raise ServerUnavailableError(f"the database server cannot be reached: {error}") from error
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        script = ScriptDirectory.from_config(config)
        known = [step.revision for step in script.walk_revisions()]  # newest first
        found = MigrationContext.configure(connection).get_current_revision()
        connection.rollback()  # Alembic begins its own transactions
        downwards = revision == "base" or (found in known and revision in known[known.index(found) + 1 :])
        (command.downgrade if downwards else command.upgrade)(config, revision)


def current(url: str) -> str | None:
    """The revision of the database, None where there is no schema."""
    try:
        with psycopg.connect(conninfo(url)) as connection:
            row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    except psycopg.OperationalError as error:
        raise ServerUnavailableError(f"the database server cannot be reached: {error}") from error
    return row[0] if row else None


def require_current(url: str) -> None:
    """Raises NotMigratedError where the database has another version of the schema than this package."""
    found, wanted = current(url), head()
    if found != wanted:
        raise NotMigratedError(
            f"the database {'has no schema' if found is None else f'is at revision {found}'}, this package needs"
            f" revision {wanted}; run: timeseries migrate"
        )
