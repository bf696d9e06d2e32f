"""How Alembic reaches the database: a connection handed over by `timeseries migrate`, else the environment's URL."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, pool
from sqlalchemy.schema import SchemaItem

from timeseries.database.connections import create_engine
from timeseries.schema.guard import migration_lock
from timeseries.schema.orm import Base
from timeseries.settings import Settings

# Made by the migrations for one kind of server only, so no model declares them.
UNDECLARED = {f"ix_{events}_{use}" for events in ("occupancy_events", "health_logs") for use in ("quarter", "time")}


def include_object(item: SchemaItem, name: str | None, kind: str, reflected: bool, declared: SchemaItem | None) -> bool:
    return not (kind == "index" and reflected and declared is None and name in UNDECLARED)


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=include_object,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    given = context.config.attributes.get("connection")
    if given is not None:
        run(given)
        return
    url = Settings.from_environment().database_url
    engine = create_engine(url, poolclass=pool.NullPool)
    with migration_lock(url), engine.connect() as connection:
        run(connection)


if context.is_offline_mode():
    raise SystemExit("the migrations look at the server they run on: --sql cannot work")
run_online()
