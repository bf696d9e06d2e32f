"""Connections: the accepted forms of a URL, the engine, the pool, transactions, and translated driver errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from timeseries.cancellation import cancellable
from timeseries.database.failures import UNREACHABLE, translated
from timeseries.database.silence import SilentServerError, WatchedConnection
from timeseries.deadline import at_most
from timeseries.errors import (
    ConfigurationError,
    InvalidInputError,
    PoolBusyError,
    ServerUnavailableError,
    TimeseriesError,
)
from timeseries.settings import CALL_DEADLINE, POOL_SIZE, POOL_SIZE_VARIABLE

if TYPE_CHECKING:
    import sqlalchemy

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg", "timescaledb", "timescaledb+psycopg")
Connection = psycopg.Connection[tuple[Any, ...]]
Pool = ConnectionPool[WatchedConnection]

# TCP's own limits, so that a dead connection is noticed in half a minute: keepalives while the client waits for the
# server, tcp_user_timeout while data waits to be acknowledged, because no keepalives are sent then. In libpq's units.
CONNECT = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "timeseries",
}
# Settings are made for each transaction and not for the session, because PgBouncer may give each another session.
# `cameras` is read first, to take its lock before any chunk's. Retention locks in the same order (the foreign key makes
# drop_chunks lock `cameras`), so the two cannot deadlock.
# The limit of decompressed tuples is lifted, because a correction decompresses whole batches of a compressed chunk.
# The server looks for its client, too, because an abandoned transaction holds locks that the next attempt waits for;
# while it works on a statement, and while data waits to be acknowledged, it can do so on Linux.
SET_LIMITS = """
    SELECT set_config('timezone', 'UTC', true), set_config('lock_timeout', '5s', true),
           set_config('statement_timeout', '5min', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true),
           set_config('tcp_keepalives_idle', '15', true), set_config('tcp_keepalives_interval', '5', true),
           set_config('tcp_keepalives_count', '3', true),
           CASE WHEN version() LIKE '%linux%' THEN set_config('tcp_user_timeout', '30s', true) END,
           CASE WHEN version() LIKE '%linux%' THEN set_config('client_connection_check_interval', '10s', true) END,
           EXISTS (SELECT FROM public.cameras), now()
"""
# For a transaction that lasts as long as a migration or a run of the archive.
LIFT_LIMITS = """
    SELECT set_config(name, '0', true) FROM pg_settings
    WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
NO_LIMIT = 86_400.0  # seconds for statements that may take hours; a server that answers nobody is given up sooner
CHECK_WITHIN = 10.0  # seconds for a connection of the pool to show that it is alive
WAIT_FOR_CONNECTION, CONNECT_TO_HOST = 5.0, 10.0  # seconds


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


def connect(url: str, *, deadline: float = CALL_DEADLINE.total_seconds(), **options: Any) -> WatchedConnection:
    """A connection of its own. A call over which no byte moves for `deadline` seconds is given up."""
    connection = WatchedConnection.connect(conninfo(url), **options)
    connection.deadline = deadline
    return connection


def reading_url(url: str, **defaults: str) -> str:
    """The URL as a libpq URI for drivers that need one and only read: of several hosts a standby is preferred."""
    given = libpq_options(url)
    wanted = {**CONNECT, "target_session_attrs": "prefer-standby", **defaults}
    missing = {key: value for key, value in wanted.items() if key not in given}
    return postgresql_uri(url) + ("&" if "?" in url else "?") + urlencode(missing)


def create_engine(url: str, **options: Any) -> sqlalchemy.Engine:
    """A SQLAlchemy engine for any accepted URL; sessions work in UTC."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        "timescaledb+psycopg://", creator=partial(connect, url, deadline=NO_LIMIT), hide_parameters=True, **options
    )

    @sqlalchemy.event.listens_for(engine, "connect")
    def work_in_utc(connection: Any, _: Any) -> None:
        connection.execute("SET timezone = 'UTC'")
        connection.commit()

    return engine


def open_pool(url: str, *, max_size: int = POOL_SIZE, deadline: float = CALL_DEADLINE.total_seconds()) -> Pool:
    """A pool of connections to a server that takes writes; `connected` gives them out. Waiting for one is bounded, and
    a call over which no byte moves for `deadline` seconds is given up.

    Of several hosts the primary is taken. PgBouncer in transaction mode may stand in between, because no statement is
    prepared and no setting outlives its transaction.
    """

    if max_size < 1:
        raise InvalidInputError(f"pool_size {max_size!r}: it must be at least 1")

    def configure(connection: WatchedConnection) -> None:
        connection.prepare_threshold = None
        connection.deadline = deadline

    hosts = len(str(libpq_options(url).get("host", "")).split(","))
    return ConnectionPool(
        conninfo(url, target_session_attrs="read-write"),
        connection_class=WatchedConnection,
        min_size=0,
        max_size=max_size,
        timeout=WAIT_FOR_CONNECTION + CONNECT_TO_HOST * (hosts - 1),  # each but the last may be silent
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
                    if not _alive(pool, connection):
                        continue
                    with cancellable(connection.cancel_safe):
                        yield connection
                    return
        except PoolTimeout as error:
            raise _why_none_came(pool, error) from error
        raise ServerUnavailableError("the database server cuts every connection")


def _alive(pool: Pool, connection: Connection) -> bool:
    """Whether a connection of the pool still has its server. Where that is silent the others are replaced, too. The
    pool's own check sends an empty statement, which does not tell that the session ends with its next one, because the
    extension was updated meanwhile.
    """
    connection.autocommit = True
    try:
        with at_most(CHECK_WITHIN, "check of a connection"):
            connection.execute("SELECT 1")
    except SilentServerError:
        pool.drain()
        return False
    except psycopg.Error:
        if not connection.closed:
            raise
        return False
    finally:
        with suppress(psycopg.Error):  # of a session that is gone
            connection.autocommit = False
    return True


def _why_none_came(pool: Pool, error: PoolTimeout) -> TimeseriesError:
    """Connect beside the pool, because its timeout does not tell a lost server from connections that are all in use."""
    refused = refusal(str(pool.conninfo))
    if refused is not None:
        return refused
    stats = pool.get_stats()
    if stats["pool_size"] == pool.max_size:
        return PoolBusyError(
            f"all {pool.max_size} connections of this store are busy, and none came free within {pool.timeout:g}"
            f" seconds; use it from fewer threads at once, or raise {POOL_SIZE_VARIABLE} (pool_size of Store.open)"
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
