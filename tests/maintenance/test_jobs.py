"""Background jobs after a restore: paused until the operator says go, and then without a gap."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.backups import AGGREGATES, MIDNIGHT, everything, filled
from tests.support.servers import RunningServer
from timeseries import InvalidInputError, OccupancyEvent, ServerKind, Store, restore
from timeseries.database.connections import connected
from timeseries.maintenance import jobs
from timeseries.monitoring.status import read_status
from timeseries.settings import Settings

__all__ = ["filled"]

# Retention and columnstore start at the same moment, on the same chunks: PostgreSQL ends one of two that deadlock, and
# TimescaleDB runs it again after its retry_period, five minutes by default.
RETRY_AT_ONCE = """
    SELECT alter_job(job_id, retry_period => interval '1 second')
    FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'
"""

LONG_BEHIND = """
    UPDATE _timescaledb_catalog.continuous_aggs_watermark SET watermark = watermark - 200 * 86400000000::bigint
"""


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_an_old_backup_keeps_its_rows_until_the_operator_resumes_the_jobs(
    filled: Store, server: RunningServer, tmp_path: Path
) -> None:
    """On a server whose scheduler is awake."""
    if server.found.cluster is None:
        pytest.skip("needs a server of the test's own")
    old = MIDNIGHT - timedelta(days=95)
    camera = filled.cameras.get("new").id
    filled.record(OccupancyEvent(camera, old + timedelta(hours=i), i) for i in range(24))
    made = filled.backup(tmp_path / "store.backup")
    count = f"SELECT count(*) FROM occupancy_events WHERE \"timestamp\" < '{old + timedelta(days=1)}'"
    cluster = server.found.cluster(**{"timescaledb.max_background_workers": "8", "max_worker_processes": "24"})
    try:
        cluster.start()
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE old")
        result = restore(cluster.url("old"), made.path)
        assert len(result.paused) == made.counts["background jobs"] > 0
        with Store.open(cluster.url("old"), settings=Settings()) as store:

            def old_rows() -> int:
                with connected(store.pool) as connection:
                    return int(connection.execute(count).fetchone()[0])  # type: ignore[index]

            with connected(store.pool) as connection:  # the scheduler is at work: a job of our own runs at once
                connection.execute("CREATE TABLE ran (at timestamptz)")
                connection.execute("""
                    CREATE PROCEDURE note(job_id integer, config jsonb) LANGUAGE sql AS 'INSERT INTO ran VALUES (now())'
                """)
                connection.execute("SELECT add_job('note', interval '1 second')")
            wait_for(store, "SELECT count(*) >= 3 FROM ran")
            assert old_rows() == 24
            with connected(store.pool) as connection:
                connection.execute(RETRY_AT_ONCE)
            store.jobs.resume([job.job_id for job in result.paused])
            wait_for(store, count.replace("count(*)", "count(*) = 0"))
    finally:
        cluster.remove()


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_resuming_waits_for_another_refresh(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refresh holds a lock on its aggregate's invalidations, for which nobody waits longer than a moment."""
    camera = store.cameras.add("lot").id
    store.record([OccupancyEvent(camera, MIDNIGHT - timedelta(days=1), 5)])
    store.jobs.pause()
    with connected(store.pool) as connection:
        connection.execute(LONG_BEHIND)
    pauses: list[float] = []

    def let_go(seconds: float) -> None:
        pauses.append(seconds)
        other.rollback()

    monkeypatch.setattr("timeseries.database.retries.time.sleep", let_go)
    with psycopg.connect(store.url) as other:
        other.execute("LOCK TABLE _timescaledb_catalog.continuous_aggs_invalidation_threshold")
        assert store.jobs.resume()
    assert pauses == [1]


