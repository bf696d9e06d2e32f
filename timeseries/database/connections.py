"""Connections: the forms of a URL, the engine, the pool, and driver errors in our words."""

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

# A server that is gone is noticed, and a session left behind does not hold locks for ever. Values in libpq's units.
CONNECT = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "application_name": "timeseries",
}
# Set in each transaction, not in the session: a pooler like PgBouncer gives each transaction another session.
# The look at the cameras takes its lock first: retention locks them, too, and then chunks, so the order is the same.
# A batch that corrects compressed rows is bounded by its own size, not by how many rows lie beside them.
SET_LIMITS = """
    SELECT set_config('timezone', 'UTC', true), set_config('lock_timeout', '5s', true),
           set_config('statement_timeout', '5min', true),
           set_config('idle_in_transaction_session_timeout', '60s', true),
           set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true),
           EXISTS (SELECT FROM public.cameras), now()
"""
SEVERAL_HOSTS = re.compile(r"^(postgresql://(?:[^@/]*@)?)([^/@?]*,[^/@?]*)(/.*)$")


def parse_url(url: str) -> sqlalchemy.URL:
    """The URL for SQLAlchemy, `timescaledb+psycopg://`, from any of the accepted forms.

    Raises:
        ConfigurationError: the URL is malformed or of another scheme. The message never shows the password.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    uri = postgresql_uri(url)
    several = SEVERAL_HOSTS.match(uri)
    try:
        parsed = make_url(several[1] + several[3] if several else uri)
    except (ArgumentError, ValueError):
        raise malformed(url) from None
    if not parsed.database:
        raise malformed(url)
    parsed = parsed.set(drivername="timescaledb+psycopg")
    return parsed.update_query_dict({"host": tuple(several[2].split(","))}) if several else parsed


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
    """What the URL sets, by libpq's names and read by libpq itself: ingest does not need SQLAlchemy for it.

    Raises ConfigurationError as `parse_url` does, and for an option that libpq does not know.
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
    """The same for libpq, with our timeouts where the URL sets none. It holds the password: never log it."""
    return make_conninfo("", **{**CONNECT, **defaults, **libpq_options(url)})


def reading_url(url: str) -> str:
    """The same as a URI, for drivers that take nothing else and only read: of several hosts a standby is preferred."""
    given = libpq_options(url)
    wanted = {**CONNECT, "target_session_attrs": "prefer-standby"}
    missing = {key: value for key, value in wanted.items() if key not in given}
    return postgresql_uri(url) + ("&" if "?" in url else "?") + urlencode(missing)


def create_engine(url: str, **options: Any) -> sqlalchemy.Engine:
    """A SQLAlchemy engine for any accepted URL; sessions work in UTC."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(parse_url(url), connect_args=dict(CONNECT), hide_parameters=True, **options)

    @sqlalchemy.event.listens_for(engine, "connect")
    def work_in_utc(connection: Any, _: Any) -> None:
        connection.execute("SET timezone = 'UTC'")
        connection.commit()

    return engine


def open_pool(url: str, *, max_size: int = 4) -> Pool:
    """A pool of connections to a server that takes writes; `connected` gives them out. Waiting for one is bounded.

    Of several hosts the one that is no standby is taken. Nothing is prepared on the server, and nothing is set for
    longer than a transaction, so PgBouncer in transaction mode may stand in between.
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
    """A connection of the pool that answers, with our errors for what the driver says.

    A stale one is replaced at once. The pool's own check would wait longer each time; where connections are cut again
    and again, what it waits for is cut meanwhile.
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
    """A pool does not say whether its server is away or its connections are in use, so try to connect beside it."""
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
    """Why a server lets nobody in, found by connecting, for two seconds at most; None where it does."""
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
    """Raise our errors for what the driver says; what needs no decision of a caller passes through."""
    try:
        yield
    except psycopg.Error as error:
        ours = translated(error)
        if ours is None:
            raise
        raise ours from error
