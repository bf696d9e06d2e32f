"""What listens is no server, a name moves, a pooler stands in between, a clock jumps: nothing lost, nothing twice.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s -k faults"`
prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO
from uuid import UUID

import psycopg
import pytest

import analytics
from tests.support import brute_force
from tests.support.bouncer import Bouncer
from tests.support.clusters import Cluster, is_root
from tests.support.faults import AT, assert_exactly, migrated_data, opened, own_cluster, produce, series, through
from tests.support.network import wait_until
from tests.support.servers import RunningServer
from tests.support.standby import primary_and_standby, wait_for_standby
from timeseries import OccupancyEvent, ServerKind, ServerUnavailableError, Store

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """The port of something that is no PostgreSQL: it says this to each client, and nothing more."""
    clients: list[socket.socket] = []

    def greet(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                clients.append(listener.accept()[0])
                clients[-1].sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet, args=[listener], daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for client in clients:
                client.close()


@pytest.mark.parametrize(
    "answer", [b"", b"S", b"G", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["", "TLS", "GSS", "HTTP"]
)
def test_what_is_no_server_is_named_within_the_connect_timeout(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeseries.database.connections.WAIT_FOR_CONNECTION", 1.0)
    with stranger(answer) as port:
        url = f"postgresql://postgres:secret@127.0.0.1:{port}/parking?connect_timeout=2"
        for ask in (lambda: Store.open(url), lambda: analytics.latest(url=url)):
            start = time.monotonic()
            with pytest.raises(ServerUnavailableError, match="cannot be reached") as raised:
                ask()
            print(f"\n{answer!r}: after {time.monotonic() - start:.1f} s: {raised.value}")
            assert time.monotonic() - start < 12
            assert "secret" not in str(raised.value)


FOLLOW = """
import sys, time
from datetime import timedelta
import analytics
from tests.support.faults import AT, series
from timeseries import ServerUnavailableError, Store
while True:
    try:
        store = Store.open(sys.argv[1])
        break
    except ServerUnavailableError as error:
        print("refused", error, flush=True)
lot = store.cameras.get("lot").id
with store.writer(flush_interval=0.05) as writer:
    for line in sys.stdin:
        for event in series(lot, 100, AT + timedelta(hours=int(line))):
            writer.record(event)
        while len(writer):
            print("waiting", writer.state.last_error, flush=True)
            time.sleep(0.5)
        print("stored", len(analytics.latest(url=sys.argv[1])), flush=True)
"""
WITH_OWN_HOSTS = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/nsswitch" /etc/nsswitch.conf && exec "$@"'


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """A file of host names for a process with a mount namespace of its own."""
    if not is_root() or shutil.which("unshare") is None:
        pytest.skip("needs the right to make a mount namespace")
    (tmp_path / "nsswitch").write_text("hosts: files\n")
    (tmp_path / "hosts").write_text("")
    if subprocess.run(["unshare", "-m", "sh", "-c", WITH_OWN_HOSTS, tmp_path, "true"]).returncode:
        pytest.skip("needs the right to make a mount namespace")
    return tmp_path / "hosts"


def test_a_name_is_resolved_anew_at_each_try(server: RunningServer, hosts: Path) -> None:
    with own_cluster(server, listen_addresses="127.0.0.1,127.0.0.2") as cluster:
        with opened(cluster.url()) as store:
            camera = store.cameras.add("lot").id
        url = cluster.url().replace("127.0.0.1", "parking.test")
        words: list[str | Path] = [
            "unshare",
            "-m",
            "sh",
            "-c",
            WITH_OWN_HOSTS,
            hosts.parent,
            sys.executable,
            "-c",
            FOLLOW,
            url,
        ]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            assert "parking.test" in child.stdout.readline()
            hosts.write_text("127.0.0.1 parking.test\n")
            tell(child.stdin, 1)
            assert line_of(child.stdout, "stored") == "stored 1"
            hosts.write_text("")
            cluster.stop()
            cluster.configure(listen_addresses="127.0.0.2")
            cluster.start()
            tell(child.stdin, 2)
            assert "parking.test" in line_of(child.stdout, "waiting Serv")
            hosts.write_text("127.0.0.2 parking.test\n")
            assert line_of(child.stdout, "stored") == "stored 1"
            child.stdin.close()
            assert child.wait(30) == 0
        events = [event for hour in (1, 2) for event in series(camera, 100, AT + timedelta(hours=hour))]
        assert_exactly(cluster.url().replace("127.0.0.1", "127.0.0.2"), events, 2, "a name that moved")


def tell(stdin: IO[str], hour: int) -> None:
    stdin.write(f"{hour}\n")
    stdin.flush()


def line_of(stdout: IO[str], beginning: str) -> str:
    """The next line that begins so."""
    return next(line for line in stdout if line.startswith(beginning)).strip()


def test_a_paused_and_restarted_pooler_and_a_replaced_server_make_the_writer_wait(server: RunningServer) -> None:
    with (
        primary_and_standby(server) as (primary, standby),
        Bouncer(primary.port) as bouncer,
        opened(through(primary.url(), bouncer.port)) as store,
    ):
        events = series(store.cameras.add("lot").id, 1000)
        with store.writer(flush_interval=0.05, deadline=3) as writer:
            bouncer.command("PAUSE")
            produce(writer, events[:400])
            wait_until(lambda: "silent" in str(writer.state.last_error), 15)
            bouncer.command("RESUME")
            writer.flush(60)
            bouncer.stop()
            produce(writer, events[400:700])
            wait_until(lambda: "refused" in str(writer.state.last_error), 15)
            bouncer.start()
            writer.flush(60)
            wait_for_standby(primary, standby)
            primary.kill()
            produce(writer, events[700:])
            standby.promote()
            bouncer.configure(standby.port)
            bouncer.command("RELOAD")
            writer.flush(60)
        assert_exactly(standby.url(), events, 3, "PgBouncer paused, restarted, server replaced")


SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
JOBS = """
    SELECT job_id FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_refresh_continuous_aggregate' ORDER BY job_id
