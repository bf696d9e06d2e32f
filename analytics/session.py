"""One connection that answers by Arrow, watched while a call lasts."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from string import Template
from typing import Protocol, TypeVar

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from psycopg.conninfo import make_conninfo

from timeseries.cancellation import cancellable
from timeseries.database.connections import CONNECT, conninfo, libpq_options, reading_url, refusal
from timeseries.database.silence import INTERRUPTED, answers, bytes_moved, sockets_with
from timeseries.deadline import Deadline, Watch, watched
from timeseries.errors import ServerUnavailableError, TimeseriesError

# The server looks for its client while it works, where it can, because a query that was given up is of no more use.
BIND = """
    SELECT set_config(name, text, true), current_setting('statement_timeout') AS statement_timeout,
           CASE WHEN version() LIKE '%linux%' THEN set_config('client_connection_check_interval', '10s', true) END
    FROM unnest($1::text[], $2::text[]) AS s (name, text)
"""
Result = TypeVar("Result")
IDLE = 1.0  # seconds after which a connection is checked before it is used
_numbers = count(1)


class Fetch(Protocol):
    """The rows of a query."""

    def __call__(self, query: str, parameters: dict[str, object]) -> pa.Table: ...


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
