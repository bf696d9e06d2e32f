"""Status: judged by effects, in words that an operator can act on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.support.clusters import Cluster
from tests.support.faults import opened
from tests.support.servers import RunningServer
from timeseries import ConfigurationError, HealthLog, OccupancyEvent, ServerKind, Store
from timeseries.cli.main import main
from timeseries.database.server import Server
from timeseries.monitoring.checks import server_problems
from timeseries.monitoring.status import read_status
from timeseries.schema import migrations

COMMUNITY = pytest.mark.kinds(ServerKind.COMMUNITY)
DAY = timedelta(days=1)


def problems(store: Store) -> str:
    return "\n".join(read_status(store.pool).problems)


def test_a_fresh_store_is_well_and_exits_with_0(store: Store) -> None:
    result = CliRunner().invoke(main, ["--database-url", store.url, "status", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["problems"] == []
    assert {table["name"] for table in found["tables"]} == {"occupancy_events", "health_logs"}
    assert len(found["aggregates"]) == 6


def test_a_camera_that_went_silent_is_named_and_exits_with_1(store: Store) -> None:
    now = datetime.now(UTC)
    silent, healthy, heard, stopped = (
        store.cameras.add(name, desired_state="stopped" if name == "stopped" else "running").id
        for name in ("silent", "healthy", "heard", "stopped")
    )
    store.record([
        OccupancyEvent(silent, now - 2 * DAY, 1), OccupancyEvent(stopped, now - 2 * DAY, 1),
        OccupancyEvent(heard, now, 1), HealthLog(healthy, now, "healthy"),
    ])  # fmt: skip
    store.cameras.add("new")
    assert [camera.name for camera in read_status(store.pool).silent] == ["silent"]
    result = CliRunner().invoke(main, ["--database-url", store.url, "status"])
    assert result.exit_code == 1
    assert "camera 'silent' is silent, last seen" in result.stderr


def test_the_last_day_is_counted_in_raw_rows_and_in_quarters(store: Store) -> None:
    camera = store.cameras.add("lot").id
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    store.record(OccupancyEvent(camera, midnight - DAY + timedelta(minutes=i), 1) for i in range(1440))
    occupancy, health = read_status(store.pool).counts
    assert (occupancy.day, occupancy.rows, occupancy.samples) == ((midnight - DAY).date(), 1440, 1440)
    assert (health.rows, health.samples) == (0, 0)
    if store.server().kind is not ServerKind.COMMUNITY:
        return
    with psycopg.connect(store.url, autocommit=True) as connection:  # as a fault of the server's would
        row = connection.execute(
            "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
            " FROM timescaledb_information.continuous_aggregates WHERE view_name = 'occupancy_quarter_hourly'"
        ).fetchone()
        assert row is not None
        connection.execute(f"DELETE FROM {row[0]}")
    assert "occupancy_events: 1,440 rows on" in problems(store)


def test_the_counted_day_is_the_one_in_utc_whatever_the_zone_of_the_database(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE \"{connection.info.dbname}\" SET timezone = 'America/New_York'")
    with opened(database) as store:
        now = datetime.now(UTC)
        store.record([OccupancyEvent(store.cameras.add("lot").id, now - 3 * DAY, 1)])
        found = read_status(store.pool)
        assert {count.day for count in found.counts} == {(now - DAY).date()}
        assert found.tables[0].oldest is not None
        assert found.tables[0].oldest.utcoffset() == timedelta(0)
        assert f"last seen {now - 3 * DAY:%Y-%m-%d %H:%M}" in problems(store)
        result = CliRunner().invoke(main, ["--database-url", database, "status"])
        assert f"occupancy_events, {(now - DAY).date()}" in result.output


@pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
def test_status_asks_for_pruning_once_nobody_has_done_it_for_two_days(store: Store) -> None:
    camera = store.cameras.add("lot", desired_state="stopped").id
    store.record([OccupancyEvent(camera, datetime.now(UTC) - 120 * DAY, 1)])

    def run(*words: str, keep: str | None = None) -> Result:
        return CliRunner(env={"TIMESERIES_KEEP": keep}).invoke(main, ["--database-url", store.url, *words])

    assert run("status").exit_code == 0  # there is a day for it
    with psycopg.connect(store.url) as connection:
        connection.execute("UPDATE timeseries.retention_run SET since = now() - interval '3 days'")
    asked = run("status")
    assert asked.exit_code == 1
    assert "has not pruned for 3 days; run: timeseries prune" in asked.stderr
    assert "Retention: by nobody, raw rows stay for 90 days; last done: not yet" in asked.stdout
    assert run("status", keep="180 days").exit_code == 0
    assert run("status").exit_code == 0
    assert "Removed 0 raw rows" in run("prune").output
    wrong = run("status", keep="soon")
    assert (wrong.exit_code, wrong.output.startswith("Error: TIMESERIES_KEEP")) == (1, True)
    assert "Removed 1 raw rows" in run("prune", "--keep", "90 days").output
    done = run("status")
    assert done.exit_code == 0
    assert "Retention: by the store's processes, raw rows stay for 90 days" in done.stdout
    assert "1 rows by timeseries prune as" in done.stdout


@COMMUNITY
def test_rows_in_the_columnstore_are_counted_once(store: Store) -> None:
    camera = store.cameras.add("lot").id
    store.record(OccupancyEvent(camera, datetime.now(UTC) - timedelta(hours=i), 1) for i in range(500))
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("SELECT compress_chunk(c) FROM show_chunks('occupancy_events', interval '3 days') AS c")
    table = read_status(store.pool).tables[0]
    assert table.rows == 500
    assert table.bytes_in_columnstore > 0


@COMMUNITY
def test_a_job_that_was_put_off_and_never_ran_is_no_obstacle(store: Store) -> None:
    """As a backup puts retention off."""
    with psycopg.connect(store.url) as connection:
        connection.execute("SELECT alter_job(job_id, next_start => '2999-01-01') FROM timescaledb_information.jobs")
    assert read_status(store.pool).problems == ()


@COMMUNITY
def test_releases_that_do_not_go_together_are_named(store: Store) -> None:
    with store.pool.connection() as connection:
        (first, *_) = server_problems(connection, Server(ServerKind.COMMUNITY, "15.20", "2.27.2"))
    assert "scheduled jobs of TimescaleDB 2.27.2 fail on PostgreSQL 15.20" in first


@COMMUNITY
def test_a_library_that_is_not_the_one_of_the_database_is_named(server: RunningServer) -> None:
    url = server.copy()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE pg_extension SET extversion = '9.9.9' WHERE extname = 'timescaledb'")
    try:
        with pytest.raises(ConfigurationError, match=r"version .* the server lacks .*timescaledb-9\.9\.9"):
            opened(url)
        with pytest.raises(ConfigurationError, match="ALTER EXTENSION timescaledb UPDATE"):
            migrations.migrate(url)
    finally:
        server.drop()


@COMMUNITY
def test_an_aggregate_may_lag_by_its_window_a_bucket_and_three_runs(store: Store) -> None:
    store.policies.set("occupancy_weekday", end_offset="2 days", schedule_interval="5 hours")
    with store.pool.connection() as connection:
        allowed: dict[str, float] = dict(connection.execute("SELECT name, allowed_seconds FROM store_lag()").fetchall())
    assert timedelta(seconds=allowed["occupancy_weekday"]) == timedelta(days=3, hours=15)
    quarters = next(p for p in store.policies.list() if p.relation == "health_quarter_hourly")
    assert quarters.end_offset is not None
    assert quarters.schedule_interval is not None
    wanted = quarters.end_offset + timedelta(hours=1) + 3 * quarters.schedule_interval
    assert timedelta(seconds=allowed["health_quarter_hourly"]) == wanted


def test_history_that_has_just_come_is_not_stale(store: Store) -> None:
    now = datetime.now(UTC)
    camera = store.cameras.add("lot").id
    store.record(OccupancyEvent(camera, now - timedelta(hours=i), 1) for i in range(240, 48, -1))
    store.refresh()
    store.record(OccupancyEvent(camera, now - timedelta(hours=i), 1) for i in range(48))
    assert problems(store) == ""


@pytest.fixture
def moved(server: RunningServer) -> Iterator[Cluster]:
    """A server on which five days will pass with no job running: there are no background workers."""
    if server.found.cluster is None:
        pytest.skip("needs a server whose clock the test may set")
    cluster = server.found.cluster()
    try:
        if not cluster.set_clock(200 * DAY):
            pytest.skip("needs libfaketime")
        cluster.start()
        migrations.migrate(cluster.url())
        yield cluster
    finally:
        cluster.remove()


def test_work_that_no_job_does_is_reported_by_its_effects_until_it_is_done(moved: Cluster) -> None:
    now = datetime.now(UTC)
    with opened(moved.url()) as store:
        camera = store.cameras.add("lot").id
        store.record(OccupancyEvent(camera, now - 200 * DAY - timedelta(hours=i), 1) for i in range(48))
        store.record([HealthLog(camera, now - 200 * DAY, "healthy")])
        for age in (5 * DAY, timedelta(0)):
            moved.set_clock(age)
            store.record([OccupancyEvent(camera, now - age, 1), HealthLog(camera, now - age, "healthy")])
        found = problems(store)
        if store.server().kind is not ServerKind.COMMUNITY:
            assert "are still there: a writer, or whoever opens the store, has not pruned for 200 days" in found
            store.prune()
            assert problems(store) == ""
            return
        for line in (
            "occupancy_events: chunks from", "health_logs: chunks from", "occupancy_events: the chunk of",
            "occupancy_quarter_hourly: materialized up to", "health_weekday: materialized up to",
            "its job never ran: are there background workers left",
        ):  # fmt: skip
            assert line in found
        with psycopg.connect(store.url, autocommit=True) as operator:
            for (job,) in operator.execute(
                "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL ORDER BY job_id"
            ).fetchall():
                operator.execute("CALL run_job(%s)", [job])
        assert problems(store) == ""
