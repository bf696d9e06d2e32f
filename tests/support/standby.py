"""A standby of a test's own server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psycopg

from tests.support.clusters import Cluster, free_port
from tests.support.faults import own_cluster
from tests.support.servers import RunningServer


def copy_as_standby(primary: Cluster) -> Cluster:
    standby = Cluster.__new__(Cluster)
    standby.bin_folder, standby.settings, standby.root = primary.bin_folder, {}, primary.root
    standby.port, standby.environment = free_port(), dict(primary.environment)
    standby.folder = primary.folder / "standby"
    primary.run(
        primary.bin_folder / "pg_basebackup", "-d", primary.url(),
        "-R", "-X", "stream", "-c", "fast", "-D", primary.inside(standby.data),
    )  # fmt: skip
    standby.configure(port=str(standby.port))
    return standby


@contextlib.contextmanager
def primary_and_standby(server: RunningServer) -> Iterator[tuple[Cluster, Cluster]]:
    with own_cluster(server, wal_level="replica", max_wal_senders="4", hot_standby="on") as primary:
        standby = copy_as_standby(primary)
        try:
            standby.start()
            yield primary, standby
        finally:
            standby.remove()


def wait_for_standby(primary: Cluster, standby: Cluster) -> None:
    with psycopg.connect(primary.url()) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    assert row is not None
    with psycopg.connect(standby.url(), autocommit=True) as connection:
        for _ in range(300):
            if connection.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone() == (True,):
                return
            time.sleep(0.05)
    raise AssertionError("the standby does not follow")
