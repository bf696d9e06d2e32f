"""Networks and servers that say nothing: every wait is bounded by the client's clock, and seen while it lasts.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s -k faults"`
prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

import analytics
from analytics import arrow_client, session
from tests.support.faults import assert_exactly, opened, own_cluster, port_of, produce, series, through
from tests.support.network import call_under_way, client_ports, lost_packets, wait_until
from tests.support.proxy import Proxy
from tests.support.servers import RunningServer
from timeseries import (
    ConfigurationError,
    NotStoredError,
    OccupancyEvent,
    ServerUnavailableError,
    Store,
    WriterFullError,
)
from timeseries.writer.spool import Spool

pytestmark = pytest.mark.slow
SLEEP = "SELECT pg_sleep(3)::text AS slept"


@pytest.mark.parametrize(("moment", "deadline"), [("idle", 3.0), ("waiting", 3.0), ("waiting", None)])
def test_a_connection_whose_packets_are_lost_is_replaced(store: Store, moment: str, deadline: float | None) -> None:
    camera = store.cameras.add("lot").id
    events = series(camera, 1000)
    with store.writer(flush_interval=0.05, deadline=deadline) as writer, contextlib.ExitStack() as stack:
        produce(writer, events[:500])
        writer.flush(30)
        if moment == "idle":
            stack.enter_context(lost_packets(*client_ports(store.url)))
            produce(writer, events[500:])
        else:
            with call_under_way(store.url) as reached:
                produce(writer, events[500:])
                reached()
                stack.enter_context(lost_packets(*client_ports(store.url)))
        start = time.monotonic()
        seen = wait_until(lambda: writer.state.last_error, 15)
        assert writer.state.pending == 500
        assert (writer.state.silent_seconds or 0) > 0.5
        writer.flush(60)
        print(f"\n{moment}: seen after {seen:.1f} s, stored after {time.monotonic() - start:.1f} s")
    assert_exactly(store.url, events, 1, f"packets lost, {moment}")


@pytest.mark.parametrize("deadline", ["3 seconds", ""])
def test_an_answer_comes_by_a_new_connection_where_packets_are_lost(
    store: Store, deadline: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TIMESERIES_CALL_DEADLINE", deadline)
    store.cameras.add("lot")
    assert len(analytics.latest(url=store.url)) == 1
    with lost_packets(*client_ports(store.url)):
        time.sleep(session.IDLE)  # a connection that answered just now is not checked
        start = time.monotonic()
        assert len(analytics.latest(url=store.url)) == 1
        took = time.monotonic() - start
    print(f"\nanswered after {took:.1f} s: {caplog.messages}")
    assert took < (10 if deadline else 60)
    assert "silent" in caplog.text


def test_an_answer_that_is_given_up_names_its_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMESERIES_CALL_DEADLINE", "1 second")
    with pytest.raises(ServerUnavailableError, match=r"silent for 1 seconds.*TIMESERIES_CALL_DEADLINE"):
        arrow_client.fetch(SLEEP, {}, store.url)
    monkeypatch.setenv("TIMESERIES_CALL_DEADLINE", "1 minute")
    assert arrow_client.fetch(SLEEP, {}, store.url).num_rows == 1


@contextlib.contextmanager
def ctrl_c(after: float) -> Iterator[None]:
    timer = threading.Timer(after, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        yield
    timer.join()


def test_ctrl_c_ends_an_answer_and_a_statement_of_a_silent_server(store: Store) -> None:
    store.cameras.list()
    analytics.latest(url=store.url)
    with contextlib.ExitStack() as stack:
        stack.enter_context(lost_packets(*client_ports(store.url)))
        for call in (partial(analytics.latest, url=store.url), store.cameras.list):
            start = time.monotonic()
            with ctrl_c(0.5):
                call()
            assert time.monotonic() - start < 6
    assert len(store.cameras.list()) == len(analytics.latest(url=store.url)) == 0


def test_a_network_that_is_away_for_long_fills_the_writer_and_then_drains_it(server: RunningServer) -> None:
    with own_cluster(server) as cluster, opened(cluster.url()) as store:
        events = series(store.cameras.add("lot").id, 2000)
        accepted: list[OccupancyEvent] = []
        with store.writer(batch_size=100, max_pending=1000, on_full="raise", deadline=2) as writer:
            produce(writer, events[:100])
            writer.flush(30)
            with lost_packets(cluster.port):
                end = time.monotonic() + 25
                for event in events[100:]:
                    with contextlib.suppress(WriterFullError):
                        writer.record(event)
                        accepted.append(event)
                wait_until(lambda: "silent" in str(writer.state.last_error), 15)
                time.sleep(end - time.monotonic())
                assert writer.state.pending == len(accepted) == 1000
                assert (writer.state.retries, writer.state.oldest_seconds or 0) > (1, 20)
            start = time.monotonic()
            writer.flush(60)
            print(f"\ndrained {time.monotonic() - start:.1f} s after the network came back")
        assert_exactly(cluster.url(), events[:100] + accepted, 1, "network away for 25 seconds")


def test_a_slow_and_lossy_link_is_not_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One megabit a second, 200 milliseconds, two packets of a hundred lost; the deadlines are far below the time that
    a batch and an answer take.
    """
    monkeypatch.setenv("TIMESERIES_CALL_DEADLINE", "4 seconds")
    events = [
        OccupancyEvent(event.camera_id, event.timestamp, 1, raw_data={"boxes": "x" * 300})
        for event in series(store.cameras.add("lot").id, 4000)
    ]
    with Proxy(port_of(store.url), rate=125_000, delay=0.2) as proxy, lost_packets(proxy.port, share=0.02):
        url = through(store.url, proxy.port)
        with opened(url) as slow, slow.writer(deadline=4, batch_size=4000) as writer:
            start = time.monotonic()
            produce(writer, events)
            writer.flush(120)
            print(f"\nstored after {time.monotonic() - start:.1f} s, {writer.state.retries} retries")
            assert time.monotonic() - start > 8
            assert writer.state.retries == 0
        start = time.monotonic()
        found = arrow_client.fetch("SELECT repeat('x', 1000) AS text FROM generate_series(1, 1000)", {}, url)
        print(f"answered after {time.monotonic() - start:.1f} s")
        assert found.num_rows == 1000
        assert time.monotonic() - start > 6
        arrow_client.close(url)
    assert_exactly(store.url, events, 1, "a slow and lossy link")


