"""Connections that do not wait for ever: a call over which no byte moves ends at its deadline, by the client's clock.

The server's own limits end nothing where the network drops its answer, or where it is frozen itself.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import make_conninfo

from timeseries.deadline import Deadline, GivenUpError, Watch, current
from timeseries.settings import CALL_DEADLINE, CALL_DEADLINE_VARIABLE

Result = TypeVar("Result")
ANSWER_WITHIN = 5  # seconds for a server that is asked whether it answers
INTERRUPTED = 2.0  # seconds for a server to cancel what Ctrl-C ended
# struct tcp_info of Linux: tcpi_bytes_acked and tcpi_bytes_received, which repeated packets and probes do not change
BYTES = struct.Struct("=QQ")
BYTES_OFFSET = 120


class SilentServerError(psycopg.OperationalError):
    """The call was given up, and its connection is closed."""


class WatchedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose calls are bounded by the deadline of the thread, else by its own."""

    deadline: float = CALL_DEADLINE.total_seconds()

    def wait(self, gen: PQGen[Result], *args: Any, **options: Any) -> Result:
        """Called by psycopg for all that waits for the server, but for connecting, which has its own limit."""
        deadline = current() or Deadline(self.deadline, CALL_DEADLINE_VARIABLE)
        try:
            return super().wait(self._watched(gen, deadline), *args, **options)
        except GivenUpError as error:
            self.close()
            raise SilentServerError(str(error)) from error

    def _watched(self, gen: PQGen[Result], deadline: Deadline) -> PQGen[Result]:
        """psycopg sends what is ready; ten times a second that nothing is; None where it waits again after Ctrl-C."""
        watch = Watch(deadline, lambda: bytes_moved(self.fileno()), lambda: answers(same_server(self.info)))
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    watch.heard()
                elif ready is None:
                    watch = self._last_watch()
                else:
                    watch.look()
                wanted = gen.send(ready)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _last_watch(self) -> Watch:
        return Watch(Deadline(INTERRUPTED, "Ctrl-C"), lambda: None, lambda: True)

    def cancel_safe(self, *, timeout: float = INTERRUPTED) -> None:
        super().cancel_safe(timeout=min(timeout, INTERRUPTED))


def bytes_moved(file: int) -> tuple[int, int] | None:
    """Bytes that the other side acknowledged and sent; None where it is no TCP, or the system is not Linux."""
    if sys.platform != "linux":
        return None
    try:
        with socket.socket(fileno=os.dup(file)) as copy:
            info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, BYTES_OFFSET + BYTES.size)
    except OSError:
        return None
    return BYTES.unpack_from(info, BYTES_OFFSET) if len(info) == BYTES_OFFSET + BYTES.size else None


def sockets_with(user_timeout: int) -> Iterator[socket.socket]:
    """Copies of the sockets of this process that have this tcp_user_timeout, in milliseconds, each for one step of the
    loop: the driver of ADBC does not show its own. None are found where the system is not Linux.
    """
    for entry in Path("/proc/self/fd").iterdir() if sys.platform == "linux" else ():
        with suppress(OSError):
            if entry.readlink().name.startswith("socket:"):
                with socket.socket(fileno=os.dup(int(entry.name))) as copy:
                    if _user_timeout(copy) == user_timeout:
                        yield copy


def _user_timeout(found: socket.socket) -> int | None:
    try:
        return found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    except OSError:  # no TCP
        return None


def same_server(info: psycopg.ConnectionInfo) -> str:
    """The one of several hosts that a connection has, without the password: to be turned away is an answer, too."""
    return make_conninfo(info.dsn, host=info.host, hostaddr=info.hostaddr or None, port=info.port)


def answers(conninfo: str) -> bool:
    """Whether a new connection gets any answer. False only for silence, because a refusal ends the old one, too."""
    try:
        psycopg.connect(conninfo, connect_timeout=ANSWER_WITHIN, target_session_attrs="any").close()
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        return True
    return True
