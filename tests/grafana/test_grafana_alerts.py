"""The alerts: each has one number for each set of labels, above its threshold when it should fire and only then."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.faults import opened, own_cluster
from tests.support.grafana_queries import NOW, NUMBERS, RULES, TEXTS, ask, expand, make_role, reader, sample
from tests.support.roles import as_role
from tests.support.servers import RunningServer, require_idle_jobs
from timeseries import HealthLog, OccupancyEvent, ServerKind, Store
from timeseries.access.roles import grant
from timeseries.monitoring.status import read_status

__all__ = ["make_role", "reader", "sample"]

LEVELS = ("quarter_hourly", "hourly", "weekday")
AGGREGATES = [f"{family}_{level}" for family in ("occupancy", "health") for level in LEVELS]
CHUNKS_OF_LAST_WEEK = "UPDATE _timescaledb_catalog.chunk SET creation_time = now() - interval '7 days'"
RETENTION = "proc_name = 'policy_retention' AND hypertable_name = 'occupancy_events'"
Labels = tuple[str, ...]


def judged(url: str, uid: str) -> dict[Labels, bool]:
    """For each set of labels of an alert, whether it fires."""
    (rule,) = (rule for rule in RULES if rule["uid"] == uid)
    query, threshold = (part["model"] for part in rule["data"])
    columns, rows = ask(url, expand(query["rawSql"], {}))
    assert set(columns.values()) <= NUMBERS | TEXTS
    (value,) = (name for name, kind in columns.items() if kind in NUMBERS)
    labels = [name for name, kind in columns.items() if kind in TEXTS]
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert label in labels
    assert all(row[value] is not None for row in rows)
    evaluator = threshold["conditions"][0]["evaluator"]
    assert evaluator["type"] == "gt"
    found = {tuple(row[label] for label in labels): float(row[value]) > evaluator["params"][0] for row in rows}
    assert len(found) == len(rows)
    return found


def firing(url: str, uid: str) -> set[Labels]:
    return {labels for labels, fires in judged(url, uid).items() if fires}


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_every_alert_gives_one_number_for_each_set_of_labels(sample: str, store: Store) -> None:
    for rule in RULES:
        values = judged(sample, rule["uid"])
        assert values or (rule["uid"] == "job-failing" and store.server().kind is not ServerKind.COMMUNITY)


def test_a_camera_is_silent_that_is_not_heard_of_for_its_hold(store: Store, reader: str) -> None:
    holds = {"fresh": 1, "late": 1, "long stay": 30, "status only": 1, "long silent": 1, "never": 100, "stopped": 1}
    lots = {name: store.cameras.add(name, hold=timedelta(days=days)).id for name, days in holds.items()}
    store.cameras.update("stopped", desired_state="stopped")
    ages = {"fresh": 0, "late": 2, "long stay": 20, "status only": 5, "long silent": 150}
    store.record([OccupancyEvent(lots[name], NOW - timedelta(days=days), 1) for name, days in ages.items()])
    store.record([HealthLog(lots["status only"], NOW, "healthy")])
    assert firing(reader, "camera-silent") == {("late",), ("long silent",), ("never",)}
    assert ("stopped",) not in judged(reader, "camera-silent")


def test_a_camera_is_not_healthy_by_its_last_status(store: Store, reader: str) -> None:
    for name, status in (("well", "healthy"), ("slow", "degraded"), ("gone", "disconnected"), ("stopped", "degraded")):
        lot = store.cameras.add(name, desired_state="stopped" if name == "stopped" else "running")
        other = "degraded" if status == "healthy" else "healthy"
        store.record([HealthLog(lot.id, NOW - timedelta(hours=1), other), HealthLog(lot.id, NOW, status)])
    store.cameras.add("never")
    assert firing(reader, "camera-unhealthy") == {("slow", "degraded"), ("gone", "disconnected")}
    assert judged(reader, "camera-unhealthy").keys() - firing(reader, "camera-unhealthy") == {("well", "healthy")}


def test_a_lot_is_unusual_where_its_last_hour_is_far_from_that_of_the_weeks_before(store: Store, reader: str) -> None:
    """One behaves, one is full at this weekday and hour for once, one is always alike, one is new."""
    lots = {name: store.cameras.add(name, hold=timedelta(hours=1)).id for name in ("usual", "full", "alike", "new")}
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for week in range(9):
        counts = {"usual": 20 + week % 3, "full": 20 + week % 3 if week else 60, "alike": 5}
        counts |= {"new": 80} if week == 0 else {}
        store.record([
            OccupancyEvent(lots[name], hour - timedelta(weeks=week, minutes=5), count) for name, count in counts.items()
        ])  # fmt: skip
    assert firing(reader, "lot-unusual") == {("full",)}
    assert judged(reader, "lot-unusual").keys() == {(name,) for name in lots}


def overdue(store: Store, reader: str) -> set[Labels]:
    """The tables whose retention is overdue by the alert, which are those that status names."""
    fires = firing(reader, "retention-failing")
    found = read_status(store.pool)
    assert fires == {(table.name,) for table in found.tables if table.overdue_from is not None}
    named = [line for line in found.problems if re.search("(rows|chunks) from .* are still there", line)]
    assert fires == {(line.partition(":")[0],) for line in named}
    return fires


def test_retention_is_overdue_for_two_days_and_status_says_the_same(store: Store, reader: str) -> None:
    lot = store.cameras.add("lot", desired_state="stopped").id

    def a_week_passes() -> None:
        last_run = "UPDATE timeseries.retention_run SET since = now() - interval '7 days', finished_at = NULL"
        with psycopg.connect(store.url) as connection:
            connection.execute(CHUNKS_OF_LAST_WEEK if store.server().kind is ServerKind.COMMUNITY else last_run)

    a_week_passes()
    assert overdue(store, reader) == set()
    store.record([OccupancyEvent(lot, NOW - timedelta(days=91), 1)])
    a_week_passes()
    assert overdue(store, reader) == set()
    store.prune()
    store.record([OccupancyEvent(lot, NOW - timedelta(days=100), 1)])
    assert overdue(store, reader) == set()  # it has just been imported
    a_week_passes()
    assert overdue(store, reader) == {("occupancy_events",)}
    store.prune()
    assert overdue(store, reader) == set()


@pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
def test_retention_that_failed_is_overdue_at_once(store: Store, reader: str) -> None:
    lot = store.cameras.add("lot", desired_state="stopped").id
    store.record([OccupancyEvent(lot, NOW - timedelta(days=92), 1)])
    assert overdue(store, reader) == set()
    with psycopg.connect(store.url) as connection:
        connection.execute("UPDATE timeseries.retention_run SET error = 'canceled', started_at = now()")
    assert overdue(store, reader) == {("occupancy_events",)}


def test_an_aggregate_lags_while_an_old_event_is_above_its_watermark_and_status_says_the_same(
    store: Store, reader: str
) -> None:
    lot = store.cameras.add("lot").id

    def lagging() -> set[tuple[str, ...]]:
        found = read_status(store.pool)
        stale: set[tuple[str, ...]] = {(aggregate.name,) for aggregate in found.aggregates if aggregate.stale}
        assert stale == {(name,) for name in AGGREGATES if f"{name}: materialized up to" in "\n".join(found.problems)}
        assert firing(reader, "aggregate-lag") == stale
        return stale

    with psycopg.connect(store.url, autocommit=True) as connection:
        community = store.server().kind is ServerKind.COMMUNITY
        if community:
            micros = int((NOW - timedelta(days=10)).timestamp() * 1_000_000)
            connection.execute("UPDATE _timescaledb_catalog.continuous_aggs_watermark SET watermark = %s", [micros])
        assert lagging() == set()  # nothing was observed
        store.record([OccupancyEvent(lot, NOW, 1), HealthLog(lot, NOW, "healthy")])
        assert lagging() == set()  # the next refresh has these
        before = NOW - timedelta(days=9)
        store.record([OccupancyEvent(lot, before, 1), HealthLog(lot, before, "healthy")])
        assert lagging() == set()  # it has just been imported
        if community:
            connection.execute(CHUNKS_OF_LAST_WEEK)
        assert lagging() == ({(name,) for name in AGGREGATES} if community else set())
        if community:
            for name in AGGREGATES:
                connection.execute("CALL refresh_continuous_aggregate(%s::regclass, NULL, NULL)", [name])
            assert lagging() == set()
        assert judged(reader, "aggregate-lag").keys() == {(name,) for name in AGGREGATES}


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_job_fails_that_should_run_and_does_not(store: Store, reader: str, server: RunningServer) -> None:
    """On a server without workers, as an operator's that has too few."""
    require_idle_jobs(server)
    jobs = "FROM timescaledb_information.jobs WHERE job_id >= 1000"
    with psycopg.connect(store.url, autocommit=True) as connection:
        every = judged(reader, "job-failing").keys()
        assert len(every) == len(connection.execute(f"SELECT {jobs}").fetchall()) > 0
        assert firing(reader, "job-failing") == every  # none ever ran
        for hours, overdue in ((1, False), (-0.5, False), (-2, True)):
            due = NOW + timedelta(hours=hours)
            connection.execute(f"SELECT alter_job(job_id, next_start => %s) {jobs}", [due])
            assert firing(reader, "job-failing") == (every if overdue else set()), hours
        # As a server leaves them that was killed while they ran.
        connection.execute("UPDATE _timescaledb_internal.bgw_job_stat SET next_start = '-infinity'")
        assert firing(reader, "job-failing") == every
        connection.execute(f"SELECT alter_job(job_id, scheduled => false) {jobs}")
        assert firing(reader, "job-failing") == set()


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_job_fails_that_cannot_do_its_work_until_it_can(server: RunningServer) -> None:
    """With real background workers: retention does not get a table that somebody reads."""
    with (
        own_cluster(server, **{"timescaledb.max_background_workers": "8", "max_worker_processes": "24"}) as cluster,
        opened(cluster.url()) as store,
        psycopg.connect(cluster.url(), autocommit=True) as operator,
    ):
        operator.execute("CREATE ROLE grafana LOGIN PASSWORD 'secret'")
        grant(cluster.url(), readers=["grafana"])
        reader = as_role(cluster.url(), "grafana")
        job = ("retention", "occupancy_events")
        assert eventually(lambda: job not in firing(reader, "job-failing"))  # it ran
        store.record([OccupancyEvent(store.cameras.add("lot").id, NOW - timedelta(days=100), 1)])
        again = f"SELECT alter_job(job_id, next_start => now()) FROM timescaledb_information.jobs WHERE {RETENTION}"
        with psycopg.connect(cluster.url()) as holder:
            holder.execute("SELECT count(*) FROM occupancy_events")
            operator.execute(again)
            assert eventually(lambda: job in firing(reader, "job-failing"))
            assert overdue(store, reader) == {("occupancy_events",)}
        operator.execute(again)
        assert eventually(lambda: job not in firing(reader, "job-failing"))


def test_the_archive_lags_behind_where_there_is_one_until_it_has_every_day(
    store: Store, reader: str, tmp_path: Path
) -> None:
    lot = store.cameras.add("lot").id
    store.record([OccupancyEvent(lot, NOW - timedelta(days=9), 1)])
    assert firing(reader, "archive-lag") == set()  # no archive
    store.archive(tmp_path)
    assert firing(reader, "archive-lag") == set()
    store.record([OccupancyEvent(lot, NOW - timedelta(days=9, minutes=1), 1)])
    assert firing(reader, "archive-lag") == {("occupancy_events",)}
    store.archive(tmp_path)
    assert firing(reader, "archive-lag") == set()
