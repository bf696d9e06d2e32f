"""What an answer reads: a month of one camera is a month of one camera, however much lies around it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from timeseries import OccupancyEvent, ServerKind, Store

FUNCTIONS = ("occupancy_hours", "occupancy_days", "occupancy_weekdays", "occupancy_profile")
END = datetime(2026, 11, 1, tzinfo=UTC)


def record(store: Store, numbers: range, start: datetime, end: datetime) -> None:
    """Every three hours a count of each lot."""
    known = {camera.name for camera in store.cameras.list()}
    for number in numbers:
        if f"lot {number}" not in known:
            store.cameras.add(f"lot {number}", timezone="Europe/Berlin")
    ids = {camera.name: camera.id for camera in store.cameras.list()}
    steps = (end - start) // timedelta(hours=3)
    events = [
        OccupancyEvent(ids[f"lot {number}"], start + i * timedelta(hours=3), i % 50)
        for i in range(steps)
        for number in numbers
    ]
    assert store.record(events).rejected == ()
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def buffers(store: Store, function: str, camera: Any) -> int:
    """Pages touched by the answer of one month, when the catalogs are in the session's caches."""
    query = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM public.{function}(%s, %s, %s)"
    with psycopg.connect(store.url, autocommit=True) as connection:
        for _ in range(3):
            row = connection.execute(
                query, [[camera.id], END - timedelta(days=90), END - timedelta(days=60)]
            ).fetchone()  # type: ignore[arg-type]
    assert row is not None
    (plan,) = row[0] if isinstance(row[0], list) else json.loads(row[0])
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_month_of_one_camera_touches_the_same_pages_with_more_history_and_more_cameras(
    store: Store, function: str
) -> None:
    record(store, range(3), END - timedelta(days=120), END)
    camera = store.cameras.get("lot 1")
    before = buffers(store, function, camera)
    record(store, range(3), END - timedelta(days=700), END - timedelta(days=120))
    assert buffers(store, function, camera) <= before * 2  # of six times as many
    record(store, range(3, 30), END - timedelta(days=120), END)
    assert buffers(store, function, camera) <= before * 2  # of ten times as many: neighbours' rows lie between its own


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
