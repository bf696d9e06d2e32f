"""SQLite databases as a proof of concept leaves them."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from timeseries import Store

LAYOUT = """
    CREATE TABLE cameras (
        id TEXT PRIMARY KEY, name TEXT, connection_string TEXT, zone_config TEXT, desired_state TEXT, timezone TEXT,
        hold TEXT, capacity INTEGER, created_at TEXT, colour TEXT
    );
    CREATE TABLE occupancy_events (
        id INTEGER PRIMARY KEY, camera_id TEXT, timestamp TEXT, occupied_count INTEGER, raw_data TEXT, model TEXT
    );
    CREATE TABLE health_logs (id INTEGER PRIMARY KEY, camera_id TEXT, status TEXT, message TEXT, timestamp TEXT);
"""
NORTH, SOUTH = UUID("0b0e8a2c-6d57-4f5b-9d2c-000000000001"), UUID("0b0e8a2c-6d57-4f5b-9d2c-000000000002")
START = datetime(2026, 5, 4, tzinfo=UTC)
PLAINTEXT = "rtsp://admin:hunter2@camera/1"


def database(path: Path, layout: str, **rows: list[dict[str, Any]]) -> Path:
    connection = sqlite3.connect(path)
    connection.executescript(layout)
    for table, values in rows.items():
        for row in values:
            names = ", ".join(row)
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
    connection.commit()
    connection.close()
    return path


def events(*moments: object, camera: object = str(NORTH)) -> list[dict[str, Any]]:
    return [{"camera_id": camera, "timestamp": at, "occupied_count": i + 1} for i, at in enumerate(moments)]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Fifty days: plain connection strings, times with offsets and as numbers, columns of its own."""
    cameras = [
        {"id": str(NORTH), "name": "North Lot", "connection_string": PLAINTEXT, "zone_config": '{"zones": [[0, 1]]}',
         "desired_state": "STOPPED", "timezone": "America/New_York", "hold": "2h", "capacity": 180,
         "created_at": "2026-04-01T12:00:00+00:00", "colour": "red"},
        {"id": SOUTH.hex, "name": "South Lot"},
    ]  # fmt: skip
    occupancy = [
        {"camera_id": str(NORTH) if i % 2 else SOUTH.hex, "occupied_count": i % 90, "model": "v1",
         "timestamp": (START + timedelta(minutes=30 * i)).isoformat() if i % 3 else START.timestamp() + 1800 * i,
         "raw_data": json.dumps({"boxes": [i]}) if i % 5 else None}
        for i in range(2400)
    ]  # fmt: skip
    health = [
        {"camera_id": str(NORTH), "status": ["healthy", "DEGRADED"][i % 2], "message": "RTSP timeout",
         "timestamp": (START + timedelta(hours=7 * i)).timestamp()} for i in range(100)
    ]  # fmt: skip
    return database(tmp_path / "old.sqlite", LAYOUT, cameras=cameras, occupancy_events=occupancy, health_logs=health)  # type: ignore[arg-type]


def ask(store: Store, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(store.url) as connection:
        connection.execute("SET timezone = 'UTC'")
        return connection.execute(query).fetchall()
