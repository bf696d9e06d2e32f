"""Retention where no policies run: what is due, who prunes, and what is recorded."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.histories import add_cameras, events_of
from timeseries import ServerKind, Store
from timeseries.maintenance.retainer import Retainer
from timeseries.maintenance.retention_record import Record, read_record

WITHOUT_POLICIES = pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
DUE = (
    "UPDATE timeseries.retention_run SET since = since - interval '1 day', finished_at = finished_at - interval '1 day'"
)
RETRY = "UPDATE timeseries.retention_run SET started_at = started_at - interval '20 minutes'"


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def record(url: str) -> Record:
    with psycopg.connect(url) as connection:
        return read_record(connection)


def old_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("""
            SELECT (SELECT count(*) FROM occupancy_events WHERE "timestamp" < now() - interval '91 days')
                 + (SELECT count(*) FROM health_logs WHERE "timestamp" < now() - interval '91 days')
        """).fetchone()
    assert row is not None
    return int(row[0])


def fill(store: Store, days: int = 4) -> None:
    chance = random.Random(3)
    start = NOW - timedelta(days=92 + days)
    for camera in add_cameras(store, 2):
        store.record(events_of(camera, start, start + timedelta(days=days + 5), chance))
        store.cameras.update(camera, desired_state="stopped")


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def retaining(url: str, number: int = 1) -> Iterator[None]:
    """So many processes at once, each with its own connection."""
    found = [Retainer(url) for _ in range(number)]
    try:
        for position, retainer in enumerate(found):
            retainer.start(f"process {position}")
        yield
    finally:
        for retainer in found:
            retainer.close()
