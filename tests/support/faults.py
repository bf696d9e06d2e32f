"""Faults for the tests to inject, and the count of what was lost or doubled."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from tests.support.clusters import Cluster
from tests.support.keys import SECRET_KEY
from tests.support.servers import RunningServer
from timeseries import OccupancyEvent, ServerKind, Store, Writer
from timeseries.database.retries import LOCKED
from timeseries.schema import migrations
from timeseries.settings import Settings

AT = datetime(2026, 9, 1, tzinfo=UTC)
Key = tuple[UUID, datetime]


def series(camera: UUID, number: int, start: datetime = AT) -> list[OccupancyEvent]:
    return [OccupancyEvent(camera, start + timedelta(seconds=i), i % 50) for i in range(number)]


def stored_keys(url: str) -> list[Key]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT camera_id, timestamp FROM occupancy_events").fetchall()


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
def repeated(*actions: Callable[[], object], every: float = 0.0) -> Iterator[list[int]]:
    """Do each of these in a thread of its own, again and again beside the block; the number says how often in all. What
    fails for a lock is tried again, as a job is; any other error is raised at the end.
    """
    stop, times, failures = threading.Event(), [0], list[Exception]()

    def loop(action: Callable[[], object]) -> None:
        try:
            while not stop.wait(every):
                with contextlib.suppress(*LOCKED):
                    action()
                    times[0] += 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=loop, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield times
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


@contextlib.contextmanager
def own_cluster(server: RunningServer, **settings: str) -> Iterator[Cluster]:
    """A server that the test may harm, migrated, and careful with its disk."""
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may stop")
    cluster = server.found.cluster(seed=migrated_data(server), fsync="on", full_page_writes="on", **settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


MIGRATED: dict[ServerKind, Path] = {}


def migrated_data(server: RunningServer) -> Path:
    """The data folder of a migrated cluster of this kind, made once."""
    if server.kind not in MIGRATED:
        assert server.found.cluster is not None
        cluster = server.found.cluster()
        cluster.start()
        migrations.migrate(cluster.url())
        MIGRATED[server.kind] = cluster.keep_data()
    return MIGRATED[server.kind]


def produce(writer: Writer, events: list[OccupancyEvent], pause: float = 0.0) -> None:
    for position, event in enumerate(events):
        writer.record(event)
        if pause and position % 100 == 0:
            time.sleep(pause)
