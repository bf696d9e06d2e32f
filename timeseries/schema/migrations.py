"""The schema's version: Alembic's migrations, run from the installed package or a checkout."""

from __future__ import annotations

from dataclasses import replace

from alembic import command
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import load_python_file
from sqlalchemy import Connection, pool

from timeseries.database import connections, releases
from timeseries.database.connections import NO_LIMIT, connect, create_engine
from timeseries.database.internals import find_wrong_internals
from timeseries.database.rows import value
from timeseries.database.server import ServerKind, inspect_server
from timeseries.errors import ConfigurationError, InvalidInputError
from timeseries.maintenance import pg_cron
from timeseries.maintenance.jobs import bound_lock_waits
from timeseries.schema.guard import migration_lock, require_nothing_lost, translated_migration_errors
from timeseries.schema.revisions import current, migrations_folder

# No edition is known until the extension is made, so the older of the two limits rules.
SELECT_TO_BE_MADE = """
    SELECT (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb')
    FROM pg_settings WHERE name = 'timescaledb.max_background_workers'
"""


def alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def migrate(url: str, revision: str = "head", *, discard_data: bool = False) -> str | None:
    """Bring the schema up to `revision`, or down to it where it is an older one ("base": no schema). Returns the
    revision that the database has afterwards, None for no schema.

    With "head", a database whose server has been given TimescaleDB, or its Community licence, since is promoted: tables
    become hypertables and views continuous aggregates, with all rows and averages. Interrupted, it can be run again.
    Of two at once, in threads or processes, the second waits.

    Raises:
        InvalidInputError: no such revision, or the way down to it would remove rows and `discard_data` is not given.
        ConfigurationError: the server cannot work as it is set up, or the database is not what its revision says.
        NotAllowedError: the database role may not make, change or remove tables here.
        ServerUnavailableError: the server is away, or somebody holds a lock.
    """
    config = alembic_config()
    script = ScriptDirectory.from_config(config)
    known = [step.revision for step in script.walk_revisions()]  # newest first
    if revision not in ("head", "base", *known):
        raise InvalidInputError(
            f"there is no revision {revision!r}; there are head, {', '.join(known)} and base (no schema)"
        )
    with translated_migration_errors(url):
        with connect(url, deadline=NO_LIMIT) as probe:
            _require_new_enough(probe)
        with migration_lock(url):
            found = current(url)
            if found == known[0]:
                _require_known_internals(url)
            undone = _revisions_to_undo(found, revision, known)
            if undone and not discard_data:
                with connect(url, deadline=NO_LIMIT) as connection:
                    require_nothing_lost(connection, removed_by(script, undone), revision)
            _run(url, config, revision, downwards=revision == "base" or bool(undone))
            if revision == "head":
                with connect(url, deadline=NO_LIMIT) as operator:
                    bound_lock_waits(operator)
            pg_cron.settle(url)
    return current(url)


def _require_new_enough(connection: connections.Connection) -> None:
    """Raises ConfigurationError where PostgreSQL, or the extension that is or would be made, is older than the tests
    have seen.
    """
    server = inspect_server(connection)
    if server.timescaledb is None:
        server = replace(server, timescaledb=value(connection, SELECT_TO_BE_MADE), kind=ServerKind.APACHE)
    if refused := releases.why_refused(server):
        raise ConfigurationError(refused)


def _require_known_internals(url: str) -> None:
    """Raises ConfigurationError where TimescaleDB's private catalog is not what the schema knows."""
    with connect(url, deadline=NO_LIMIT) as connection:
        if wrong := find_wrong_internals(connection, inspect_server(connection)):
            raise ConfigurationError(wrong)


def _revisions_to_undo(found: str | None, wanted: str, known: list[str]) -> list[str]:
    """The steps of the way down, newest first; none where it goes up. Raises ConfigurationError for a schema that a
    newer version of this package made.
    """
    if found is None:
        return []
    if found not in known:
        raise ConfigurationError(
            f"the database is at revision {found}, which this version of the package does not know; it knows"
            f" {', '.join(known)}: update the package"
        )
    newer = known[: len(known) if wanted == "base" else known.index(known[0] if wanted == "head" else wanted)]
    return newer[known.index(found) :]


def removed_by(script: ScriptDirectory, undone: list[str]) -> list[str]:
    """The relations that the downgrades remove; a revision without `removes` counts as one that removes all."""
    named = {step.revision: getattr(step.module, "removes", None) for step in script.walk_revisions()}
    everything = [relation for relations in named.values() for relation in relations or ()]
    removed = [everything if (relations := named[step]) is None else relations for step in undone]
    return [relation for relations in removed for relation in relations]


def _run(url: str, config: Config, revision: str, *, downwards: bool) -> None:
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if downwards else command.upgrade)(config, revision)
        if revision == "head":
            _promote(connection)


def _promote(connection: Connection) -> None:
    """Run the steps of promotion: they make what the migrations would have made on a server of the present kind."""
    connection.commit()  # so that each step can have a transaction of its own
    context = MigrationContext.configure(connection)
    promotion = load_python_file(str(migrations_folder() / "promotion"), "promote.py")
    for step in promotion.STEPS:
        with Operations.context(context), context.begin_transaction():
            step()
