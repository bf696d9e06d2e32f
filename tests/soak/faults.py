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
from tests.support.network import frozen, lost_packets

TERMINATE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Faults:
    """What can be done to this server and its clients, and how often it was."""

    def __init__(
        self,
        cluster: Cluster,
        bouncer: Bouncer | None,
        processes: list[SpoolingProcess],
        chance: random.Random,
        longest: float,
    ) -> None:
        """No silence lasts for more than `longest` seconds."""
        self._cluster, self._bouncer, self._processes, self._chance = cluster, bouncer, processes, chance
        self._longest = longest
        self._kinds: dict[str, Callable[[], None]] = {
            "server killed": self.kill_server,
            "server stopped": self.stop_server,
            "backends terminated": self.terminate,
            "server frozen": self.freeze,
            "writer killed": self.kill_writer,
        }
        if bouncer is not None:
            self._kinds["PgBouncer restarted"] = self.restart_bouncer
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
        with frozen(self._cluster):
            time.sleep(self._chance.uniform(0.5, self._longest))

    def drop_packets(self) -> None:
        with lost_packets(self._cluster.port):
            time.sleep(self._chance.uniform(0.5, self._longest))

    def restart_bouncer(self) -> None:
        assert self._bouncer is not None
        self._bouncer.stop()
        self._bouncer.start()

    def kill_writer(self) -> None:
        process = self._chance.choice(self._processes)
        process.kill()
        process.begin()


def may_drop_packets() -> bool:
    if not is_root() or shutil.which("iptables") is None:
        return False
    return subprocess.run(["iptables", "-w", "-S", "INPUT"], capture_output=True).returncode == 0
