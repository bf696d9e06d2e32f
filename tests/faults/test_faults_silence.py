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

import pytest

import analytics
from analytics import arrow_client
from tests.support.faults import assert_exactly, produce, series
from tests.support.network import call_under_way, client_ports, lost_packets, wait_until
from timeseries import ServerUnavailableError, Store

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
