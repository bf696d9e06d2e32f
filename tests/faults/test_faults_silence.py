"""Networks and servers that say nothing: every wait is bounded by the client's clock, and seen while it lasts.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s -k faults"`
prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.support.faults import assert_exactly, produce, series
from tests.support.network import client_ports, lost_packets
from timeseries import Store

pytestmark = pytest.mark.slow
BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'timeseries' AND wait_event_type = 'Lock'
"""


def wait_until(true: Callable[[], object], within: float) -> float:
    """Seconds until it was true."""
    start = time.monotonic()
    while not true():
        assert time.monotonic() - start < within
        time.sleep(0.05)
    return time.monotonic() - start


@contextlib.contextmanager
def call_under_way(url: str) -> Iterator[None]:
    """A call of the store has reached the server in this block, and its answer comes after it."""
    with psycopg.connect(url) as blocker, psycopg.connect(url, autocommit=True) as watcher:
        blocker.execute("LOCK TABLE public.occupancy_events IN SHARE MODE")
        yield
        wait_until(lambda: watcher.execute(BLOCKED).fetchone() != (0,), 20)


@pytest.mark.parametrize(("moment", "deadline"), [("idle", 3.0), ("waiting", 3.0), ("waiting", None)])
def test_a_connection_whose_packets_are_lost_is_replaced(store: Store, moment: str, deadline: float | None) -> None:
    camera = store.cameras.add("lot").id
    events = series(camera, 1000)
    with store.writer(flush_interval=0.05, deadline=deadline) as writer, contextlib.ExitStack() as stack:
        produce(writer, events[:500])
        writer.flush(30)
        with call_under_way(store.url) if moment == "waiting" else contextlib.nullcontext():
            if moment == "idle":
                stack.enter_context(lost_packets(*client_ports(store.url)))
            produce(writer, events[500:])
            if moment == "waiting":
                time.sleep(0.3)
                stack.enter_context(lost_packets(*client_ports(store.url)))
        start = time.monotonic()
        seen = wait_until(lambda: writer.state.last_error, 15)
        assert writer.state.pending == 500
        assert (writer.state.silent_seconds or 0) > 0.5
        writer.flush(60)
        print(f"\n{moment}: seen after {seen:.1f} s, stored after {time.monotonic() - start:.1f} s")
    assert_exactly(store.url, events, 1, f"packets lost, {moment}")
