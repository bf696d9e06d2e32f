"""Back to any moment: a dropped table is there again, with every row and average, and no job runs by itself."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.backups import MIDNIGHT, everything, fill
from tests.support.clusters import Cluster
from tests.support.faults import assert_exactly, opened, own_cluster, produce, series
from tests.support.recovery import ARCHIVES, Archive, BaseBackups, PgBackRest, back_to, wait_until_archived
from tests.support.servers import RunningServer
from timeseries import OccupancyEvent, ServerKind, ServerUnavailableError, Store
from timeseries.backup.recovered import recovered

pytestmark = pytest.mark.slow
OLD = MIDNIGHT - timedelta(days=120)
WAKE_JOBS = """
    SELECT alter_job(job_id, next_start => now() - interval '1 hour') FROM timescaledb_information.jobs
    WHERE job_id >= 1000
"""


@pytest.fixture(params=ARCHIVES)
def archive(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Archive]:
    """A server of the test's own that archives its WAL."""
    with own_cluster(server) as cluster:
        yield ARCHIVES[request.param](cluster)


def clock(url: str) -> datetime:
    with psycopg.connect(url) as connection:
        (now,) = connection.execute("SELECT clock_timestamp()").fetchall()[0]
    assert isinstance(now, datetime)
    return now


def work(store: Store) -> None:
    """Rows that retention would remove at once, and new ones."""
    lot = store.cameras.get("new")
    store.record(OccupancyEvent(lot.id, OLD + timedelta(minutes=7 * i), i % 30) for i in range(300))
    store.record(OccupancyEvent(lot.id, MIDNIGHT - timedelta(minutes=5 * i), i % 20) for i in range(300))


def wake_jobs(cluster: Cluster) -> None:
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        connection.execute(WAKE_JOBS)


def old_rows(cluster: Cluster) -> int:
    query = "SELECT timestamp FROM occupancy_events WHERE timestamp < %s"
    with psycopg.connect(cluster.url()) as connection:
        return len(connection.execute(query, [MIDNIGHT - timedelta(days=91)]).fetchall())


@pytest.mark.parametrize("keep", [3600.0, 0.0])
def test_writers_store_again_what_a_recovered_database_forgot(
    server: RunningServer, tmp_path: Path, keep: float
) -> None:
    """What neither has is named: here all but the last event, where nothing is kept."""
    with own_cluster(server) as cluster, contextlib.ExitStack() as open_until_the_end:
        archive = BaseBackups(cluster)
        archive.backup()
        store = open_until_the_end.enter_context(opened(cluster.url()))
        events = series(store.cameras.add("lot").id, 1500)
        writer = open_until_the_end.enter_context(store.writer(spool=tmp_path / "spool", keep_delivered=keep))
        produce(writer, events[:500])
        writer.flush(60)
        before = clock(cluster.url())
        produce(writer, events[500:1000])
        writer.flush(60)
        wait_until_archived(cluster.url())
        producer = threading.Thread(target=produce, args=(writer, events[1000:], 0.2))
        producer.start()
        back_to(archive, before)
        recovered(cluster.url())
        producer.join()
        writer.flush(60)
        forgotten = [] if keep else events[500:999]
        assert_exactly(cluster.url(), [event for event in events if event not in forgotten], 1, "recovered")
        assert (writer.state.lost_before is None) == bool(keep)


def test_a_dropped_table_is_brought_back_and_no_job_runs_by_itself(archive: Archive) -> None:
    cluster = archive.cluster
    community = False
    with opened(cluster.url()) as store:
        community = store.server().kind is ServerKind.COMMUNITY
        fill(store)
        archive.backup()
        work(store)
    if community:
        wake_jobs(cluster)
    wanted, before = everything(cluster.url()), clock(cluster.url())
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        connection.execute("DROP TABLE occupancy_events CASCADE")
    wait_until_archived(cluster.url())

    back_to(archive, before, **({"timescaledb.max_background_workers": "16"} if community else {}))
    time.sleep(8 if community else 0)  # the scheduler starts, and every job is due
    assert everything(cluster.url()) == wanted
    assert old_rows(cluster) == 300
    with pytest.raises(ServerUnavailableError, match="read-only"):
        opened(cluster.url())
    for change in ("SELECT timeseries.retain('somebody')", "DELETE FROM health_logs")[community:]:
        with psycopg.connect(cluster.url()) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(change)

    found = recovered(cluster.url())
    assert found.shows is not None
    assert found.shows <= before
    with opened(cluster.url()) as store:
        assert not any(job.scheduled for job in store.jobs.list())
        assert len(found.paused) == len(store.jobs.list())
        assert "paused" in " ".join(store.status().problems)
        assert (store.status().backups.kind == "pgBackRest") == isinstance(archive, PgBackRest)
        assert store.status().backups.archived is not None
        assert everything(cluster.url()) == wanted
        store.record([OccupancyEvent(store.cameras.get("new").id, OLD, 7)])
        assert recovered(cluster.url()).paused == ()
        assert len(store.jobs.resume()) == len(found.paused)
    if community:
        wake_jobs(cluster)
        deadline = time.monotonic() + 60
        while old_rows(cluster) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert old_rows(cluster) == 0
