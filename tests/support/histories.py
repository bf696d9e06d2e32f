"""Believable histories of cameras, and all that a store answers about them, to compare before and after."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.support import brute_force
from timeseries import Camera, HealthLog, OccupancyEvent, Store
from timeseries.model.events import Event

ZONES = ("America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe")
HOLDS = (timedelta(days=1), timedelta(minutes=90), timedelta(hours=6), timedelta(days=1))
LEVELS = ("quarter_hourly", "hourly", "weekday")
FUNCTIONS = (
    "occupancy_hours", "occupancy_weekdays", "health_hours", "health_weekdays", "group_hours", "group_weekdays",
)  # fmt: skip


def add_cameras(store: Store, number: int = 3) -> list[UUID]:
    return [store.cameras.add(f"lot {i}", timezone=ZONES[i], hold=HOLDS[i]).id for i in range(number)]


def events_of(
    camera: UUID, start: datetime, end: datetime, chance: random.Random, every: float = 3600.0
) -> Iterator[Event]:
    """Counts as they change and health now and then, at irregular moments, some on the edges of quarters, with gaps of
    up to three days.
    """
    at = start
    while True:
        at += timedelta(seconds=chance.expovariate(1 / every))
        if chance.random() < 0.005:
            at += timedelta(days=3 * chance.random())
        if chance.random() < 0.1:
            at = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0) + timedelta(minutes=15)
        if at >= end:
            return
        yield OccupancyEvent(camera, at, chance.randrange(90))
        if chance.random() < 0.1:
            yield HealthLog(camera, at, chance.choice(["healthy", "healthy", "degraded", "disconnected"]))


Rows = list[tuple[object, ...]]


def same(found: dict[str, Rows], wanted: dict[str, Rows]) -> bool:
    """Whether these are the same rows: numbers that were added up in another order to a relative 1e-9."""

    def equal(one: object, other: object) -> bool:
        numbers = isinstance(one, float) and isinstance(other, float)
        return one == other or (numbers and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12))  # type: ignore[arg-type]

    return found.keys() == wanted.keys() and all(
        len(rows) == len(wanted[name])
        and all(all(map(equal, row, other)) for row, other in zip(rows, wanted[name], strict=True))
        for name, rows in found.items()
    )


def answers(url: str, start: datetime, end: datetime) -> dict[str, Rows]:
    """Every row of the aggregates and of the functions in a range."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        rows: dict[str, Rows] = {}
        for name in (f"{family}_{level}" for family in ("occupancy", "health") for level in LEVELS):
            rows[name] = connection.execute(
                f"SELECT * FROM {name} WHERE bucket >= %s AND bucket < %s ORDER BY camera_id, bucket, first_at",
                [start, end],
            ).fetchall()
        for name in FUNCTIONS:
            rows[name] = connection.execute(
                f"SELECT * FROM {name}(NULL, %s, %s) ORDER BY 1, 2", [start, end]
            ).fetchall()
        return rows


HOURS = "SELECT bucket, occupied_avg, coverage, samples FROM occupancy_hours(%s, %s, %s)"
WEEKDAYS = "SELECT weekday, occupied_avg, coverage, samples FROM occupancy_weekdays(%s, %s, %s)"


def assert_averages(store: Store, events: Iterable[Event], start: datetime, end: datetime) -> None:
    """The averages by hour and by weekday, in a range of whole hours that is over, against brute force."""
    seen: dict[UUID | str, dict[datetime, int]] = {camera.id: {} for camera in store.cameras.list()}
    for event in events:
        if isinstance(event, OccupancyEvent):
            seen[event.camera_id][event.timestamp] = event.occupied_count
    with psycopg.connect(store.url) as connection:
        for camera in store.cameras.list():
            ask = ([camera.id], start, end)
            hours = connection.execute(HOURS, ask).fetchall()
            found = {brute_force.hour_label(max(bucket, start), camera.zone): row for bucket, *row in hours}
            assert found == _wanted(camera, seen[camera.id], start, end, brute_force.hour_label), camera.name
            found = {weekday: row for weekday, *row in connection.execute(WEEKDAYS, ask).fetchall()}
            assert found == _wanted(camera, seen[camera.id], start, end, brute_force.weekday_label), camera.name


def _wanted(
    camera: Camera,
    counts: dict[datetime, int],
    start: datetime,
    end: datetime,
    label: Callable[[datetime, ZoneInfo], Hashable],
) -> dict[Hashable, list[object]]:
    labels = [label(quarter, camera.zone) for quarter in brute_force.quarters(start, end)]
    known = brute_force.answer(counts, counts.values(), start=start, end=end, labels=labels, hold=camera.hold)
    return {key: _approximately(one) for key, one in known.items()}


def _approximately(known: brute_force.Known) -> list[object]:
    average = None if known.average is None else pytest.approx(known.average, rel=1e-9, abs=1e-12)
    return [average, pytest.approx(known.coverage, rel=1e-9, abs=1e-12), known.samples]
