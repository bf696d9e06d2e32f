"""A store with a bit of everything, and all that a backup must bring back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import psycopg
import pytest

from timeseries import (
    HealthLog,
    OccupancyEvent,
    ServerKind,
    Store,
)
from timeseries.backup.archive import DUMP, Manifest, open_backup, write_dump, write_manifest

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
AGGREGATES = [f"{f}_{level}" for f in ("occupancy", "health") for level in ("quarter_hourly", "hourly", "weekday")]
TABLES = ("cameras", "camera_groups", "group_members", "timeseries.names", "occupancy_events", "health_logs")
CATALOG = """
    SELECT 'function', p.oid::regprocedure::text, md5(p.prosrc) FROM pg_proc AS p
    WHERE p.pronamespace = 'timeseries'::regnamespace OR p.proname ~ '^(occupancy|health|group)_'
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text || '.' || tgname, tgenabled::text FROM pg_trigger
    WHERE (tgrelid IN ('cameras'::regclass, 'camera_groups'::regclass) OR tgname = 'keep_sealed_quarter')
      AND NOT tgisinternal
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text IN ('cameras', 'camera_groups', 'group_members', 'occupancy_events', 'health_logs')
"""
POLICIES = "SELECT job_id, proc_name, hypertable_name, config, schedule_interval FROM timescaledb_information.jobs"


def fill(store: Store) -> None:
    """Two cameras: one whose oldest raw rows are gone and only averages are kept, one with everything; and a group."""
    old = store.cameras.add("old", timezone="Asia/Kolkata", connection_string="rtsp://admin:hunter2@camera/1")
    new = store.cameras.add("new", capacity=90, hold=timedelta(hours=2), zone_config={"zones": [[0, 1]]})
    start = MIDNIGHT - timedelta(days=100)
    store.groups.add("lot", ["old"], timezone="Asia/Kolkata")
    store.groups.join("lot", "new", since=MIDNIGHT - timedelta(days=9))
    store.record(OccupancyEvent(old.id, start + timedelta(hours=i), i % 50, {"i": i}) for i in range(72))
    store.record([HealthLog(old.id, start, "degraded", "RTSP timeout")])
    store.prune()
    recent = MIDNIGHT - timedelta(days=9)
    store.record(OccupancyEvent(new.id, recent + timedelta(minutes=20 * i), i % 90) for i in range(600))
    store.record([HealthLog(new.id, recent + timedelta(days=1), "healthy")])
    if store.server().kind is ServerKind.COMMUNITY:
        with store.pool.connection() as connection:
            connection.autocommit = True
            connection.execute("SELECT compress_chunk(c) FROM show_chunks('occupancy_events') AS c LIMIT 3")
            connection.autocommit = False


def everything(url: str) -> dict[str, Any]:
    """All rows, all averages, and what the database is made of."""
    with psycopg.connect(url) as connection:

        def rows(query: str) -> set[str]:
            return {str(row) for row in connection.execute(query).fetchall()}

        connection.execute("SET timezone = 'UTC'")
        found = {name: rows(f"SELECT * FROM {name}") for name in TABLES}
        found |= {name: rows(f"SELECT * FROM {name}") for name in AGGREGATES}
        span = f"NULL, '{MIDNIGHT - timedelta(days=110)}', '{MIDNIGHT}'"
        for name in ("occupancy_hours", "occupancy_weekdays", "health_hours", "health_weekdays", "group_hours"):
            found[name] = rows(f"SELECT * FROM {name}({span})")
        found["catalog"] = rows(CATALOG)
        if connection.execute("SELECT to_regclass('timescaledb_information.jobs')").fetchone() != (None,):
            found["policies"] = rows(POLICIES)
    return found


@pytest.fixture
def filled(store: Store) -> Store:
    fill(store)
    return store


def rewritten(path: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """The same backup with another manifest."""
    other = path.with_name("other.backup")
    with open_backup(path) as (manifest, backup), ZipFile(other, "w") as file, backup.open(DUMP) as dump:
        write_dump(file, dump)
        write_manifest(file, change(manifest))
    return other
