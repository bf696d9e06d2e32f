"""Where frames come from: a few Arrow connections per database and process."""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import adbc_driver_manager
import pyarrow as pa

import timeseries
from analytics.places import Places
from analytics.session import Fetch, Session
from timeseries.database.connections import CHECK_WITHIN
from timeseries.database.failures import CANCELLED, UNREACHABLE, meaning_of
from timeseries.deadline import GivenUpError, UnansweredError
from timeseries.errors import InvalidInputError, QueryCancelledError, TimeseriesError
from timeseries.settings import CALL_DEADLINE_VARIABLE, Settings

Result = TypeVar("Result")
WAIT_FOR_PLACE = 60.0  # seconds
_lock = threading.Lock()
_clients: dict[tuple[int, str], ArrowClient] = {}
_sizes: dict[str, int] = {}
_defaults: dict[tuple[Settings, Path], str] = {}


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
    """How many connections answers may have to one database, of all that this process asks: a smaller pool of one does
    not bound the others.
    """
    with _lock:
        return max([Settings.from_environment().read_pool_size, *_sizes.values()])


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
