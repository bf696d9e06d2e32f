"""`timescaledb+psycopg://` for SQLAlchemy: sqlalchemy-timescaledb on psycopg 3.

The options are those of sqlalchemy-timescaledb (`timescaledb_hypertable={"time_column_name": …}` on a `Table`).
Its own compiler drops the schema of the table and registers one more listener each time a table is compiled;
here one listener serves all tables, names the schema and binds its values.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Table, event, text
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg, PGDialectAsync_psycopg
from sqlalchemy_timescaledb.dialect import TimescaledbDialect

CREATE_HYPERTABLE = text("""
    SELECT create_hypertable(
        CAST(:relation AS regclass),
        by_range(CAST(:time_column AS name), CAST(:chunk_time_interval AS interval)),
        if_not_exists => true
    )
""")


class TimescaledbPsycopgDialect(TimescaledbDialect, PGDialect_psycopg):  # type: ignore[misc]
    """SQLAlchemy dialect `timescaledb+psycopg`."""

    driver = "psycopg"
    ddl_compiler = PGDDLCompiler
    supports_statement_cache = True

    @classmethod
    def get_async_dialect_cls(cls, url: Any) -> type[TimescaledbPsycopgAsyncDialect]:
        return TimescaledbPsycopgAsyncDialect


class TimescaledbPsycopgAsyncDialect(TimescaledbDialect, PGDialectAsync_psycopg):  # type: ignore[misc]
    """The same for `create_async_engine`."""

    driver = "psycopg_async"
    ddl_compiler = PGDDLCompiler
    supports_statement_cache = True


@event.listens_for(Table, "after_create")
def create_hypertable(target: Table, connection: Connection, **_: Any) -> None:
    options = target.kwargs.get("timescaledb_hypertable")
    dialect = connection.dialect
    if not options or not isinstance(dialect, TimescaledbPsycopgDialect | TimescaledbPsycopgAsyncDialect):
        return
    connection.execute(
        CREATE_HYPERTABLE,
        {
            "relation": dialect.identifier_preparer.format_table(target),
            "time_column": options["time_column_name"],
            "chunk_time_interval": options.get("chunk_time_interval", "7 days"),
        },
    )
