"""Connections: the forms of a URL, the engine, the pool, and driver errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError

from timeseries.errors import ConfigurationError, NotMigratedError, ServerUnavailableError

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "timescaledb", "timescaledb+psycopg")
Pool = ConnectionPool[psycopg.Connection[tuple[Any, ...]]]

# A server that is gone is noticed, and a session left behind does not hold locks for ever. Values in libpq's units.
CONNECT = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "application_name": "timeseries",
}
SESSION = "SET timezone = 'UTC'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s'"


def parse_url(url: str) -> sqlalchemy.URL:
    """The URL for SQLAlchemy, `timescaledb+psycopg://`, from any of the accepted forms.

    Raises:
        ConfigurationError: the URL is malformed or of another scheme. The message never shows the password.
    """
    scheme, separator, _ = url.partition("://")
    forms = ", ".join(f"{name}://" for name in SCHEMES)
    if not separator or scheme not in SCHEMES:
        shown = f"scheme {scheme!r}" if separator and scheme.replace("+", "").isalnum() else "no scheme"
        raise ConfigurationError(f"the database URL has {shown}; it must begin with one of {forms}")
    try:
        parsed = make_url("postgresql" + url[len(scheme) :])
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or not parsed.database:
        raise ConfigurationError(
            f"the database URL ({scheme}://…) is malformed; it must read {scheme}://user:password@host:port/database,"
            " with special characters in the password percent-encoded"
        )
    return parsed.set(drivername="timescaledb+psycopg")


def conninfo(url: str) -> str:
    """The same for libpq, with our timeouts where the URL sets none. It holds the password: never log it."""
    parsed = parse_url(url)
    given = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        return make_conninfo(given, **{key: value for key, value in CONNECT.items() if key not in parsed.query})
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            f"the database URL {parsed.render_as_string()} has an option that libpq does not know"
        ) from None


def conninfo_url(url: str) -> str:
    """The same as a URI, for drivers that take nothing else."""
    parsed = parse_url(url)
    missing = {key: value for key, value in CONNECT.items() if key not in parsed.query}
    return parsed.set(drivername="postgresql").update_query_dict(missing).render_as_string(hide_password=False)


def create_engine(url: str, **options: Any) -> Engine:
    """A SQLAlchemy engine for any accepted URL; sessions work in UTC."""
    connect_args = {"options": "-c timezone=UTC", **CONNECT}
    parsed = parse_url(url)
    return sqlalchemy.create_engine(parsed, connect_args=connect_args, hide_parameters=True, **options)


def open_pool(url: str, *, max_size: int = 4) -> Pool:
    """A pool of checked connections; waiting for one is bounded."""

    def configure(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        connection.execute(SESSION)
        connection.commit()

    return ConnectionPool(
        conninfo(url),
        min_size=0,
        max_size=max_size,
        timeout=10,
        reconnect_timeout=10,
        configure=configure,
        check=ConnectionPool.check_connection,
        open=True,
        name="timeseries",
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise our errors for what the driver says; what needs no decision of a caller passes through."""
    try:
        yield
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.InvalidSchemaName,
    ) as error:
        raise NotMigratedError(
            f"the database is not migrated ({error.diag.message_primary}); run: timeseries migrate"
        ) from error
    except (PoolTimeout, psycopg.OperationalError) as error:
        if isinstance(error, PoolTimeout) or error.sqlstate is None or error.sqlstate[:2] in {"08", "57"}:
            raise ServerUnavailableError(f"the database server cannot be reached: {error}") from error
        raise
