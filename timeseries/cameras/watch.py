"""A watch of the cameras: an iterator of their changes, by notifications, and by looking where none come."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Self

import psycopg

from timeseries.cameras.changes import CameraChange
from timeseries.cameras.feed import CameraFeed
from timeseries.database.connections import Connection
from timeseries.database.failures import translated
from timeseries.database.silence import WatchedConnection
from timeseries.deadline import at_most
from timeseries.errors import ServerUnavailableError, TimeseriesError

log = logging.getLogger(__name__)
SLICE = 0.5  # seconds of waiting, after which a watch looks whether it is to end
PAUSE = 0.5  # seconds between two attempts to reach a server
LOOK_WITHIN = 15.0  # seconds of silence, after which another connection is made


class CameraWatch:
    """The changes of cameras, each once and in the order of each camera's revisions: at first the cameras that are
    `present`, then what is `added`, `changed` and `removed`. For `for` and for `async for`; it ends when it is closed.

    It has a connection of its own. The database notifies it of changes; every `poll` seconds it looks by itself,
    because no notification comes through PgBouncer in transaction mode. While the server is away it goes on trying, as
    `last_error` says, and afterwards, also on a promoted standby, it goes on where it was. What a standby had not yet
    received, when its primary was lost, is found by comparison, and corrected. `read_at` is when it last looked.

    Raises:
        NotAllowedError: the database role may not read the history of cameras: owner, worker and control may.
        NotMigratedError, ServerUnavailableError: at first, before it has read anything.
    """

    def __init__(self, conninfo: str, *, poll: float = 2.0) -> None:
        self.last_error: TimeseriesError | None = None
        self.read_at: datetime | None = None
        self._conninfo = conninfo
        self._poll = poll
        self._feed = CameraFeed()
        self._ready: deque[CameraChange] = deque()
        self._stop = threading.Event()
        self._working = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._connection: Connection | None = None
        self._due = 0.0

    def __repr__(self) -> str:
        return "CameraWatch()"

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> CameraChange:
        while not self._stop.is_set():
            if self._ready:
                return self._ready.popleft()
            self._work()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CameraChange:
        """A thread waits. A cancelled call loses nothing, because the thread leaves what it reads for the next."""
        while not self._stop.is_set():
            if self._ready:
                return self._ready.popleft()
            self._executor = self._executor or ThreadPoolExecutor(1, "timeseries-watch")
            await asyncio.get_running_loop().run_in_executor(self._executor, self._work)
        raise StopAsyncIteration

    def close(self) -> None:
        """End the iteration, in another thread, too; it waits for a look that is at work."""
        self._stop.set()
        with self._working:
            self._disconnect()
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close in the thread that waits; shielded, because a call in a thread that has not begun can be cancelled."""
        self._stop.set()
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._executor, self.close))

    def _work(self) -> None:
        """Wait for a slice of time, and read where a notification came or a look is due."""
        with self._working:
            if self._stop.is_set():
                return
            try:
                if self._connection is None:
                    self._connection = connect(self._conninfo)
                elif not self._is_time(self._connection):
                    return
                with at_most(LOOK_WITHIN, "look at the cameras"):
                    self._ready.extend(self._feed.read(self._connection))
            except psycopg.Error as error:
                self._disconnect()
                self._tolerate(error)
                return
            self._due = time.monotonic() + self._poll
            self.last_error, self.read_at = None, datetime.now(UTC)

    def _is_time(self, connection: Connection) -> bool:
        wait = min(SLICE, max(0.0, self._due - time.monotonic()))
        return bool(list(connection.notifies(timeout=wait, stop_after=1))) or time.monotonic() >= self._due

    def _tolerate(self, error: psycopg.Error) -> None:
        """Pause where the server is away; raise what trying again does not mend."""
        ours = translated(error)
        if ours is None:
            raise error
        if self._feed.position is None or not isinstance(ours, ServerUnavailableError):
            raise ours from error
        log.debug("the watch of the cameras: %s", ours)
        self.last_error = ours
        self._stop.wait(PAUSE)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def connect(conninfo: str) -> Connection:
    """A connection that is notified, whose transactions see one snapshot and write nothing."""
    connection = WatchedConnection.connect(conninfo, autocommit=True, prepare_threshold=None)
    try:
        with at_most(LOOK_WITHIN, "look at the cameras"):
            connection.execute("LISTEN timeseries_cameras")
    except BaseException:
        connection.close()
        raise
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    return connection
