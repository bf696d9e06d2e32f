"""A dashboard left open, and retention that wants the locks it holds: ingest goes on, retention comes back."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.faults import opened, own_cluster, series
from tests.support.servers import RunningServer
from timeseries import OccupancyEvent, ServerKind, ServerUnavailableError, Store
from timeseries.ingest import record
from timeseries.monitoring.status import read_status

OLD = datetime.now(UTC) - timedelta(days=120)
PATIENCE = 30.0  # seconds until what must come has come, on the slowest machine
LONGEST = 8.0  # seconds of a wait of ingest: retention gives up after three, ingest itself would fail after ten
RAW = "SELECT count(*) FROM occupancy_events WHERE timestamp < now() - interval '100 days'"


@contextlib.contextmanager
def open_dashboard(url: str) -> Iterator[None]:
    """A transaction that has read the cameras and the events, and does not end."""
    with psycopg.connect(url, application_name="dashboard") as reader:
        reader.execute("SELECT count(*) FROM cameras JOIN occupancy_events ON camera_id = cameras.id").fetchall()
        yield


def old_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(RAW).fetchone()
        assert row is not None
        return int(row[0])


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_pruning_gives_way_to_ingest_while_a_dashboard_is_open(store: Store) -> None:
    camera = store.cameras.add("lot").id
    store.record(series(camera, 100, OLD))
    gave_up: list[bool] = []

    def prune() -> None:
        try:
            store.prune()
        except ServerUnavailableError as error:
            gave_up.append("locked" in str(error))

    with open_dashboard(store.url):
        thread = threading.Thread(target=prune)
        thread.start()
        waits = []
        for i in range(20):
            begin = time.monotonic()
            store.record([OccupancyEvent(camera, datetime.now(UTC) - timedelta(seconds=i), i)])
            waits.append(time.monotonic() - begin)
            time.sleep(0.2)
        thread.join()
    assert max(waits) < LONGEST
    if store.server().kind is not ServerKind.POSTGRESQL:  # there pruning deletes rows, which no reader hinders
        assert gave_up == [True]
        assert old_rows(store.url) == 100
        store.prune()
    assert old_rows(store.url) == 0


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_the_native_retention_job_gives_way_fails_visibly_and_comes_back(server: RunningServer) -> None:
    """With real background workers: the job's wait for a lock ends by the setting that the migration leaves."""
    with (
        own_cluster(server, **{"timescaledb.max_background_workers": "8", "max_worker_processes": "20"}) as cluster,
        opened(cluster.url()) as store,
    ):
        camera = store.cameras.add("lot").id
        store.record(series(camera, 100, OLD))
        failures = """
            SELECT s.total_failures FROM timescaledb_information.job_stats AS s
            JOIN timescaledb_information.jobs AS j USING (job_id)
            WHERE j.proc_name = 'policy_retention' AND j.hypertable_name = 'occupancy_events'
        """
        start_now = """
            SELECT alter_job(job_id, next_start => now(), retry_period => interval '1 second')
            FROM timescaledb_information.jobs
            WHERE proc_name = 'policy_retention' AND hypertable_name = 'occupancy_events'
        """

        def reported() -> bool:
            lines = [line for line in read_status(store.pool).problems if line.startswith("occupancy_events: chunks")]
            return any("(Failed" in line and "lock timeout" in line for line in lines)

        with psycopg.connect(cluster.url(), autocommit=True) as operator:
            with open_dashboard(cluster.url()):
                operator.execute(start_now)
                waits = []

                def failed() -> bool:
                    begin = time.monotonic()
                    store.record([OccupancyEvent(camera, datetime.now(UTC), 1)])
                    waits.append(time.monotonic() - begin)
                    row = operator.execute(failures).fetchone()
                    return bool(row and row[0])

                assert eventually(failed)
                assert eventually(reported)
                assert max(waits) < LONGEST
                assert old_rows(cluster.url()) == 100
            assert eventually(lambda: old_rows(cluster.url()) == 0)  # by the job's own retry
            assert eventually(lambda: not reported())


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_status_says_where_jobs_would_wait_without_end(store: Store) -> None:
    assert not read_status(store.pool).problems
    with psycopg.connect(store.url, autocommit=True) as connection:
        row = connection.execute("SELECT current_user, current_database()").fetchone()
        assert row is not None
        connection.execute(f'ALTER ROLE {row[0]} IN DATABASE "{row[1]}" RESET lock_timeout')
    assert any("wait for locks without end" in problem for problem in read_status(store.pool).problems)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_many_events_wait_for_a_transaction_of_as_many(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another import holds its cameras for longer than a few late events would wait."""
    monkeypatch.setattr(record, "MANY", 20)
    monkeypatch.setattr(record, "PATIENCE", 2.0)
    camera = store.cameras.add("lot").id
    with psycopg.connect(store.url) as other, concurrent.futures.ThreadPoolExecutor() as executor:
        other.execute("SELECT FROM timeseries.late_writers FOR UPDATE")
        stored = executor.submit(store.record, series(camera, 100, OLD))
        time.sleep(6)  # a wait for a lock ends after five
        other.rollback()
        assert stored.result().inserted == 100
