"""Faults of servers, networks, disks and processes, and what the writer makes of them: nothing lost, nothing twice.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s
tests/test_faults.py"` prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from conftest import SECRET_KEY, RunningServer
from proxy import Proxy
from servers import Cluster, free_port, is_root

from timeseries import NotStoredError, OccupancyEvent, SpoolError, Store, Writer, WriterFullError, schema
from timeseries.settings import Settings

AT = datetime(2026, 9, 1, tzinfo=UTC)
Key = tuple[UUID, datetime]


def series(camera: UUID, number: int, start: datetime = AT) -> list[OccupancyEvent]:
    return [OccupancyEvent(camera, start + timedelta(seconds=i), i % 50) for i in range(number)]


def stored_keys(url: str) -> list[Key]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT camera_id, timestamp FROM occupancy_events").fetchall()  # type: ignore[return-value]


def assert_exactly(url: str, accepted: list[OccupancyEvent], faults: int, fault: str) -> None:
    """Every accepted event is stored once, and nothing else is."""
    found = stored_keys(url)
    wanted = {(event.camera_id, event.timestamp) for event in accepted}
    lost, doubled, strange = wanted - set(found), len(found) - len(set(found)), set(found) - wanted
    print(f"\n{fault}: {len(wanted):,} events sent, {faults} faults, {len(lost)} lost, {doubled} doubled")
    assert faults > 0
    assert (lost, doubled, strange) == (set(), 0, set())


def opened(url: str) -> Store:
    return Store.open(url, settings=Settings(secret_key=SECRET_KEY))


def through(url: str, port: int) -> str:
    """The same database by another port of this machine."""
    head, tail = url.rsplit("@", 1)
    return f"{head}@127.0.0.1:{port}/{tail.split('/', 1)[1]}"


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/")[0])


@contextlib.contextmanager
def repeated(action: Callable[[], None], every: float) -> Iterator[list[int]]:
    """Do something again and again beside the test; how often is the length of the list."""
    stop, times = threading.Event(), [0]

    def loop() -> None:
        while not stop.wait(every):
            action()
            times[0] += 1

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def own_cluster(server: RunningServer, **settings: str) -> Iterator[Cluster]:
    """A server that the test may harm, migrated, and careful with its disk."""
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may stop")
    cluster = server.found.cluster(fsync="on", full_page_writes="on", **settings)
    try:
        cluster.start()
        schema.migrate(cluster.url())
        yield cluster
    finally:
        cluster.remove()


def produce(writer: Writer, events: list[OccupancyEvent], pause: float = 0.0) -> None:
    for position, event in enumerate(events):
        writer.record(event)
        if pause and position % 100 == 0:
            time.sleep(pause)


def test_a_connection_cut_after_commit_was_sent(store: Store) -> None:
    camera = store.cameras.add("lot").id
    commits = 0

    def third_commit(data: bytes) -> bool:
        nonlocal commits
        commits += data.count(b"COMMIT")
        return b"COMMIT" in data and commits % 3 == 0

    events = series(camera, 4000)
    with Proxy(port_of(store.url), third_commit) as proxy, opened(through(store.url, proxy.port)) as cut:
        with cut.writer(batch_size=100) as writer:
            produce(writer, events)
        assert writer.state.retries >= 3
        assert_exactly(store.url, events, proxy.cuts, "connection cut after COMMIT")
    assert writer.state.stored + writer.state.duplicates == len(events)


def test_every_backend_is_terminated_again_and_again(store: Store) -> None:
    camera = store.cameras.add("lot").id
    events = series(camera, 8000)

    def terminate() -> None:
        with psycopg.connect(store.url, application_name="executioner", autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'timeseries'"
            )

    with repeated(terminate, 0.25) as times, store.writer(batch_size=200) as writer:
        produce(writer, events, pause=0.01)
    assert_exactly(store.url, events, times[0], "all backends terminated")


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


def test_a_server_that_is_away_fills_the_writer_and_then_drains_it(store: Store) -> None:
    camera = store.cameras.add("lot").id
    events = series(camera, 1500)
    accepted = []
    with Proxy(port_of(store.url)) as proxy, opened(through(store.url, proxy.port)) as far:
        with far.writer(batch_size=100, max_pending=1000, on_full="raise") as writer:
            proxy.refusing = True
            proxy.cut_all()
            for event in events:
                with contextlib.suppress(WriterFullError):
                    writer.record(event)
                    accepted.append(event)
            deadline = time.monotonic() + 30
            while writer.state.last_error is None and time.monotonic() < deadline:
                time.sleep(0.1)
            state = writer.state
            assert state.pending == len(accepted) == 1000
            assert state.oldest_seconds is not None
            assert state.oldest_seconds > 1
            assert state.last_error
            proxy.refusing = False
            writer.flush(timeout=60)
        assert_exactly(store.url, accepted, 1, "server away")


SPOOLING = """
import sys
from datetime import datetime, timedelta
from uuid import UUID
from timeseries import OccupancyEvent, Store
from timeseries.settings import Settings

