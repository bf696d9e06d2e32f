"""The faults of a soak. Each is taken back when it ends, also where Ctrl-C ends it."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable

import psycopg

from tests.soak.life import SpoolingProcess
from tests.support.bouncer import Bouncer
from tests.support.clusters import Cluster, is_root

TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Faults:
    """What can be done to this server and its clients, and how often it was."""

    def __init__(
        self, cluster: Cluster, bouncer: Bouncer | None, processes: list[SpoolingProcess], chance: random.Random
    ) -> None:
        self._cluster, self._bouncer, self._processes, self._chance = cluster, bouncer, processes, chance
        self._kinds: dict[str, Callable[[], None]] = {
            "server killed": self.kill_server,
            "server stopped": self.stop_server,
            "backends terminated": self.terminate,
            "server frozen": self.freeze,
            "writer killed": self.kill_writer,
        }
        if bouncer is not None:
            self._kinds["PgBouncer killed"] = self.kill_bouncer
        if may_drop_packets():
            self._kinds["packets dropped"] = self.drop_packets
        self.done = dict.fromkeys(self._kinds, 0)

    def inject(self) -> None:
        name = self._chance.choice(list(self._kinds))
        self._kinds[name]()
        self.done[name] += 1

    def kill_server(self) -> None:
        self._cluster.kill()
        self._cluster.start()

    def stop_server(self) -> None:
        self._cluster.stop("fast")
        self._cluster.start()

    def terminate(self) -> None:
        with psycopg.connect(self._cluster.url(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(TERMINATE)

    def freeze(self) -> None:
        with self._cluster.frozen():
            time.sleep(self._chance.uniform(0.5, 3))

    def drop_packets(self) -> None:
        with dropped_packets(self._cluster.port):
            time.sleep(self._chance.uniform(0.5, 3))

    def kill_bouncer(self) -> None:
        assert self._bouncer is not None
        self._bouncer.kill()
        self._bouncer.start()

    def kill_writer(self) -> None:
        process = self._chance.choice(self._processes)
        process.kill()
        process.begin()


def iptables(*words: str) -> int:
    """Not reached by a Ctrl-C of the terminal."""
    return subprocess.run(["iptables", "-w", *words], capture_output=True, start_new_session=True).returncode


def may_drop_packets() -> bool:
    return is_root() and shutil.which("iptables") is not None and iptables("-S", "INPUT") == 0