def wait_for(store: Store, question: str) -> None:
    for _ in range(600):
        with connected(store.pool) as connection:
            if connection.execute(question).fetchone() == (True,):
                return
        time.sleep(0.1)
    raise AssertionError(question)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_resuming_brings_into_the_averages_what_no_refresh_would_look_back_for(
    store: Store, server: RunningServer, tmp_path: Path
) -> None:
    """A backup of ten days ago: its last hours are behind every policy's start_offset."""
    camera = store.cameras.add("lot").id
    watermark = MIDNIGHT - timedelta(days=20)
    with connected(store.pool) as connection:
        micros = int(watermark.timestamp() * 1_000_000)
        for relation, column in (
            ("continuous_aggs_watermark", "watermark"),
            ("continuous_aggs_invalidation_threshold", "watermark"),
            ("continuous_aggs_materialization_invalidation_log", "lowest_modified_value"),
        ):
            connection.execute(
                f"UPDATE _timescaledb_catalog.{relation} SET {column} = %s WHERE {column} > %s",
                [micros, micros],
            )
    store.record(OccupancyEvent(camera, watermark + timedelta(hours=i), i % 40) for i in range(240))
    before = everything(store.url)
    assert before["occupancy_hourly"]
    target = server.empty()
    restore(target, store.backup(tmp_path / "store.backup").path)
    with Store.open(target, settings=Settings()) as copy:
        copy.jobs.resume()
        copy.record([OccupancyEvent(camera, datetime.now(UTC) - timedelta(hours=30), 5)])
        with psycopg.connect(target, autocommit=True) as connection:
            for job in jobs.list_jobs(connection):
                if job.name.startswith("policy_refresh"):
                    connection.execute("CALL run_job(%s)", [job.job_id])
    after = everything(target)
    for name in AGGREGATES:
        assert after[name] >= before[name], name


def test_jobs_are_paused_and_resumed_by_number_or_all(store: Store) -> None:
    with connected(store.pool) as connection:
        found = jobs.list_jobs(connection)
        assert (len(found) > 1) == (store.server().kind is ServerKind.COMMUNITY)
        assert jobs.pause(connection, [job.job_id for job in found[:2]]) == found[:2]
        assert jobs.pause(connection) == found[2:]
        assert {job.scheduled for job in jobs.list_jobs(connection)} <= {False}
        with pytest.raises(InvalidInputError, match="there is no job 7"):
            jobs.pause(connection, [7])
    assert [job.job_id for job in store.jobs.resume([job.job_id for job in found[:1]])] == [
        job.job_id for job in found[:1]
    ]
    assert len(store.jobs.resume()) == max(len(found) - 1, 0)
    with connected(store.pool) as connection:
        assert jobs.list_jobs(connection) == found


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_retention_does_not_run_alone(store: Store) -> None:
    """Rows that no refresh has read would be in no average when they go."""
    with connected(store.pool) as connection:
        number = {(job.name, job.relation): job.job_id for job in jobs.list_jobs(connection)}
        refresh = number["policy_refresh_continuous_aggregate", "occupancy_quarter_hourly"]
        retention = number["policy_retention", "occupancy_events"]
        with pytest.raises(InvalidInputError, match=f"timeseries jobs pause {retention}"):
            jobs.pause(connection, [refresh])
        jobs.pause(connection, [number["policy_refresh_continuous_aggregate", "occupancy_hourly"]])
        jobs.pause(connection, [refresh, retention])
    with pytest.raises(InvalidInputError, match=f"timeseries jobs resume {refresh}"):
        store.jobs.resume([retention])
    with connected(store.pool) as connection:
        assert not {job.job_id: job.scheduled for job in jobs.list_jobs(connection)}[retention]
    assert len(store.jobs.resume([retention, refresh])) == 2


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_status_reports_retention_that_somebody_else_left_alone_and_any_mending_is_allowed(store: Store) -> None:
    with connected(store.pool) as connection:
        refresh, retention = (
            next(job.job_id for job in jobs.list_jobs(connection) if (job.name, job.relation) == wanted)
            for wanted in (
                ("policy_refresh_continuous_aggregate", "health_quarter_hourly"), ("policy_retention", "health_logs")
            )
        )  # fmt: skip
        connection.execute("SELECT alter_job(%s, scheduled => false)", [refresh])
    assert "retention of health_logs (job" in "\n".join(read_status(store.pool).problems)
    with connected(store.pool) as connection:
        jobs.pause(connection, [retention])
    assert "retention of health_logs (job" not in "\n".join(read_status(store.pool).problems)
    store.jobs.resume([refresh])
    store.jobs.resume([retention])
    assert read_status(store.pool).problems == ()
