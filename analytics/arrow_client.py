"""Where frames come from: one Arrow connection per database and process."""

from __future__ import annotations

import atexit
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from string import Template
from typing import Any, TypeVar

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import make_conninfo

import timeseries
from timeseries.database.connections import CHECK_WITHIN, CONNECT, conninfo, libpq_options, reading_url, refusal
from timeseries.database.failures import CANCELLED, UNREACHABLE, meaning_of
from timeseries.database.silence import answers, bytes_moved, sockets_with
from timeseries.deadline import Deadline, GivenUpError, UnansweredError, Watch, watched
from timeseries.errors import QueryCancelledError, ServerUnavailableError, TimeseriesError
from timeseries.settings import CALL_DEADLINE_VARIABLE, Settings

# The server looks for its client while it works, where it can, because a query that was given up is of no more use.
BIND = """
    SELECT set_config(name, text, true), current_setting('statement_timeout') AS statement_timeout,
           CASE WHEN version() LIKE '%linux%' THEN set_config('client_connection_check_interval', '10s', true) END
    FROM unnest($1::text[], $2::text[]) AS s (name, text)
"""
Result = TypeVar("Result")
_lock = threading.Lock()
_numbers = count(1)
_clients: dict[tuple[int, str], ArrowClient] = {}
_defaults: dict[tuple[Settings, Path], str] = {}


def fetch(query: str, parameters: dict[str, object], url: str | None = None) -> pa.Table:
    """The rows of a query, by Arrow: no row becomes a Python object.

    A parameter stands in the query as `$name`, a text or NULL, to be cast. Parameters are bound by a statement of their
    own, as settings of the transaction: the rows of a query that binds none arrive by COPY, three times as fast. A
    connection that went away, or whose server answers nobody, is opened again, once.

    Raises:
        ServerUnavailableError, also where no byte moved for `TIMESERIES_CALL_DEADLINE`; NotMigratedError;
        NotAllowedError where the role lacks a right, InvalidInputError where the server cannot use a value,
        QueryCancelledError where it ended the query.
    """
    return _client(url).fetch(query, parameters)