url, path, camera, start = sys.argv[1:5]
store = Store.open(url, settings=Settings())
writer = store.writer(spool=path, batch_size=50, flush_interval=0.05)
for i in range(100_000):
    at = datetime.fromisoformat(start) + timedelta(seconds=i)
    writer.record(OccupancyEvent(UUID(camera), at, i % 50))
    print(at.isoformat(), flush=True)
"""


def test_a_killed_process_leaves_its_spool_to_the_next_writer(store: Store, tmp_path: Path) -> None:
    camera = store.cameras.add("lot").id
    chance = random.Random(7)
    accepted: set[datetime] = set()
    for i in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", SPOOLING, store.url, str(tmp_path / "spool"), str(camera),
             (AT + timedelta(days=i)).isoformat()],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(chance.randrange(50, 400)):
            accepted.add(datetime.fromisoformat(process.stdout.readline().strip()))
        process.send_signal(signal.SIGKILL)
        accepted |= {datetime.fromisoformat(line.strip()) for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
    with store.writer(spool=tmp_path / "spool"):
        pass
    found = stored_keys(store.url)
    times = {at for _, at in found}
    print(f"\nprocess killed: {len(accepted):,} events accepted, 4 faults, {len(accepted - times)} lost")
    assert len(found) == len(times)
    assert accepted <= times
    assert len(times - accepted) <= 4  # accepted, and killed before it could say so


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = Path(tempfile.mkdtemp(prefix="small-"))
    if (
        not is_root()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
        ).returncode
    ):
        folder.rmdir()
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_refuses_events_loudly_and_keeps_the_others(store: Store, small_disk: Path) -> None:
    camera = store.cameras.add("lot").id
    accepted, refused = [], 0
    writer = store.writer(spool=small_disk / "spool", batch_size=1000, flush_interval=3600)
    for event in series(camera, 400):
        event = OccupancyEvent(camera, event.timestamp, event.occupied_count, {"boxes": "x" * 5000})
        try:
            writer.record(event)
            accepted.append(event)
        except SpoolError:
            refused += 1
    assert accepted
    with contextlib.suppress(NotStoredError, SpoolError):
        writer.close()
    assert_exactly(store.url, accepted, refused, "disk of the spool full")


def test_a_promoted_standby_takes_over(server: RunningServer) -> None:
    with own_cluster(server, wal_level="replica", max_wal_senders="4", hot_standby="on") as primary:
        standby = copy_as_standby(primary)
        try:
            standby.start()
            both = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/postgres"
            with opened(both) as store:
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


def copy_as_standby(primary: Cluster) -> Cluster:
    standby = Cluster.__new__(Cluster)
    standby.bin_folder, standby.settings, standby.root = primary.bin_folder, {}, primary.root
    standby.port = free_port()
    standby.folder = primary.folder / "standby"
    primary.run(
        primary.bin_folder / "pg_basebackup", "-h", "127.0.0.1", "-p", primary.port, "-U", "postgres",
        "-R", "-X", "stream",
        "-c", "fast", "-D", primary.inside(standby.data),
    )  # fmt: skip
    standby.configure(port=str(standby.port))
    return standby


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


@pytest.fixture
def bouncer(database: str) -> Iterator[str]:
    """The database by PgBouncer in transaction mode, with two connections to the server."""
    program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        pytest.skip("needs PgBouncer")
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="bouncer-"))
    folder.chmod(0o777)
    (folder / "users.txt").write_text('"postgres" ""\n')
    (folder / "bouncer.ini").write_text(f"""
[databases]
* = host=127.0.0.1 port={port_of(database)}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 2
unix_socket_dir =
""")
    as_user: dict[str, Any] = {"user": "nobody"} if is_root() else {}
    process = subprocess.Popen(
        [program, folder / "bouncer.ini"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user
    )
    try:
        url = through(database, port)
        for _ in range(100):
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url):
                break
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def test_pgbouncer_in_transaction_mode_may_stand_in_between(database: str, bouncer: str) -> None:
    with opened(bouncer) as store:
        camera = store.cameras.add("lot").id
        events = series(camera, 2000)
        store.record(events[:700])
        with store.writer(batch_size=100) as writer:
            threads = [threading.Thread(target=produce, args=(writer, events[i::4])) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert writer.state.duplicates == 700
    assert_exactly(database, events, 1, "PgBouncer in between")


def test_waiting_for_a_connection_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from timeseries import ServerUnavailableError

    camera = store.cameras.add("lot").id
    store.pool.timeout = 0.2
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(store.pool.connection())
        with pytest.raises(ServerUnavailableError):
            store.record(series(camera, 1))
    assert store.record(series(camera, 1)).inserted == 1