SLEEPING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'
"""
SLOW_INSERTS = """
    CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';
    CREATE TRIGGER dawdle {} INSERT ON public.occupancy_events FOR EACH STATEMENT EXECUTE FUNCTION public.dawdle()
"""


def test_a_batch_that_the_server_needs_longer_for_than_the_deadline_is_stored_in_the_end(store: Store) -> None:
    events = series(store.cameras.add("lot").id, 100)
    with psycopg.connect(store.url) as operator:
        operator.execute(SLOW_INSERTS.format("BEFORE"))
    with store.writer(flush_interval=0.05, deadline=0.7) as writer:
        produce(writer, events)
        writer.flush(60)
        assert writer.state.retries in (2, 3)
    assert_exactly(store.url, events, writer.state.retries, "a deadline that is too short")


def test_a_transaction_that_lost_its_client_gives_its_rows_free_within_a_minute(store: Store) -> None:
    events = series(store.cameras.add("lot").id, 100)
    with psycopg.connect(store.url, autocommit=True) as operator, contextlib.ExitStack() as stack:
        operator.execute(SLOW_INSERTS.format("AFTER"))
        with store.writer(flush_interval=0.05, deadline=4) as writer:
            produce(writer, events)
            wait_until(lambda: operator.execute(SLEEPING).fetchone() != (0,), 20)
            stack.enter_context(lost_packets(*client_ports(store.url)))
            start = time.monotonic()
            writer.flush(60)
            print(f"\nstored after {time.monotonic() - start:.1f} s: {writer.state}")
    assert_exactly(store.url, events, 1, "packets lost before COMMIT")


def is_free(spool: Path) -> bool:
    try:
        Spool(spool).close()
    except ConfigurationError:
        return False
    return True


def test_a_writer_is_closed_and_its_spool_free_soon_after_a_silent_call(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeseries.deadline.HURRY", 2.0)
    spool = tmp_path / "events.spool"
    writer = store.writer(flush_interval=0.05, spool=spool)
    events = series(store.cameras.add("lot").id, 100)
    with lost_packets(*client_ports(store.url)):
        produce(writer, events)
        wait_until(lambda: writer.state.silent_seconds, 10)
        start = time.monotonic()
        with pytest.raises(NotStoredError, match="they stay in the spool"):
            writer.close(0.2)
        assert time.monotonic() - start < 2
        wait_until(lambda: is_free(spool), 10)
        with store.writer(spool=spool), contextlib.suppress(NotStoredError):
            writer.close()
    assert_exactly(store.url, events, 1, "writer closed during a silent call")
