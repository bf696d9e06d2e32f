"""Silence for the tests to inject: packets that are lost, servers that are frozen. Each is taken back at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support.clusters import Cluster, is_root

SELECT_PORTS = """
    SELECT client_port FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'timeseries'
"""
BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'timeseries' AND wait_event_type = 'Lock'
"""


@contextlib.contextmanager
def lost_packets(*ports: int, share: float = 1.0) -> Iterator[None]:
    """All packets from and to these ports of this machine are lost, or a share of them: on loopback where they arrive,
    and on the bridge to a container where they leave, too.
    """
    if not is_root() or shutil.which("iptables") is None:
        pytest.skip("needs the right to drop packets, and iptables")
    some = ["-m", "statistic", "--mode", "random", "--probability", str(share)] if share < 1 else []
    rules = [
        [*chain, "-p", "tcp", f"--{end}", str(port), *some, "-j", "DROP"]
        for chain in (["INPUT"], ["OUTPUT", "!", "-o", "lo"])
        for port in ports
        for end in ("sport", "dport")
    ]
    with contextlib.ExitStack() as stack:
        for rule in rules:
            if subprocess.run(["iptables", "-w", "-I", *rule], capture_output=True).returncode:
                pytest.skip("needs the right to drop packets")
            stack.callback(subprocess.run, ["iptables", "-w", "-D", *rule], check=True)
        yield


def client_ports(url: str) -> list[int]:
    """The ports of the store's connections to this database."""
    with psycopg.connect(url) as connection:
        return [port for (port,) in connection.execute(SELECT_PORTS).fetchall()]


@contextlib.contextmanager
def frozen(cluster: Cluster) -> Iterator[None]:
    """Every process of a server stands still: the kernel goes on accepting connections and acknowledging packets."""
    processes = cluster.processes()
    try:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def wait_until(true: Callable[[], object], within: float) -> float:
    """Seconds until it was true."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < within
        time.sleep(0.05)
    return time.monotonic() - start


@contextlib.contextmanager
def call_under_way(url: str) -> Iterator[Callable[[], float]]:
    """Events that are stored in this block wait for a lock until its end; the function waits until they do."""
    with psycopg.connect(url) as blocker, psycopg.connect(url, autocommit=True) as watcher:
        blocker.execute("LOCK TABLE public.occupancy_events IN SHARE MODE")
        yield lambda: wait_until(lambda: watcher.execute(BLOCKED).fetchone() != (0,), 20)
