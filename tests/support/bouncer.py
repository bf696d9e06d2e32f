"""PgBouncer before a server of the tests, which can be paused, restarted and given another server."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import pytest

from tests.support.clusters import PASSWORD, free_port, is_root


class Bouncer:
    """In transaction mode, with two connections to the server on this port."""

    def __init__(self, server: int) -> None:
        found = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
        if found is None:
            pytest.skip("needs PgBouncer")
        self._program = found
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="bouncer-"))
        self._folder.chmod(0o777)
        (self._folder / "users.txt").write_text(f'"postgres" "{PASSWORD}"\n')
        self.configure(server)

    def configure(self, server: int) -> None:
        (self._folder / "bouncer.ini").write_text(f"""
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
auth_type = trust
auth_file = {self._folder}/users.txt
admin_users = postgres
pool_mode = transaction
default_pool_size = 2
unix_socket_dir =
""")

    def start(self) -> None:
        as_user: dict[str, Any] = {"user": "nobody"} if is_root() else {}
        self._process = subprocess.Popen(
            [self._program, self._folder / "bouncer.ini"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **as_user,
        )
        for _ in range(100):
            with contextlib.suppress(psycopg.OperationalError):
                self.command("SHOW VERSION")
                return
            time.sleep(0.05)
        raise RuntimeError("PgBouncer does not start")

    def command(self, text: str) -> None:
        """A command of PgBouncer's own console, like PAUSE."""
        url = f"postgresql://postgres@127.0.0.1:{self.port}/pgbouncer"
        with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as console:
            console.execute(text)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)
