"""Refresh: from jobs, by hand, by mistake, interrupted, repeated: it never erases what it cannot compute again."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.histories import HOLDS, ZONES, add_cameras, answers, events_of, same
from timeseries import InvalidInputError, OccupancyEvent, ServerKind, Store

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START = NOW - timedelta(days=100)
COMMUNITY = pytest.mark.kinds(ServerKind.COMMUNITY)
AGGREGATES = ("occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday",
              "health_quarter_hourly", "health_hourly", "health_weekday")  # fmt: skip


def filled(store: Store, start: datetime = START, every: float = 7200.0) -> dict[str, list[tuple[object, ...]]]:
    chance = random.Random(11)
    store.record(event for camera in add_cameras(store) for event in events_of(camera, start, NOW, chance, every))
    return answers(store.url, start, NOW)


def test_a_refresh_with_open_bounds_changes_no_average_whose_raw_rows_are_gone(store: Store) -> None:
    before = filled(store)
    assert store.prune().removed > 0
    refreshed = store.refresh()
    assert same(answers(store.url, START, NOW), before)
    if store.server().kind is ServerKind.COMMUNITY:
        assert {part.aggregate for part in refreshed} == set(AGGREGATES)
        assert all(NOW - timedelta(days=91) <= part.start < part.end <= datetime.now(UTC) for part in refreshed)
    else:
        assert refreshed == ()


@COMMUNITY
def test_a_refresh_holds_up_late_events_for_a_day_at_a_time(store: Store) -> None:
    camera = store.cameras.add("lot").id
    midnight = NOW.replace(hour=0) - timedelta(days=6)
    store.record(OccupancyEvent(camera, midnight + timedelta(days=day), day) for day in range(5))
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("UPDATE occupancy_events SET occupied_count = 7")
        store.refresh()
        name = connection.execute(
            "SELECT relation::text FROM timeseries.materializations WHERE name = 'occupancy_weekday'"
        ).fetchone()
        assert name is not None
        found = connection.execute(f"SELECT count(DISTINCT xmin::text), max(occupied_max) FROM {name[0]}").fetchone()
    assert found == (5, 7)  # transactions, cars


@COMMUNITY
@pytest.mark.parametrize("compressed", [False, True])
def test_a_refresh_by_hand_behind_our_back_erases_nothing(store: Store, compressed: bool) -> None:
    before = filled(store)
    store.prune()
    with psycopg.connect(store.url, autocommit=True) as connection:
        for name in AGGREGATES:
            if compressed:
                connection.execute("SELECT compress_chunk(c) FROM show_chunks(%s::regclass) AS c", [name])
            connection.execute("CALL refresh_continuous_aggregate(%s::regclass, NULL, NULL, force => true)", [name])
    assert same(answers(store.url, START, NOW), before)


@COMMUNITY
def test_a_refresh_policy_that_reaches_behind_retention_erases_nothing(store: Store) -> None:
    before = filled(store)
    store.prune()
    with psycopg.connect(store.url, autocommit=True) as connection:
        jobs = connection.execute(
            "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_refresh_continuous_aggregate'"
        ).fetchall()
        for (job,) in jobs:
            connection.execute("CALL remove_columnstore_policy('occupancy_quarter_hourly', if_exists => true)")
            connection.execute(
                'SELECT alter_job(job_id, config => config || \'{"start_offset": "120 days"}\')'
                " FROM timescaledb_information.jobs WHERE job_id = %s",
                [job],
            )
            connection.execute("CALL run_job(%s)", [job])
    assert same(answers(store.url, START, NOW), before)


def terminate_when_waiting(url: str, name: str) -> None:
    """End a session as soon as it waits for a lock."""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(1000):
            done = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s AND wait_event_type = 'Lock'",
                [name],
            ).fetchall()
            if done:
                return
            time.sleep(0.02)
    raise AssertionError(f"{name} never waited")


@COMMUNITY
def test_a_refresh_that_was_killed_is_made_good_by_the_next_one(store: Store) -> None:
    before = filled(store, NOW - timedelta(days=3))
    with psycopg.connect(store.url, autocommit=True) as holder:
        relation = holder.execute(
            "SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)"
            " FROM timescaledb_information.continuous_aggregates WHERE view_name = 'occupancy_hourly'"
        ).fetchone()
        assert relation is not None

        killed = threading.Event()

        def refresh() -> None:
            call = "CALL refresh_continuous_aggregate(%s::regclass, NULL, now(), force => true)"
            with psycopg.connect(store.url, autocommit=True, application_name="doomed") as job:
                try:
                    for name in AGGREGATES[:2]:
                        job.execute(call, [name])
                except psycopg.errors.AdminShutdown:
                    killed.set()

        holder.execute("BEGIN")
        holder.execute(f"LOCK TABLE {relation[0]} IN SHARE ROW EXCLUSIVE MODE")
        thread = threading.Thread(target=refresh)
        thread.start()
        terminate_when_waiting(store.url, "doomed")
        thread.join()
        holder.execute("ROLLBACK")
        assert killed.is_set()
    store.refresh()
    assert same(answers(store.url, NOW - timedelta(days=3), NOW), before)


@COMMUNITY
def test_events_on_the_edges_of_quarters_days_and_chunks_are_counted_once(store: Store) -> None:
    camera = store.cameras.add("lot").id
    midnight = datetime(2026, 9, 1, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    events = [
        OccupancyEvent(camera, midnight + timedelta(minutes=15 * i) + shift, i % 7)
        for i in range(-100, 200)
        for shift in (-tick, timedelta(0), tick)
    ]
    assert store.record(events).inserted == len(events)
    store.refresh()
    with psycopg.connect(store.url) as connection:
        for name in AGGREGATES[:3]:
            assert connection.execute(f"SELECT sum(samples) FROM {name}").fetchone() == (len(events),)


@COMMUNITY
def test_late_and_repeated_events_into_compressed_chunks_are_stored_once(store: Store) -> None:
    filled(store, NOW - timedelta(days=50))
    with psycopg.connect(store.url, autocommit=True) as connection:
        for name in ("occupancy_events", "health_logs", *AGGREGATES):
            connection.execute("SELECT compress_chunk(c) FROM show_chunks(%s::regclass) AS c", [name])
        known = connection.execute("SELECT camera_id, timestamp, occupied_count FROM occupancy_events").fetchall()
    repeated = [OccupancyEvent(*row) for row in known]
    late = [OccupancyEvent(event.camera_id, event.timestamp + timedelta(seconds=1), 7) for event in repeated[::3]]
    result = store.record([*repeated, *late])
    assert (result.inserted, result.duplicates, result.rejected) == (len(late), len(repeated), ())
    again = store.record([*repeated, *late])
    assert (again.inserted, again.duplicates) == (0, len(repeated) + len(late))
    with psycopg.connect(store.url) as connection:
        for name in ("occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday"):
            found = connection.execute(f"SELECT sum(samples) FROM {name}").fetchone()
            assert found == (len(repeated) + len(late),)
    stored = answers(store.url, NOW - timedelta(days=50), NOW)
    store.refresh()
    assert same(answers(store.url, NOW - timedelta(days=50), NOW), stored)


@COMMUNITY
def test_a_changed_zone_rebuilds_what_is_in_the_columnstore(store: Store) -> None:
    filled(store)
    store.prune()
    with psycopg.connect(store.url, autocommit=True) as connection:
        for name in AGGREGATES:
            connection.execute("SELECT compress_chunk(c) FROM show_chunks(%s::regclass) AS c", [name])
    before = answers(store.url, START, NOW)
    store.cameras.update("lot 1", timezone="Pacific/Chatham", hold=timedelta(hours=2))
    between = answers(store.url, START, NOW)
    assert not same(between, before)
    changed = store.cameras.get("lot 1").id
    for name, rows in before.items():
        if name.endswith("quarter_hourly"):
            assert between[name] == rows
        else:  # nobody else's answers
            others = [[row for row in found if row[0] != changed] for found in (between[name], rows)]
            assert same({name: others[0]}, {name: others[1]})
    store.cameras.update("lot 1", timezone=ZONES[1], hold=HOLDS[1])
    assert same(answers(store.url, START, NOW), before)


def test_bad_bounds_are_named(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="naive"):
        store.refresh(datetime(2026, 9, 1))  # noqa: DTZ001
    with pytest.raises(InvalidInputError, match="not after it begins"):
        store.refresh(NOW, NOW - timedelta(days=1))