"""


@pytest.fixture
def clock(server: RunningServer) -> Iterator[Cluster]:
    """A migrated server whose clock can be set."""
    if server.found.cluster is None:
        pytest.skip("needs a server whose clock the test may set")
    cluster = server.found.cluster(seed=migrated_data(server))
    try:
        if not cluster.set_clock(timedelta(0)):
            pytest.skip("needs libfaketime")
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def test_a_clock_that_jumps_forth_and_back_loses_no_event_and_spoils_no_average(clock: Cluster) -> None:
    now = datetime.now(UTC)
    events: list[OccupancyEvent] = []
    with opened(clock.url()) as store:
        camera = store.cameras.add("lot").id
        with store.writer(flush_interval=0.05) as writer:
            for back, first, last in ((0, 30, 3), (-1, 3, 1), (0, 1, 0)):
                clock.set_clock(back * HOUR)
                more = [OccupancyEvent(camera, now - minutes * 60 * SECOND, minutes % 50)
                        for minutes in range(first * 60, last * 60, -7)]  # fmt: skip
                produce(writer, more)
                writer.flush(30)
                run_refresh(store)
                events += more
            late = [OccupancyEvent(camera, event.timestamp + SECOND, 7) for event in events[::5]]
            produce(writer, late)
            writer.flush(30)
        assert (writer.state.rejected, writer.state.retries) == (0, 0)
        run_refresh(store)
        assert_exactly(store.url, events + late, 2, "clock an hour forth and back")
        check_hours(store, camera, events + late, now)


def run_refresh(store: Store) -> None:
    if store.server().kind is ServerKind.COMMUNITY:
        with psycopg.connect(store.url, autocommit=True) as operator:
            for job in operator.execute(JOBS).fetchall():
                operator.execute("CALL run_job(%s)", job)


def check_hours(store: Store, camera: UUID, events: list[OccupancyEvent], now: datetime) -> None:
    end = now.replace(minute=0, second=0, microsecond=0)
    start = end - 30 * HOUR
    wanted = brute_force.answer(
        [event.timestamp for event in events], [event.occupied_count for event in events], start=start, end=end,
        labels=[quarter.replace(minute=0) for quarter in brute_force.quarters(start, end)],
    )  # fmt: skip
    with psycopg.connect(store.url) as connection:
        connection.execute("SET timezone = 'UTC'")
        found = connection.execute(
            "SELECT bucket, occupied_avg, samples FROM occupancy_hours(%s, %s, %s) ORDER BY bucket",
            [[camera], start, end],
        ).fetchall()
    assert [(bucket, samples) for bucket, _, samples in found] == [
        (key, known.samples) for key, known in wanted.items()
    ]
    assert [average for _, average, _ in found] == pytest.approx([known.average for known in wanted.values()])
