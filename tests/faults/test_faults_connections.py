"""Connections that are cut, terminated, pooled or waited for: nothing lost, nothing twice.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s -k faults"`
prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from tests.support.bouncer import Bouncer
from tests.support.faults import AT, assert_exactly, opened, port_of, produce, repeated, series, through
from tests.support.proxy import Proxy
from timeseries import OccupancyEvent, Store, WriterFullError

pytestmark = pytest.mark.slow


def test_a_connection_cut_after_commit_was_sent(store: Store) -> None:
    camera = store.cameras.add("lot").id
    commits, armed = 0, False

    def third_commit(data: bytes) -> bool:
        nonlocal commits
        commits += data.count(b"COMMIT")
        return armed and b"COMMIT" in data and commits % 3 == 0

    events = series(camera, 4000)
    with Proxy(port_of(store.url), third_commit) as proxy, opened(through(store.url, proxy.port)) as cut:
        armed = True
        with cut.writer(batch_size=100) as writer:
            produce(writer, events)
        assert writer.state.retries >= 3
        assert_exactly(store.url, events, proxy.cuts, "connection cut after COMMIT")
    assert writer.state.stored + writer.state.duplicates == len(events)


def test_every_backend_is_terminated_again_and_again(store: Store) -> None:
    camera = store.cameras.add("lot").id
    events: list[OccupancyEvent] = []
    terminated, chance = 0, random.Random(7)

    def terminate() -> None:
        nonlocal terminated
        time.sleep(chance.expovariate(10))  # on a busy machine no transaction would end between even strokes
        with psycopg.connect(store.url, application_name="executioner", autocommit=True) as connection:
            terminated += connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'timeseries'"
            ).rowcount

    with store.writer(batch_size=100, flush_interval=0.05) as writer, repeated(terminate, every=0.1):
        while terminated < 20 or writer.state.stored < 1000:
            if writer.state.pending > 1000:
                time.sleep(0.02)
                continue
            more = series(camera, 100, AT + timedelta(seconds=len(events)))
            produce(writer, more)
            events += more
            time.sleep(0.02)
    assert_exactly(store.url, events, terminated, "all backends terminated")


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


@pytest.fixture
def bouncer(database: str) -> Iterator[str]:
    """The database by PgBouncer in transaction mode, with two connections to the server."""
    with Bouncer(port_of(database)) as bouncer:
        yield through(database, bouncer.port)


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
    from timeseries import PoolBusyError

    camera = store.cameras.add("lot").id
    store.pool.timeout = 0.2
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(store.pool.connection())
        with pytest.raises(PoolBusyError):
            store.record(series(camera, 1))
    assert store.record(series(camera, 1)).inserted == 1
