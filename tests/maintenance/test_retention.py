"""Retention: what it refuses, what it waits for, and more history than the server has locks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.faults import opened, own_cluster
from tests.support.histories import answers, same
from tests.support.servers import RunningServer
from timeseries import ConfigurationError, InvalidInputError, OccupancyEvent, ServerKind, Store
from timeseries.maintenance import jobs
from timeseries.schema import migrations

START = datetime.now(UTC) - timedelta(days=120)


def raw_rows(store: Store) -> int:
    with store.pool.connection() as connection:
        row = connection.execute("SELECT count(*) FROM occupancy_events").fetchone()
        assert row is not None
        return int(row[0])


def test_a_retention_that_would_take_what_is_still_coming_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="shortest retention"):
        store.prune(timedelta(hours=3))


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_years_of_history_are_pruned_although_they_hold_more_chunks_than_the_server_has_locks(
    server: RunningServer,
) -> None:
    few = {"max_locks_per_transaction": "10", "max_connections": "10"}
    with own_cluster(server, **few) as cluster, opened(cluster.url()) as store:
        camera = store.cameras.add("lot").id
        days = 1200
        start = datetime.now(UTC) - timedelta(days=days + 95)
        store.record(OccupancyEvent(camera, start + timedelta(days=day), 1) for day in range(days))
        job = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' LIMIT 1"
        with psycopg.connect(store.url, autocommit=True) as connection:
            row = connection.execute(job).fetchone()
            assert row is not None
            with pytest.raises(psycopg.errors.OutOfMemory):
                connection.execute("CALL run_job(%s)", row)
        assert store.prune().removed == days
        assert raw_rows(store) == 0


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_paused_retention_stays_paused(store: Store) -> None:
    store.record([OccupancyEvent(store.cameras.add("lot").id, START, 1)])
    with store.pool.connection() as connection:
        jobs.pause(connection)
    with pytest.raises(ConfigurationError, match="timeseries jobs resume"):
        store.prune()
    assert raw_rows(store) == 1


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_pruning_leaves_what_is_not_in_the_quarters_yet(server: RunningServer) -> None:
    """No job ran for 120 days; the clock is the server's own."""
    if server.found.cluster is None:
        pytest.skip("needs a server whose clock the test may set")
    cluster = server.found.cluster()
    try:
        if not cluster.set_clock(timedelta(days=120)):
            pytest.skip("needs libfaketime")
        cluster.start()
        migrations.migrate(cluster.url())
        cluster.set_clock(timedelta(0))
        with opened(cluster.url()) as store:
            camera = store.cameras.add("lot").id
            store.record(OccupancyEvent(camera, START + timedelta(days=1, hours=i), i) for i in range(48))
            before = answers(cluster.url(), START, START + timedelta(days=9))
            assert store.prune().removed == 0
            assert raw_rows(store) == 48
            store.refresh()
            assert store.prune().removed == 48
            assert same(answers(cluster.url(), START, START + timedelta(days=9)), before)
    finally:
        cluster.remove()
