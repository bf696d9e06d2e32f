"""A TCP proxy between a client and a server that cuts connections at chosen moments."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

Cut = Callable[[bytes], bool]
CLOSED = (OSError, ValueError)  # select() raises ValueError for a socket that another thread closed


class Proxy:
    """Forwards to a port of this machine. `cut` sees what the client sends; where it says so, the data still reaches
    the server, and the connection is gone before the answer can come back. While `refusing`, nobody gets through. With
    a `rate` in bytes a second and a `delay` in seconds it is a slow link, whose buffers are small. `connections` and
    `received` count what was let through, and the bytes that came back.
    """

    def __init__(
        self, port: int, cut: Cut = lambda data: False, *, rate: float = float("inf"), delay: float = 0.0
    ) -> None:
        self._target = port
        self._cut = cut
        self._rate, self._delay = rate, delay
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._block = 1 << (16 if rate == float("inf") else 13)
        if rate < float("inf"):
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._block)
        self.port: int = self._listener.getsockname()[1]
        self.cuts = self.connections = self.received = 0
        self.refusing = False
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        for connection in list(self._open):
            self._close(connection)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target), timeout=10)
                except OSError:  # the server is away
                    client.close()
                    continue
                server.settimeout(None)
                self.connections += 1
                self._open |= {client, server}
                threading.Thread(target=self._upstream, args=(client, server), daemon=True).start()
                threading.Thread(target=self._downstream, args=(client, server), daemon=True).start()

    def _upstream(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(*CLOSED):
            while data := self._receive(client):
                cut = self._cut(data)
                if cut:
                    self.cuts += 1
                    self._close(client)
                server.sendall(data)
                if cut:
                    server.shutdown(socket.SHUT_WR)  # the server reads to the end, and commits
                    return
        self._close(client, server)

    def _downstream(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(*CLOSED):
            while data := self._receive(server):
                self.received += len(data)
                client.sendall(data)
        self._close(client, server)

    def _receive(self, connection: socket.socket) -> bytes:
        quiet = not select.select([connection], [], [], 0)[0]
        data = connection.recv(self._block)
        time.sleep(len(data) / self._rate + quiet * self._delay)
        return data

    def _close(self, *connections: socket.socket) -> None:
        for connection in connections:
            self._open.discard(connection)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