class ArrowClient:
    """A connection to one database. Questions to it wait for each other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.Lock()
        self.session: Session | None = None

    def fetch(self, query: str, parameters: dict[str, object]) -> pa.Table:
        with self.lock:
            for attempt in (1, 2):
                try:
                    return self._fetch(query, parameters)
                except GivenUpError as error:
                    if attempt == 2 or not isinstance(error, UnansweredError):
                        raise UNREACHABLE(str(error)) from error
                except adbc_driver_manager.Error as error:
                    refused = self._refusal(error)
                    if refused is not None:
                        raise refused from error
                    if attempt == 2:
                        raise ServerUnavailableError("the database server cannot be reached") from error
                    self.close()
            raise AssertionError("unreachable")

    def _refusal(self, error: adbc_driver_manager.Error) -> TimeseriesError | None:
        """Our error for what the driver says; None where the connection went away, so that another may do."""
        meant = meaning_of(error.sqlstate or "08000")
        if meant is UNREACHABLE:
            return None
        if meant is CANCELLED:
            set_to = self.session.limit if self.session is not None else "0"
            limit = "no statement_timeout" if set_to == "0" else f"a statement_timeout of {set_to}"
            return QueryCancelledError(
                f"the server, with {limit}, cancelled the query; ask for a shorter range or fewer cameras, or set a"
                " higher statement_timeout for this role"
            )
        return TimeseriesError(f"the server refused the query: {error}") if meant is None else meant(said(error))

    def _fetch(self, query: str, parameters: dict[str, object]) -> pa.Table:
        session = self.session = self.session or Session(self.url)
        limit = Settings.from_environment().call_deadline.total_seconds()
        try:
            if session.is_open:
                self._check(session, limit)
            return session.bounded(partial(session.fetch, query, parameters), limit, CALL_DEADLINE_VARIABLE)
        finally:
            if session.dropped:
                self.session = None

    def _check(self, session: Session, limit: float) -> None:
        """Begin the next transaction within seconds, because a connection that was idle may have died meanwhile."""
        try:
            session.bounded(session.begin, min(limit, CHECK_WITHIN), "check of a connection")
        except GivenUpError as error:
            raise UnansweredError(str(error)) from error

    def close(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.close()


class Session:
    """One connection, opened by the first query. A query that failed leaves it closed, to be opened again."""

    def __init__(self, url: str) -> None:
        self.limit = "0"  # the statement_timeout of the session
        self.dropped = False
        self._url = url
        self._connection: dbapi.Connection | None = None
        # No other socket of this process has it, so that the driver's can be found.
        self._user_timeout = int(CONNECT["tcp_user_timeout"]) + next(_numbers)

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    def bounded(self, work: Callable[[], Result], limit: float, name: str) -> Result:
        """What `work` returns; given up where no byte moves for `limit` seconds."""
        return watched(work, Watch(Deadline(limit, name), self._moved, self._answers), self._drop)

    def fetch(self, query: str, parameters: dict[str, object]) -> pa.Table:
        """The rows of a query, in the transaction that was begun, else in one of its own."""
        if self._connection is None:
            self.begin()
        with self._closed_after_error() as connection, connection.cursor() as cursor:
            return self._ask(cursor, query, parameters)

    def begin(self) -> None:
        with self._closed_after_error() as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN READ ONLY")

    @contextmanager
    def _closed_after_error(self) -> Iterator[dbapi.Connection]:
        """The connection. It is closed by the thread that uses it, also where nobody waits for that any more."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection
        except BaseException:
            self.close()
            raise
        finally:
            if self.dropped:
                self.close()

    def _ask(self, cursor: dbapi.Cursor, query: str, parameters: dict[str, object]) -> pa.Table:
        names = ["timezone", "jit", *(f"timeseries.{name}" for name in parameters)]
        # NULL is sent as an empty text, because set_config() takes NULL for a reset, and parallel workers do not get a
        # setting that has its default.
        texts = ["UTC", "off", *("" if value is None else str(value) for value in parameters.values())]
        settings = pa.RecordBatch.from_pydict({"names": pa.array([names]), "texts": pa.array([texts])})
        read = {name: f"nullif(current_setting('timeseries.{name}'), '')" for name in parameters}
        cursor.execute(BIND, settings)
        self.limit = cursor.fetch_arrow_table()["statement_timeout"][0].as_py()
        cursor.execute(Template(query).substitute(read))
        table = cursor.fetch_arrow_table()
        cursor.execute("COMMIT")
        return table

    def _connect(self) -> dbapi.Connection:
        try:
            return dbapi.connect(reading_url(self._url, tcp_user_timeout=str(self._user_timeout)), autocommit=True)
        except adbc_driver_manager.Error:
            # The driver's words may show the URL, with its password, and have no SQLSTATE; psycopg's do not show it.
            refused = refusal(conninfo(self._url))
            raise refused or ServerUnavailableError("the database server cannot be reached; try again") from None

    def _moved(self) -> object:
        """What changes with each byte, also while the driver connects, for which it opens several."""
        return [(found.getsockname(), bytes_moved(found.fileno())) for found in sockets_with(self._user_timeout)]

    def _answers(self) -> bool:
        """Whether the server answers a new connection; any of several hosts where it cannot be known which it is."""
        if self._connection is None:
            return True  # connecting has a limit of its own
        options = libpq_options(self._url)
        for found in sockets_with(self._user_timeout):
            with suppress(OSError):  # it has ended
                host, port, *_ = found.getpeername()
                options |= {"host": host, "hostaddr": host, "port": port}
        return answers(make_conninfo(**options))

    def _drop(self) -> None:
        """End the call under way; where its socket is not known it is left alone, and closes the connection itself."""
        self.dropped = True
        for found in sockets_with(self._user_timeout):
            with suppress(OSError):  # it has ended
                found.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def said(error: adbc_driver_manager.Error) -> str:
    """What the server said, without the query that the driver repeats."""
    details: dict[Any, Any] = dict(error.details)  # by bytes, though the driver's stub says text
    found = details.get(b"PG_DIAG_MESSAGE_PRIMARY")
    return str(error) if found is None else str(found, "utf-8")


def _client(url: str | None) -> ArrowClient:
    with _lock:
        url = url or _default_url()
        # A forked process must not talk on its parent's connection.
        return _clients.setdefault((os.getpid(), url), ArrowClient(url))


def _default_url() -> str:
    """That of the environment as it is now; an embedded server is started once for each folder."""
    settings, folder = _environment()
    if (settings, folder) not in _defaults:
        _defaults[settings, folder] = settings.read_url or timeseries.resolve_url(settings=settings)
    return _defaults[settings, folder]


def _environment() -> tuple[Settings, Path]:
    settings = Settings.from_environment()
    return settings, settings.home.expanduser().resolve()


def close(url: str | None = None) -> None:
    """Close the connection to a database; the next request opens another."""
    with _lock:
        client = _clients.pop((os.getpid(), url or _defaults.get(_environment(), "")), None)
    if client is not None:
        client.close()


@atexit.register
def _close_all() -> None:
    for process, url in list(_clients):
        if process == os.getpid():
            close(url)
