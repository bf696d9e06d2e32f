"""Where frames come from: a few Arrow connections per database and process."""

from __future__ import annotations

import atexit
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from string import Template
from typing import Any, Protocol, TypeVar

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import make_conninfo

import timeseries
from analytics.places import Places
from timeseries.cancellation import cancellable
from timeseries.database.connections import CHECK_WITHIN, CONNECT, conninfo, libpq_options, reading_url, refusal
from timeseries.database.failures import CANCELLED, UNREACHABLE, meaning_of
from timeseries.database.silence import INTERRUPTED, answers, bytes_moved, sockets_with
from timeseries.deadline import Deadline, GivenUpError, UnansweredError, Watch, watched
from timeseries.errors import InvalidInputError, QueryCancelledError, ServerUnavailableError, TimeseriesError
from timeseries.settings import CALL_DEADLINE_VARIABLE, Settings

# The server looks for its client while it works, where it can, because a query that was given up is of no more use.
BIND = """
    SELECT set_config(name, text, true), current_setting('statement_timeout') AS statement_timeout,
           CASE WHEN version() LIKE '%linux%' THEN set_config('client_connection_check_interval', '10s', true) END
    FROM unnest($1::text[], $2::text[]) AS s (name, text)
"""
Result = TypeVar("Result")
WAIT_FOR_PLACE = 60.0  # seconds
IDLE = 1.0  # seconds after which a connection is checked before it is used
_lock = threading.Lock()
_numbers = count(1)
_clients: dict[tuple[int, str], ArrowClient] = {}
_sizes: dict[str, int] = {}
_defaults: dict[tuple[Settings, Path], str] = {}


class Fetch(Protocol):
    """The rows of a query."""

    def __call__(self, query: str, parameters: dict[str, object]) -> pa.Table: ...


def fetch(query: str, parameters: dict[str, object], url: str | None = None) -> pa.Table:
    """The rows of one query, as `ask` gets them."""
    return ask(lambda rows_of: rows_of(query, parameters), url)


def ask(work: Callable[[Fetch], Result], url: str | None = None) -> Result:
    """What `work` makes of the rows of its queries, which come by Arrow: no row becomes a Python object.

    All of it is one call in a thread and one transaction, because for small answers each call, and each way to the
    server and back, costs as much as the rows do. It may be done twice.

    A parameter stands in the query as `$name`, a text or NULL, to be cast. Parameters are bound by a statement of their
    own, as settings of the transaction: the rows of a query that binds none arrive by COPY, three times as fast. A
    connection that went away, or whose server answers nobody, is replaced, once. Where the caller leaves, by Ctrl-C
    or because its task was cancelled, the statement is ended on the server, too.

    Raises:
        ServerUnavailableError, also where no byte moved for `TIMESERIES_CALL_DEADLINE`; NotMigratedError;
        NotAllowedError where the role lacks a right, InvalidInputError where the server cannot use a value,
        QueryCancelledError where it ended the query; PoolBusyError where all connections are busy for a minute.
    """
    return _client(url).ask(work)


