"""What is unusual for the weekday and hour, against the hours of brute force."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from statistics import fmean, stdev
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.support import brute_force
from timeseries import OccupancyEvent, Store

HOUR = timedelta(hours=1)
HOLD = timedelta(hours=3)
ZONES = ("Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe")  # each with another offset or two in these weeks
AT = datetime(2026, 11, 10, 15, 20, tzinfo=UTC)
ASK = """
    SELECT bucket, occupied_avg, coverage, expected, lower, upper, weeks_known, unusual
    FROM occupancy_unusual(ARRAY[%s], %s, %s, %s)
"""


def hour_before(moment: datetime, zone: ZoneInfo) -> datetime:
    """The last local hour that is over."""
    local = moment.astimezone(zone)
    return (local.replace(minute=0, second=0, microsecond=0) - HOUR).astimezone(UTC)


def average(counts: dict[datetime, int], hour: datetime) -> brute_force.Known:
    found = brute_force.answer(counts, counts.values(), start=hour, end=hour + HOUR, labels=[0] * 4, hold=HOLD)
    return found[0]


@pytest.mark.parametrize("at", [AT, AT + 7 * HOUR, AT + timedelta(hours=13, minutes=45)])
def test_an_hour_is_compared_with_that_of_the_same_weekday_on_the_wall(store: Store, at: datetime) -> None:
    for number, name in enumerate(ZONES):
        zone, chance = ZoneInfo(name), random.Random(number)
        camera = store.cameras.add(name, timezone=name, hold=HOLD)
        start = AT - timedelta(weeks=9)
        moments = [start + HOUR * (1.3 * i + chance.random()) for i in range(9 * 7 * 24)]
        counts = {moment: chance.randrange(90) for moment in moments if moment < AT + timedelta(days=1)}
        store.record([OccupancyEvent(camera.id, *count) for count in counts.items()])
        hour = hour_before(at, zone)
        wall = hour.astimezone(zone).replace(tzinfo=None)
        for weeks, deviations in ((8, 1.0), (6, 0.3)):
            before = [
                average(counts, (wall - timedelta(weeks=week)).replace(tzinfo=zone).astimezone(UTC))
                for week in range(1, weeks + 1)
            ]
            known = [one.average for one in before if one.coverage >= 0.5 and one.average is not None]
            with psycopg.connect(store.url) as connection:
                row: Any = connection.execute(ASK, [camera.id, at, weeks, deviations]).fetchone()
            now = average(counts, hour)
            assert (row[0], row[6]) == (hour, len(known))
            assert row[1:3] == (pytest.approx(now.average, rel=1e-9), pytest.approx(now.coverage, rel=1e-9))
            assert row[3] == pytest.approx(fmean(known), rel=1e-9)
            width = max(deviations * stdev(known) * math.sqrt(1 + 1 / len(known)), 1)
            assert row[4] == pytest.approx(max(fmean(known) - width, 0), rel=1e-9)
            assert row[5] == pytest.approx(fmean(known) + width, rel=1e-9)
            assert now.average is not None
            assert row[7] == (now.coverage >= 0.5 and abs(now.average - fmean(known)) > width)


def test_nothing_is_unusual_where_too_little_is_known(store: Store) -> None:
    camera = store.cameras.add("new", hold=HOLD)
    store.record([OccupancyEvent(camera.id, AT - timedelta(weeks=week, hours=1, minutes=20), 5) for week in range(4)])
    with psycopg.connect(store.url) as connection:
        row: Any = connection.execute(ASK, [camera.id, AT, 8, 4]).fetchone()
        assert row[1:] == (5, 1, 5, None, None, 3, False)
        row = connection.execute(ASK, [camera.id, AT + timedelta(days=1), 8, 4]).fetchone()
        assert row[1:] == (None, 0, None, None, None, 0, False)
        store.record([OccupancyEvent(camera.id, AT - timedelta(weeks=4, hours=1, minutes=20), 5)])
        row = connection.execute(ASK, [camera.id, AT, 8, 4]).fetchone()
        assert row[1:] == (5, 1, 5, 4, 6, 4, False)
