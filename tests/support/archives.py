"""Histories for an archive, what its files hold, and what the database does."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pyarrow.parquet as pq

from tests.support.histories import add_cameras, events_of
from timeseries import Store

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
OLD = TODAY - 100 * DAY


def execute(store: Store, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(store.url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def files(folder: Path) -> dict[str, int]:
    """Every file and when it was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def archived(folder: Path, table: str = "occupancy_events") -> set[tuple[object, ...]]:
    found = [tuple(row.values()) for path in folder.glob(f"{table}/*/*.parquet") for row in rows_of(path)]
    assert len(found) == len({row[:2] for row in found})
    return set(found)


def rows_of(path: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.ParquetFile(path).read().to_pylist()
    return rows


def stored(store: Store, table: str = "occupancy_events", where: str = "true") -> set[tuple[object, ...]]:
    value, extra = ("occupied_count", "raw_data") if table == "occupancy_events" else ("status", "message")
    return set(
        execute(store, f"SELECT camera_id::text, timestamp, {value}, {extra}::text FROM {table} WHERE {where}")
        if value == "occupied_count"
        else execute(store, f"SELECT camera_id::text, timestamp, {value}::text, {extra} FROM {table} WHERE {where}")
    )


def missing(store: Store) -> dict[object, object]:
    return dict(execute(store, "SELECT name, days_missing FROM store_archive()"))  # type: ignore[arg-type]


def fill(store: Store, start: datetime = OLD, days: int = 5) -> list[UUID]:
    """Cameras with a history of some days; all of them are over."""
    chance = random.Random(7)
    cameras = add_cameras(store, 2)
    for camera in cameras:
        store.record(events_of(camera, start, start + days * DAY, chance))
        store.cameras.update(camera, desired_state="stopped")
    return cameras
