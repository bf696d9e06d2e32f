"""What an answer reads: a month of one camera is a month of one camera, however much lies around it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import analytics
from timeseries import HealthLog, OccupancyEvent, ServerKind, Store

FUNCTIONS = (
    "occupancy_hours", "occupancy_days", "occupancy_weekdays", "occupancy_profile", "health_hours", "health_weekdays",
    "health_uptime", "health_states", "occupancy_above",
)  # fmt: skip
END = datetime(2026, 11, 1, tzinfo=UTC)
FILL = {
    "occupancy_events": "occupied_count) SELECT c.id, at, 7",
    "health_logs": "status) SELECT c.id, at, 'degraded'",
}


def record(store: Store, numbers: range, start: datetime, end: datetime) -> None:
    """Every hour a count and a status of each lot, in the order of time."""
    ids = [store.cameras.add(f"lot {number}", timezone="Europe/Berlin").id for number in numbers]
    moments = [start + i * timedelta(hours=1) for i in range((end - start) // timedelta(hours=1))]
    counts = [OccupancyEvent(lot, at, i % 50) for i, at in enumerate(moments) for lot in ids]
    assert store.record(counts).rejected == ()
    assert store.record([HealthLog(lot, at, "healthy") for at in moments for lot in ids]).rejected == ()
    vacuum(store)


def fill(store: Store, cameras: int, start: datetime) -> None:
    """So many lots in all, and for each of them a row a week since then, on one day of all."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO public.cameras (id, name, timezone) SELECT gen_random_uuid(), 'more ' || i, 'Europe/Berlin'"
            " FROM generate_series(1, %s - (SELECT count(*) FROM public.cameras)) AS i",
            [cameras],
        )
        for table, columns in FILL.items():
            connection.execute(
                f'INSERT INTO public.{table} (camera_id, "timestamp", {columns}'
                " FROM public.cameras AS c, generate_series(%s, %s, interval '7 days') AS at ORDER BY at, c.id",
                [start + timedelta(minutes=1), END],
            )
            (rows,) = connection.execute(f"SELECT count(*) FROM public.{table}").fetchone()  # type: ignore[misc]
            assert rows > cameras * ((END - start) // timedelta(days=7))
    vacuum(store)


def vacuum(store: Store) -> None:
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def read(store: Store, function: str, camera: Any) -> int:
    """Pages touched by the answer of one month, when the catalogs are in the session's caches."""
    query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM public.{function}(%s, %s, %s)"
    with psycopg.connect(store.url, autocommit=True) as connection:
        for _ in range(3):
            row = connection.execute(
                query, [[camera.id], END - timedelta(days=90), END - timedelta(days=60)]
            ).fetchone()
    assert row is not None
    (plan,) = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


def test_a_month_of_one_camera_is_read_alike_in_five_years_of_two_hundred_cameras(store: Store) -> None:
    record(store, range(3), END - timedelta(days=120), END)
    camera = store.cameras.get("lot 1")
    small = {function: read(store, function, camera) for function in FUNCTIONS}
    fill(store, 200, END - timedelta(days=5 * 365))
    large = {function: read(store, function, camera) for function in FUNCTIONS}
    assert {f: (small[f], large[f]) for f in FUNCTIONS if large[f] > 1.5 * small[f]} == {}


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_an_answer_of_materialized_days_reads_no_raw_row(store: Store) -> None:
    record(store, range(1), END - timedelta(days=30), END)
    query = "SELECT * FROM public.occupancy_weekdays(NULL, %s, %s)"
    with psycopg.connect(store.url, autocommit=True) as connection:
        ask = [END - timedelta(days=28), END]
        before = connection.execute(query, ask).fetchall()
        connection.execute("TRUNCATE public.occupancy_events")
        assert connection.execute(query, ask).fetchall() == before
        assert len(before) == 7


def test_local_midnights_are_found_once_for_all_cameras_of_a_zone(store: Store) -> None:
    query = "SELECT count(*) FROM public.occupancy_weekdays(NULL, %s, %s)"
    calls = "SELECT calls FROM pg_stat_xact_user_functions WHERE schemaname = 'timeseries' AND funcname = 'midnight'"
    found = []
    for numbers in (range(3), range(3, 30)):
        record(store, numbers, END - timedelta(days=9), END - timedelta(days=8))
        with psycopg.connect(store.url) as connection:
            connection.execute("SET track_functions = 'pl'")
            connection.execute(query, [END - timedelta(days=9), END])
            found.append(connection.execute(calls).fetchone())
    assert found[0] is not None
    assert found[0] == found[1]


@pytest.mark.parametrize("function", ["occupancy_weekdays", "occupancy_hours", "health_uptime"])
def test_an_answer_of_one_camera_plans_few_statements(store: Store, function: str) -> None:
    record(store, range(1), END - timedelta(days=9), END)
    query = f"SELECT * FROM public.{function}(%s, %s, %s)"
    ask = [[store.cameras.get("lot 0").id], END - timedelta(days=8), END]
    planned = []
    with psycopg.connect(store.url, autocommit=True) as connection:
        for _ in range(10):
            connection.execute(query, ask)
        connection.execute("SET client_min_messages = 'log'")
        connection.execute("SET log_planner_stats = on")
        connection.add_notice_handler(lambda said: planned.append(said.message_primary))
        connection.execute(query, ask)
    assert 0 < planned.count("PLANNER STATISTICS") <= 8


def test_parallel_workers_know_the_parameters_of_a_query(store: Store) -> None:
    record(store, range(3), END - timedelta(days=20), END)
    with psycopg.connect(store.url, autocommit=True) as connection:
        forced = "debug_parallel_query" if connection.info.server_version >= 160000 else "force_parallel_mode"
        connection.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {connection.info.dbname} SET {forced} = on")
    pages = analytics.events("lot 1", start=END - timedelta(days=10), end=END, url=store.url)
    assert sum(len(page) for page in pages) == 240