class ArrowClient:
    """Connections to one database, `size` at most. A question takes one of its own, and waits where all are busy."""

    def __init__(self, url: str, size: int) -> None:
        self.url = url
        self.places = Places(size, WAIT_FOR_PLACE)
        self._free: deque[Session] = deque()  # the one used last comes next
        self._closed = False

    def ask(self, work: Callable[[Fetch], Result]) -> Result:
        """What `work` returns; done once more, by a new connection, where the first was lost or its server answers
        nobody.
        """
        with self.places.taken():
            try:
                return self._ask(work)
            except LostConnectionError:
                self._close_free()  # they have the same server
            try:
                return self._ask(work)
            except LostConnectionError as error:
                raise UNREACHABLE(str(error)) from error.__cause__

    def _ask(self, work: Callable[[Fetch], Result]) -> Result:
        session = self._take()
        limit = Settings.from_environment().call_deadline.total_seconds()
        try:
            if session.was_idle:
                self._check(session, limit)
            return session.bounded(partial(session.transact, work), limit, CALL_DEADLINE_VARIABLE)
        except UnansweredError as error:
            raise LostConnectionError(str(error)) from error
        except GivenUpError as error:
            raise UNREACHABLE(str(error)) from error
        except adbc_driver_manager.Error as error:
            raise meaning(error, session.limit) from error
        finally:
            self._give_back(session)

    def _check(self, session: Session, limit: float) -> None:
        """Begin the next transaction within seconds, because a connection that was idle may have died meanwhile."""
        try:
            session.bounded(session.begin, min(limit, CHECK_WITHIN), "check of a connection")
        except GivenUpError as error:
            raise UnansweredError(str(error)) from error

    def _take(self) -> Session:
        try:
            return self._free.pop()
        except IndexError:
            return Session(self.url)

    def _give_back(self, session: Session) -> None:
        """Keep a connection for the next question, unless it was lost or a thread that nobody waits for has it."""
        if session.is_open and not session.dropped:
            self._free.append(session)
        self._close_free(0 if self._closed else self.places.number)

    def _close_free(self, keep: int = 0) -> None:
        """Close the connections that nobody has, but for the ones used last."""
        with suppress(IndexError):  # another thread took it
            while len(self._free) > keep:
                self._free.popleft().close()

    def resize(self, size: int) -> None:
        self.places.number = size
        self._close_free(size)

    def close(self) -> None:
        """Close what is idle now, and what is busy when its answer is there."""
        self._closed = True
        self._close_free()


class LostConnectionError(Exception):
    """The connection is lost, so that another may do."""


def meaning(error: adbc_driver_manager.Error, limit: str) -> Exception:
    """Our error for what the driver says; `limit` is the statement_timeout of the session."""
    meant = meaning_of(error.sqlstate or "08000")
    if meant is UNREACHABLE:
        return LostConnectionError("the connection was lost")
    if meant is CANCELLED:
        set_to = "no statement_timeout" if limit == "0" else f"a statement_timeout of {limit}"
        return QueryCancelledError(
            f"the server, with {set_to}, cancelled the query; ask for a shorter range or fewer cameras, or set a"
            " higher statement_timeout for this role"
        )
    return TimeseriesError(f"the server refused the query: {error}") if meant is None else meant(said(error))


