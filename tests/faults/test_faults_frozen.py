"""Servers that stand still: every wait is bounded by the client's clock, and nothing is doubled.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s -k faults"`
prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

import analytics
from analytics import arrow_client
from tests.support.faults import assert_exactly, opened, own_cluster, produce, series
from tests.support.network import call_under_way, frozen, wait_until
from tests.support.servers import RunningServer
from tests.support.standby import primary_and_standby, wait_for_standby
from timeseries import ServerUnavailableError

pytestmark = pytest.mark.slow
DUMP_WAITS = """
    SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LOCK TABLE public.%' AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("moment", ["idle", "waiting"])
def test_a_frozen_server_is_given_up_and_nothing_is_doubled_when_it_thaws(server: RunningServer, moment: str) -> None:
    with own_cluster(server) as cluster, opened(cluster.url()) as store:
        events = series(store.cameras.add("lot").id, 1000)
        with store.writer(flush_interval=0.05, deadline=2) as writer:
            produce(writer, events[:500])
            writer.flush(30)
            with contextlib.ExitStack() as stack:
                if moment == "waiting":
                    reached = stack.enter_context(call_under_way(cluster.url()))
                    produce(writer, events[500:])
                    reached()
                with frozen(cluster):
                    if moment == "idle":
                        produce(writer, events[500:])
                    wait_until(lambda: "silent" in str(writer.state.last_error), 15)
                    wait_until(lambda: writer.state.retries, 30)
            writer.flush(60)
        assert_exactly(cluster.url(), events, 1, f"server frozen, {moment}")


def test_a_promoted_standby_takes_over_from_a_frozen_server_within_a_minute(server: RunningServer) -> None:
    """With the real deadlines, for a writer and for an answer."""
    with primary_and_standby(server) as (primary, standby):
        url = primary.url(beside=standby)
        asked = f"{url}?target_session_attrs=read-write"  # an answer would come from the standby already
        with opened(url) as store:
            events = series(store.cameras.add("lot").id, 1000)
            with store.writer(flush_interval=0.05) as writer:
                produce(writer, events[:500])
                writer.flush(30)
                assert len(analytics.latest(url=asked)) == 1
                wait_for_standby(primary, standby)
                with frozen(primary):
                    start = time.monotonic()
                    standby.promote()
                    produce(writer, events[500:])
                    seen = wait_until(lambda: writer.state.last_error, 15)
                    writer.flush(60)
                    stored = time.monotonic() - start
                    start = time.monotonic()
                    assert len(analytics.latest(url=asked)) == 1
                    answered = time.monotonic() - start
                    print(f"\nseen after {seen:.1f} s, stored after {stored:.1f} s, answered after {answered:.1f} s")
                    assert max(stored, answered) < 60
                    primary.kill()
        arrow_client.close(asked)
        assert_exactly(standby.url(), events, 1, "server frozen, standby promoted")


def test_an_answer_and_a_call_of_a_frozen_server_end(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeseries.deadline.ASK", 1.0)
    with own_cluster(server) as cluster, opened(cluster.url()) as store:
        assert len(analytics.latest(url=cluster.url())) == len(store.cameras.list()) == 0
        with frozen(cluster):
            for call in (lambda: analytics.latest(url=cluster.url()), store.cameras.list):
                start = time.monotonic()
                with pytest.raises(ServerUnavailableError, match="cannot be reached"):
                    call()
                assert time.monotonic() - start < 45
        arrow_client.close(cluster.url())


def test_a_backup_of_a_frozen_server_ends(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeseries.deadline.ASK", 1.0)
    monkeypatch.setattr("timeseries.backup.programs.ASK_EVERY", 0.5)
    with own_cluster(server) as cluster, opened(cluster.url()) as store, ThreadPoolExecutor() as threads:
        with psycopg.connect(cluster.url()) as blocker, psycopg.connect(cluster.url(), autocommit=True) as watcher:
            blocker.execute("LOCK TABLE public.alembic_version")
            backup = threads.submit(store.backup, tmp_path / "backup")
            wait_until(lambda: watcher.execute(DUMP_WAITS).fetchone() != (0,), 30)
            with frozen(cluster), pytest.raises(ServerUnavailableError, match="cannot be reached"):
                backup.result(60)
        assert list(tmp_path.iterdir()) == []
