"""Servers that are killed, stopped, replaced or full: nothing lost, nothing twice.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s -k faults"`
prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.clusters import Cluster, is_root
from tests.support.faults import AT, assert_exactly, opened, own_cluster, produce, series
from tests.support.servers import RunningServer
from tests.support.standby import copy_as_standby, wait_for_standby
from timeseries import OccupancyEvent, ServerKind, Store
from timeseries.schema import migrations

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("way", ["kill", "fast"])
def test_the_server_restarts_under_load(server: RunningServer, way: str) -> None:
    with own_cluster(server) as cluster, opened(cluster.url()) as store:
        camera = store.cameras.add("lot").id
        events = series(camera, 6000)
        with store.writer(batch_size=200) as writer:
            producer = threading.Thread(target=produce, args=(writer, events, 0.05))
            producer.start()
            restarts = 0
            while producer.is_alive() and restarts < 3:
                time.sleep(0.7)
                cluster.kill() if way == "kill" else cluster.stop("fast")
                cluster.start()
                restarts += 1
            producer.join()
        assert_exactly(cluster.url(), events, restarts, f"server restarted, {way}")


def test_what_an_operator_can_mend_makes_the_writer_wait(store: Store) -> None:
    events = series(store.cameras.add("lot").id, 500)
    with psycopg.connect(store.url, autocommit=True) as operator, store.writer(flush_interval=0.05) as writer:
        operator.execute("ALTER SCHEMA timeseries RENAME TO hidden")
        produce(writer, events)
        while writer.state.retries < 2:
            time.sleep(0.05)
        assert "NotMigratedError" in str(writer.state.last_error)
        operator.execute("ALTER SCHEMA hidden RENAME TO timeseries")
        writer.flush(60)
        assert writer.state.rejected == 0
        assert_exactly(store.url, events, writer.state.retries, "schema renamed and named back")


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_licence_that_forbids_every_insert_makes_the_writer_wait(server: RunningServer) -> None:
    with own_cluster(server) as cluster, opened(cluster.url()) as store:
        events = series(store.cameras.add("lot").id, 500)
        with store.writer(flush_interval=0.05, batch_size=100) as writer:
            restart(cluster, "apache")
            produce(writer, events)
            while writer.state.retries < 3 or "FeatureNotSupported" not in str(writer.state.last_error):
                time.sleep(0.05)
            assert (writer.state.pending, writer.state.rejected) == (500, 0)
            restart(cluster, "timescale")
            writer.flush(60)
        assert writer.state.rejected == 0
        assert_exactly(cluster.url(), events, 2, "licence changed and changed back")


def restart(cluster: Cluster, licence: str) -> None:
    cluster.stop()
    cluster.configure(**{"timescaledb.license": licence})
    cluster.start()


def test_what_record_acknowledged_survives_a_killed_server(server: RunningServer) -> None:
    with own_cluster(server) as cluster, opened(cluster.url()) as store:
        camera = store.cameras.add("lot").id
        accepted: list[OccupancyEvent] = []
        for i in range(3):
            events = series(camera, 500, AT + timedelta(days=i))
            assert store.record(events).inserted == 500
            accepted += events
            cluster.kill()
            cluster.start()
        assert_exactly(cluster.url(), accepted, 3, "server killed after record")


def test_a_promoted_standby_takes_over(server: RunningServer) -> None:
    with own_cluster(server, wal_level="replica", max_wal_senders="4", hot_standby="on") as primary:
        standby = copy_as_standby(primary)
        try:
            standby.start()
            with opened(standby.url(beside=primary)) as store:
                camera = store.cameras.add("lot").id
                events = series(camera, 3000)
                with store.writer(batch_size=100) as writer:
                    produce(writer, events[:1500])
                    writer.flush()
                    wait_for_standby(primary, standby)
                    primary.kill()
                    producer = threading.Thread(target=produce, args=(writer, events[1500:]))
                    producer.start()
                    time.sleep(0.5)
                    standby.promote()
                    producer.join()
                assert_exactly(standby.url(), events, 1, "primary killed, standby promoted")
        finally:
            standby.remove()


@pytest.fixture
def small_tablespace(server: RunningServer) -> Iterator[tuple[Cluster, Path]]:
    """A server whose tables lie on a disk of 48 megabytes, its log of transactions elsewhere."""
    if server.found.cluster is None or not is_root():
        pytest.skip("needs the right to mount a tmpfs, and a server of the tests' own")
    cluster = server.found.cluster(fsync="on", default_tablespace="small")
    folder = cluster.folder / "small"
    folder.mkdir()
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        shutil.chown(folder, *cluster.data.stat()[4:6])
        cluster.start()
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{cluster.inside(folder)}'")
        migrations.migrate(cluster.url())
        yield cluster, folder
    finally:
        with contextlib.suppress(RuntimeError):  # it may not have started
            cluster.stop("immediate")
        subprocess.run(["umount", "-l", folder], capture_output=True)
        cluster.remove()


def test_a_full_disk_of_the_server_makes_the_writer_wait(small_tablespace: tuple[Cluster, Path]) -> None:
    cluster, folder = small_tablespace
    filler = folder / "filler"
    with opened(cluster.url()) as store:
        events = series(store.cameras.add("lot").id, 3000)
        with store.writer(batch_size=500, flush_interval=0.05) as writer:
            with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while file.write(bytes(4096)):
                    pass
            produce(writer, events)
            while writer.state.retries < 3:
                time.sleep(0.05)
            assert writer.state.pending
            assert "No space left on device" in str(writer.state.last_error)
            filler.unlink()
        assert_exactly(cluster.url(), events, writer.state.retries, "disk of the server full")
