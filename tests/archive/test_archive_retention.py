"""Retention, which removes no day that is not in the archive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.archives import DAY, OLD, archived, execute, files, fill, missing, stored
from tests.support.faults import opened
from tests.support.histories import answers, same
from tests.support.servers import RunningServer
from timeseries import ConfigurationError, InvalidInputError, OccupancyEvent, ServerKind, ServerUnavailableError, Store
from timeseries.schema import migrations


def prune_anyhow(store: Store) -> int:
    """What the server's own retention would do, and the command."""
    if store.server().kind is ServerKind.COMMUNITY:
        with psycopg.connect(store.url, autocommit=True) as connection:
            jobs = connection.execute(
                "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' AND scheduled"
            ).fetchall()
            for job in jobs:
                connection.execute("CALL run_job(%s)", job)
    return store.prune().removed


def test_retention_removes_no_day_that_is_not_in_the_archive_and_goes_on_afterwards(
    store: Store, tmp_path: Path
) -> None:
    store.archive(tmp_path)
    fill(store)
    rows = len(stored(store))
    before = answers(store.url, OLD - DAY, OLD + 9 * DAY)
    assert prune_anyhow(store) == 0
    assert len(stored(store)) == rows
    over = ((datetime.now(UTC) - timedelta(hours=25)).date() - OLD.date()).days
    assert missing(store) == {"occupancy_events": over, "health_logs": over}
    assert any("not in the archive" in problem for problem in store.status().problems)
    result = store.archive(tmp_path)
    removed = result.removed or store.prune().removed
    assert removed == len(archived(tmp_path)) + len(archived(tmp_path, "health_logs"))
    assert (stored(store), len(archived(tmp_path))) == (set(), rows)
    assert same(answers(store.url, OLD - DAY, OLD + 9 * DAY), before)
    written = files(tmp_path)
    assert (store.archive(tmp_path).files, files(tmp_path)) == (0, written)
    assert store.status().problems == ()


def test_a_late_event_of_an_archived_day_holds_retention_back_until_it_is_archived(
    store: Store, tmp_path: Path
) -> None:
    lot = store.cameras.add("lot", desired_state="stopped").id
    store.cameras.add("other", desired_state="stopped")
    store.record([OccupancyEvent(lot, OLD + timedelta(hours=i), i) for i in range(20)])
    execute(store, "UPDATE timeseries.retention_run SET scheduled = false")
    store.archive(tmp_path)
    execute(store, "UPDATE timeseries.retention_run SET scheduled = true")
    store.record([OccupancyEvent(lot, OLD + timedelta(minutes=30), 4)])
    held = store.prune()
    assert (held.removed, held.held) == (0, 1)
    assert store.archive(tmp_path).removed + store.prune().removed == 21
    assert len(archived(tmp_path)) == 21


def test_a_late_event_of_a_removed_day_becomes_another_part_of_it(store: Store, tmp_path: Path) -> None:
    fill(store)
    store.archive(tmp_path)
    store.prune()
    before = archived(tmp_path)
    assert (stored(store), len(before) > 0) == (set(), True)
    other = store.cameras.add("other", desired_state="stopped").id
    for round_ in (1, 2):
        event = OccupancyEvent(other, OLD + round_ * timedelta(hours=1), round_)
        assert store.record([event]).inserted == 1
        assert missing(store)["occupancy_events"] == 1
        store.archive(tmp_path)
        store.prune()
        assert (tmp_path / f"occupancy_events/day={OLD:%Y-%m-%d}/part-{round_}.parquet").exists()
        assert stored(store) == set()
        assert len(archived(tmp_path)) == len(before) + round_


@pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
def test_retention_by_itself_stops_at_the_first_day_that_is_not_archived(store: Store, tmp_path: Path) -> None:
    lot, _ = fill(store)
    execute(store, "UPDATE timeseries.retention_run SET scheduled = false")
    store.archive(tmp_path)
    store.record([OccupancyEvent(lot, OLD + 2 * DAY + timedelta(hours=3, seconds=1), 1)])
    execute(store, "UPDATE timeseries.retention_run SET scheduled = true, since = now() - interval '2 days'")
    while execute(store, "SELECT timeseries.retain('a process')") == [(True,)]:
        pass
    assert execute(store, "SELECT min(timestamp) >= '%s' FROM occupancy_events" % (OLD + 2 * DAY)) == [(True,)]
    assert execute(store, "SELECT error FROM timeseries.retention_run") == [(None,)]
    execute(
        store,
        f"INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES ('{lot}', '{OLD - DAY}', 1)",
    )
    store.archive(tmp_path)
    assert store.prune().held == 0
    assert stored(store) == set()


def test_rows_stored_past_the_store_are_counted_before_a_day_is_removed(store: Store, tmp_path: Path) -> None:
    lot, _ = fill(store)
    execute(store, "UPDATE timeseries.retention_run SET scheduled = false")
    store.archive(tmp_path)
    execute(store, "UPDATE timeseries.retention_run SET scheduled = true")
    at = OLD + timedelta(seconds=1)
    execute(store, f"INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES ('{lot}', '{at}', 1)")
    rows = len(stored(store))
    with pytest.raises(ServerUnavailableError, match="run timeseries archive"):
        store.prune()
    assert len(stored(store)) == rows
    store.archive(tmp_path)
    store.prune()
    assert (stored(store), len(archived(tmp_path))) == (set(), rows)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_the_servers_own_retention_is_held_back_whatever_is_resumed_or_set(store: Store, tmp_path: Path) -> None:
    native = "FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
    store.archive(tmp_path)
    store.jobs.resume()
    store.policies.set("occupancy_events", drop_after="95 days")
    store.policies.set("health_logs", drop_after=None)
    store.policies.set("health_logs", drop_after="95 days")
    assert execute(store, f"SELECT DISTINCT scheduled {native}") == [(False,)]
    (held,) = execute(store, f"SELECT job_id {native} AND hypertable_name = 'health_logs'")
    with pytest.raises(InvalidInputError, match="held back"):
        store.jobs.resume([held[0]])  # type: ignore[list-item]
    assert store.status().problems == ()
    execute(store, f"SELECT alter_job(job_id, scheduled => true) {native}")
    assert any("does not ask the archive" in problem for problem in store.status().problems)
    store.archive(tmp_path)
    assert store.status().problems == ()
    store.jobs.pause([0])
    with pytest.raises(ConfigurationError, match="paused"):
        store.prune()
    assert any("retention is paused" in problem for problem in store.status().problems)
    store.jobs.resume([0])
    assert store.stop_archive() == str(tmp_path)
    assert execute(store, f"SELECT DISTINCT scheduled {native}") == [(True,)]


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_database_that_moves_up_keeps_its_archive_and_starts_no_retention_that_does_not_ask(
    server: RunningServer, tmp_path: Path
) -> None:
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may restart")
    cluster = server.found.cluster(**{"timescaledb.license": "apache"})
    try:
        cluster.start()
        migrations.migrate(cluster.url())
        with opened(cluster.url()) as store:
            fill(store)
            store.archive(tmp_path)
            before = archived(tmp_path)
            assert store.prune().removed > 0
        cluster.stop()
        cluster.configure(**{"timescaledb.license": "timescale"})
        cluster.start()
        migrations.migrate(cluster.url())
        with opened(cluster.url()) as store:
            native = "FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
            assert execute(store, f"SELECT DISTINCT scheduled {native}") == [(False,)]
            assert store.archive(tmp_path).files == 0
            assert archived(tmp_path) == before
            store.stop_archive()
            assert execute(store, f"SELECT DISTINCT scheduled {native}") == [(True,)]
    finally:
        cluster.remove()
