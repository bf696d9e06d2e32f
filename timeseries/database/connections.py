"""Connections: the accepted forms of a URL, the engine, the pool, transactions, and translated driver errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from timeseries.database.failures import UNREACHABLE, translated
from timeseries.errors import ConfigurationError, ServerUnavailableError, TimeseriesError

if TYPE_CHECKING:
    import sqlalchemy

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "timescaledb", "timescaledb+psycopg")
Connection = psycopg.Connection[tuple[Any, ...]]
Pool = ConnectionPool[Connection]

# TCP keepalives, so that a lost server is noticed and an abandoned session does not hold locks. In libpq's units.
CONNECT = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "application_name": "timeseries",
}
# Settings are made for each transaction and not for the session, because PgBouncer may give each another session.
# `cameras` is read first, to take its lock before any chunk's. Retention locks in the same order (the foreign key makes
# drop_chunks lock `cameras`), so the two cannot deadlock.
# The limit of decompressed tuples is lifted, because a correction decompresses whole batches of a compressed chunk.
SET_LIMITS = """
    SELECT set_config('timezone', 'UTC', true), set_config('lock_timeout', '5s', true),
           set_config('statement_timeout', '5min', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true),
           EXISTS (SELECT FROM public.cameras), now()
"""


def postgresql_uri(url: str) -> str:
    """Any of the accepted forms with the scheme that libpq knows. Raises ConfigurationError for another scheme."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        forms = ", ".join(f"{name}://" for name in SCHEMES)
        shown = f"scheme {scheme!r}" if separator and scheme.replace("+", "").isalnum() else "no scheme"
        raise ConfigurationError(f"the database URL has {shown}; it must begin with one of {forms}")
    # A password with a bare @ would be cut there, and its rest shown as the name of a host.
    if re.split("[/?#]", rest)[0].count("@") > 1:
        raise malformed(url)
    return f"postgresql://{rest}"


def malformed(url: str) -> ConfigurationError:
    scheme = url.partition("://")[0]
    return ConfigurationError(
        f"the database URL ({scheme}://…) is malformed; it must read {scheme}://user:password@host:port/database,"
        " with special characters in the password percent-encoded"
    )


def libpq_options(url: str) -> dict[str, Any]:
    """The options of a URL, in any of the accepted forms, by libpq's names.

    Raises:
        ConfigurationError: the URL is malformed, of another scheme, or has an option that libpq does not know. The
            message never shows the password.
    """
    uri = postgresql_uri(url)
    try:
        found = conninfo_to_dict(uri.partition("?")[0])
    except psycopg.ProgrammingError:
        raise malformed(url) from None
    if not found.get("dbname") or not all(port.isdigit() for port in str(found.get("port", "1")).split(",") if port):
        raise malformed(url)
    try:
        return conninfo_to_dict(uri)
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            f"the database URL ({url.partition('://')[0]}://…) has an option that libpq does not know"
        ) from None


def conninfo(url: str, **defaults: str) -> str:
    """The URL as a libpq connection string with our timeouts as defaults. It holds the password: never log it."""
    return make_conninfo("", **{**CONNECT, **defaults, **libpq_options(url)})


def reading_url(url: str) -> str:
    """The URL as a libpq URI for drivers that need one and only read: of several hosts a standby is preferred."""
    given = libpq_options(url)
    wanted = {**CONNECT, "target_session_attrs": "prefer-standby"}
    missing = {key: value for key, value in wanted.items() if key not in given}
    return postgresql_uri(url) + ("&" if "?" in url else "?") + urlencode(missing)


def create_engine(url: str, **options: Any) -> sqlalchemy.Engine:
    """A SQLAlchemy engine for any accepted URL; sessions work in UTC."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        "timescaledb+psycopg://", connect_args=conninfo_to_dict(conninfo(url)), hide_parameters=True, **options
    )

    @sqlalchemy.event.listens_for(engine, "connect")
    def work_in_utc(connection: Any, _: Any) -> None:
        connection.execute("SET timezone = 'UTC'")
        connection.commit()

    return engine


def open_pool(url: str, *, max_size: int = 4) -> Pool:
    """A pool of connections to a server that takes writes; `connected` gives them out. Waiting for one is bounded.

    Of several hosts the primary is taken. PgBouncer in transaction mode may stand in between, because no statement is
    prepared and no setting outlives its transaction.
    """

    def configure(connection: Connection) -> None:
        connection.prepare_threshold = None

    return ConnectionPool(
        conninfo(url, target_session_attrs="read-write"),
        min_size=0,
        max_size=max_size,
        timeout=5,
        reconnect_timeout=5,
        configure=configure,
        open=True,
        name="timeseries",
    )


@contextmanager
def connected(pool: Pool) -> Iterator[Connection]:
    """A live connection of the pool; errors of the driver are translated.

    A stale connection is replaced at once. The pool's own check is not used, because its backoff grows with each stale
    connection, and where connections are cut repeatedly the new one is cut meanwhile.
    """
    with translated_errors():
        try:
            for _ in range(2 * pool.max_size):  # every one in the pool may be stale, and a new one may be cut too
                with pool.connection() as connection:
                    try:
                        ConnectionPool.check_connection(connection)
                    except psycopg.OperationalError:
                        continue
                    yield connection
                    return
        except PoolTimeout as error:
            raise _why_none_came(pool, error) from error
        raise ServerUnavailableError("the database server cuts every connection")


def _why_none_came(pool: Pool, error: PoolTimeout) -> TimeseriesError:
    """Connect beside the pool, because its timeout does not tell a lost server from connections that are all in use."""
    refused = refusal(str(pool.conninfo))
    if refused is not None:
        return refused
    stats = pool.get_stats()
    if stats["pool_size"] == pool.max_size and not stats["pool_available"]:
        return ServerUnavailableError(
            f"all {pool.max_size} connections of this store are busy, and none came free within {pool.timeout:g}"
            " seconds; use it from fewer threads at once, or open another store"
        )
    return UNREACHABLE(str(error))


def refusal(conninfo: str) -> TimeseriesError | None:
    """The error of a connection attempt, which takes two seconds at most; None where it succeeds."""
    try:
        psycopg.connect(conninfo, connect_timeout=2).close()
    except psycopg.Error as error:
        return translated(error)
    return None


@contextmanager
def transaction(connection: Connection) -> Iterator[datetime]:
    """A transaction in UTC: five seconds at most for a lock, five minutes for a statement. Gives the server's time."""
    with connection.transaction():
        (*_, now) = connection.execute(SET_LIMITS).fetchall()[0]
        yield now


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate errors of psycopg; one that needs no decision of a caller passes through."""
    try:
        yield
    except psycopg.Error as error:
        ours = translated(error)
        if ours is None:
            raise
        raise ours from error