class Session:
    """One connection, opened by the first query. A query that failed leaves it closed, to be opened again."""

    def __init__(self, url: str) -> None:
        self.limit = "0"  # the statement_timeout of the session
        self.dropped = False
        self._url = url
        self._connection: dbapi.Connection | None = None
        self._begun = False  # a transaction
        self._answered = 0.0
        self._closing = threading.Lock()
        self._cancelling: threading.Thread | None = None
        # No other socket of this process has it, so that the driver's can be found.
        self._user_timeout = int(CONNECT["tcp_user_timeout"]) + next(_numbers)

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @property
    def was_idle(self) -> bool:
        """Whether it has answered, but not just now."""
        return self.is_open and time.monotonic() - self._answered > IDLE

    def bounded(self, work: Callable[[], Result], limit: float, name: str) -> Result:
        """What `work` returns; given up where no byte moves for `limit` seconds, ended where its caller cancels it."""
        with cancellable(self._end):
            return watched(work, Watch(Deadline(limit, name), self._moved, self._answers), self._drop)

    def transact(self, work: Callable[[Fetch], Result]) -> Result:
        """What `work` makes of the rows of its queries, in the transaction that was begun, else in one of its own."""
        if not self._begun:
            self.begin()
        with self._closed_after_error() as connection, connection.cursor() as cursor, self._committed(cursor):
            return work(partial(self._rows, cursor))

    def begin(self) -> None:
        with self._closed_after_error() as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN READ ONLY")
        self._begun = True

    @contextmanager
    def _committed(self, cursor: dbapi.Cursor) -> Iterator[None]:
        """A block after which the transaction ends; also where the question is refused for what it asks."""
        try:
            yield
        except TimeseriesError:
            self._commit(cursor)
            raise
        self._commit(cursor)

    def _commit(self, cursor: dbapi.Cursor) -> None:
        cursor.execute("COMMIT")
        self._begun, self._answered = False, time.monotonic()

    @contextmanager
    def _closed_after_error(self) -> Iterator[dbapi.Connection]:
        """The connection. It is closed by the thread that uses it, also where nobody waits for that any more."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            yield self._connection
        except TimeseriesError:  # the connection is as good as before, or there is none
            raise
        except BaseException:
            self.close()
            raise
        finally:
            if self.dropped:
                self.close()

    def _rows(self, cursor: dbapi.Cursor, query: str, parameters: dict[str, object]) -> pa.Table:
        names = ["timezone", "jit", *(f"timeseries.{name}" for name in parameters)]
        # NULL is sent as an empty text, because set_config() takes NULL for a reset, and parallel workers do not get a
        # setting that has its default.
        texts = ["UTC", "off", *("" if value is None else str(value) for value in parameters.values())]
        settings = pa.RecordBatch.from_pydict({"names": pa.array([names]), "texts": pa.array([texts])})
        read = {name: f"nullif(current_setting('timeseries.{name}'), '')" for name in parameters}
        cursor.execute(BIND, settings)
        self.limit = cursor.fetch_arrow_table()["statement_timeout"][0].as_py()
        cursor.execute(Template(query).substitute(read))
        return cursor.fetch_arrow_table()

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

    def _end(self) -> None:
        """End the statement under way, and the connection where the server does not even answer that."""
        if not self._cancel():
            self._drop()

    def _cancel(self) -> bool:
        """End the statement under way on the server, by another connection; whether it answered within two seconds. The
        driver would wait for a frozen server without end.
        """
        if self._cancelling is None or not self._cancelling.is_alive():
            self._cancelling = threading.Thread(target=self._request_cancel, name="timeseries-cancel", daemon=True)
            self._cancelling.start()
        self._cancelling.join(INTERRUPTED)
        return not self._cancelling.is_alive()

    def _request_cancel(self) -> None:
        with self._closing:  # because the driver frees what it needs to cancel
            if self._connection is not None:
                with suppress(adbc_driver_manager.Error):  # it has ended
                    self._connection.adbc_cancel()

    def _drop(self) -> None:
        """End the call under way, on the server, too, where that answers. Where its socket is not known it is left
        alone, and closes the connection itself.
        """
        self.dropped = True
        self._cancel()
        for found in sockets_with(self._user_timeout):
            with suppress(OSError):  # it has ended
                found.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._closing:
            connection, self._connection = self._connection, None
            self._begun = False
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
        # A forked process must not talk on its parent's connections.
        key = (os.getpid(), url)
        if key not in _clients:
            _clients[key] = ArrowClient(url, _sizes.get(url) or Settings.from_environment().read_pool_size)
        return _clients[key]


def set_pool_size(connections: int, url: str | None = None) -> None:
    """Let the answers of this process have so many connections to a database at once, in place of
    `TIMESERIES_READ_POOL_SIZE`. A question that finds all of them busy waits for a minute at most.

    Args:
        connections: at least 1. Those beyond are closed when their answers are there.
        url: the database; by default that of the environment.

    Raises:
        InvalidInputError: a number below 1.
    """
    if connections < 1:
        raise InvalidInputError(f"connections {connections!r}: there must be at least 1")
    client = _client(url)
    client.resize(connections)
    with _lock:
        _sizes[client.url] = connections


def largest_pool_size() -> int:
    """How many connections answers may have to one database, of all that this process asks."""
    with _lock:
        return max(_sizes.values(), default=0) or Settings.from_environment().read_pool_size


def _renew_lock() -> None:
    """In a forked process, because another thread of its parent may have held it."""
    global _lock
    _lock = threading.Lock()


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
    """Close the connections to a database; the next request opens another."""
    with _lock:
        client = _clients.pop((os.getpid(), url or _defaults.get(_environment(), "")), None)
    if client is not None:
        client.close()


@atexit.register
def _close_all() -> None:
    for process, url in list(_clients):
        if process == os.getpid():
            close(url)


os.register_at_fork(after_in_child=_renew_lock)
