"""Time at or above a level against brute force on raw events: exact with raw rows, bounds without."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analytics
from tests.support import brute_force
from tests.support.brute_force import QUARTER
from tests.support.roles import MakeRole, as_role, make_role
from timeseries import Camera, InvalidInputError, OccupancyEvent, Store
from timeseries.access.roles import grant

__all__ = ["make_role"]

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
ZONES = ("America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
LABELS: dict[str, Any] = {
    "day": brute_force.day_label,
    "weekday": brute_force.weekday_label,
    "month": lambda quarter, zone: quarter.astimezone(zone).date().replace(day=1),
    "total": lambda quarter, zone: 0,
}
Counts = dict[datetime, int]
Bounds = dict[Hashable, tuple[float, float, float]]


def observed(chance: random.Random, start: datetime, end: datetime) -> Counts:
    """Irregular moments, some within a minute, some on a quarter of an hour, some days apart."""
    at, found = start, {}
    while (at := at + timedelta(seconds=chance.choice([20, 200, 2000, 9000]) * (0.1 + chance.random()))) < end:
        if chance.random() < 0.01:
            at += timedelta(days=2 * chance.random())
        if chance.random() < 0.1:
            at = datetime.fromtimestamp(-(-at.timestamp() // 900) * 900, UTC)
        found[at] = chance.randrange(100)
    return found


def exact(counts: Counts, level: int, start: datetime, end: datetime, labels: list[Hashable], camera: Camera) -> Bounds:
    """The indicator of the level, integrated."""
    is_above = [int(count >= level) for count in counts.values()]
    known = brute_force.answer(
        counts, is_above, start=start, end=end, labels=labels, hold=camera.hold, now=datetime.now(UTC)
    )
    return {label: (k.car_seconds, k.car_seconds, k.coverage) for label, k in known.items()}


def bounds(
    counts: Counts, level: int, start: datetime, end: datetime, labels: list[Hashable], camera: Camera, until: datetime
) -> Bounds:
    """The same where the raw rows of the quarters before a moment are gone: what is between the first and the last
    observation of such a quarter is taken away, and comes back as the least and the most that their extremes allow.
    """
    result = exact(counts, level, start, end, labels, camera)
    quarters: dict[datetime, Counts] = {}
    for at, count in sorted(counts.items()):
        if start <= at < min(end, until):
            quarters.setdefault(datetime.fromtimestamp(at.timestamp() // 900 * 900, UTC), {})[at] = count
    for quarter, inside in quarters.items():
        times, values = list(inside), list(inside.values())
        spans = [(later - at).total_seconds() for at, later in pairwise(times)]
        known, cars = sum(spans), sum(span * count for span, count in zip(spans, values, strict=False))
        above = sum(span for span, count in zip(spans, values, strict=False) if count >= level)
        least, most = extremes(known, cars, min(values), max(values), level)
        label = labels[(quarter - start) // QUARTER]
        low, high, coverage = result[label]
        result[label] = (low - above + least, high - above + most, coverage)
    return result


def extremes(known: float, cars: float, minimum: int, maximum: int, level: int) -> tuple[float, float]:
    """The least time above: what is above is full, and the rest just below. The most: as little above as counts, and
    the rest empty.
    """
    if minimum >= level or maximum < level:
        return (known, known) if minimum >= level else (0, 0)
    least = (cars - known * (level - 1)) / (maximum - (level - 1))
    most = (cars - known * minimum) / (level - minimum)
    return max(least, 0), min(most, known)


def check(store: Store, camera: Camera, wanted: Bounds, by: Any, **asked: Any) -> None:
    found = analytics.time_above(camera, by=by, url=store.url, **asked).reset_index()
    keys = found["local_date"].dt.date if by in ("day", "month") else found["weekday"] if by == "weekday" else [0]
    rows = dict(zip(keys, found.itertuples(), strict=True))
    known = {label: one for label, one in wanted.items() if one[2] > 0}
    assert set(rows) == set(known)
    for label, (least, most, coverage) in known.items():
        row: Any = rows[label]
        assert row.hours_at_least == pytest.approx(least / 3600, rel=1e-9, abs=1e-9)
        assert row.hours_at_most == pytest.approx(most / 3600, rel=1e-9, abs=1e-9)
        assert row.hours_at_least <= row.hours_at_most
        assert row.coverage == pytest.approx(coverage, rel=1e-9, abs=1e-12)
        assert row.share_at_least == pytest.approx(row.hours_at_least / row.known_hours)
        assert row.share_at_most <= 1 + 1e-9


def test_time_above_is_that_of_brute_force_before_and_after_retention(store: Store) -> None:
    """Ranges that begin and end anywhere, before, across and after the day until which raw rows are removed."""
    kept_from = MIDNIGHT - 90 * DAY
    lots: list[tuple[Camera, Counts]] = []
    for number, zone in enumerate(ZONES):
        camera = store.cameras.add(zone, timezone=zone, hold=timedelta(hours=(30, 3, 24)[number]), capacity=100)
        counts = observed(random.Random(number), kept_from - 12 * DAY, kept_from + 6 * DAY)
        assert store.record([OccupancyEvent(camera.id, *count) for count in counts.items()]).rejected == ()
        lots.append((camera, counts))
    ranges = [(-9.5, 5.25), (-6.125, -2.25), (-2.0, 1.0), (1.0, 4.75)]
    for is_pruned in (False, True):
        if is_pruned:
            assert store.prune().removed > 0
        for camera, counts in lots:
            for level, (begin, finish), by in zip((1, 50, 85, 100), ranges, LABELS, strict=True):
                start, end = kept_from + begin * DAY, kept_from + finish * DAY
                labels = [LABELS[by](quarter, camera.zone) for quarter in brute_force.quarters(start, end)]
                asked: Any = (counts, level, start, end, labels, camera)
                wanted = bounds(*(*asked, removed_until(store))) if is_pruned else exact(*asked)
                check(store, camera, wanted, by, start=start, end=end, level=level)
                check(store, camera, wanted, by, start=start, end=end, share=level / 100)
                truth = exact(*asked)
                assert all(one[0] - 1e-6 <= truth[label][0] <= one[1] + 1e-6 for label, one in wanted.items())


def removed_until(store: Store) -> datetime:
    with psycopg.connect(store.url) as connection:
        (first,) = connection.execute("SELECT min(timestamp) FROM occupancy_events").fetchone() or (None,)
        assert first is not None
        return datetime.fromtimestamp(first.timestamp() // 900 * 900, UTC)


def test_a_count_that_still_stands_counts_until_now_and_a_range_may_be_open(store: Store) -> None:
    camera, now = store.cameras.add("lot", hold=timedelta(hours=2), capacity=10), datetime.now(UTC)
    begin = now - timedelta(hours=30)
    store.record([OccupancyEvent(camera.id, begin, 9), OccupancyEvent(camera.id, now - timedelta(hours=1), 8)])
    row: Any = analytics.time_above("lot", share=0.85, by="total", url=store.url).iloc[0]
    assert (row["level"], row["hours_at_least"], row["hours_at_most"]) == (9, 2, 2)
    assert row["known_hours"] == pytest.approx(3, abs=0.1)
    row = analytics.time_above("lot", level=8, by="total", start=now - timedelta(minutes=30), url=store.url).iloc[0]
    assert row["hours_at_least"] == pytest.approx(row["known_hours"])
    assert 0.5 <= row["known_hours"] < 0.8


def test_a_share_is_taken_as_a_decimal_number_and_needs_a_capacity(store: Store) -> None:
    """0.07 * 100 is 7.000000000000001 in binary."""
    for name, capacity in (("hundred", 100), ("without", None)):
        camera = store.cameras.add(name, capacity=capacity)
        store.record([OccupancyEvent(camera.id, NOW - timedelta(hours=3), 7)])
    found: Any = analytics.time_above(share=0.07, by="total", end=NOW, url=store.url).set_index("camera")
    assert found.loc["hundred", "level"] == 7
    assert found.loc["hundred", "share_at_least"] == 1
    assert found.loc["without", ["level", "hours_at_least", "share_at_most"]].isna().all()
    assert found.loc["without", "coverage"] > 0


def test_a_reader_who_may_not_read_raw_rows_is_answered(store: Store, make_role: MakeRole) -> None:
    camera = store.cameras.add("lot", hold=timedelta(hours=2), capacity=10)
    store.record([OccupancyEvent(camera.id, NOW - timedelta(hours=i), i % 3) for i in range(1, 400)])
    reader = make_role(store.url, "reader")
    grant(store.url, readers=[reader])
    url = as_role(store.url, reader)
    row = analytics.time_above("lot", share=0.2, by="total", end=NOW - timedelta(hours=1), url=url).iloc[0]
    assert row["share_at_least"] == pytest.approx(1 / 3, abs=0.01)
    assert analytics.expected("lot", url=url)["expected"].notna().any()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "either a level"),
        ({"level": 5, "share": 0.5}, "either a level"),
        ({"level": -1}, "level -1"),
        ({"share": float("nan")}, "share nan"),
        ({"level": 5, "by": "year"}, "by 'year'"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(asked: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        analytics.time_above("lot", **asked)


def test_frames_have_the_same_columns_without_rows(store: Store) -> None:
    store.cameras.add("Empty")
    for by in LABELS:
        asked: Any = {"level": 5, "by": by, "url": store.url}
        found, empty = analytics.time_above("Empty", **asked), analytics.time_above([], **asked)
        assert len(found) == 0
        assert [*found.columns] == [*empty.columns]
        table = analytics.time_above("Empty", as_arrow=True, **asked)
        assert {*found.columns} <= {*table.column_names}
    assert isinstance(analytics.time_above("Empty", level=5, url=store.url).index, pd.DatetimeIndex)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 300), st.integers(0, 50)), min_size=1, max_size=6), st.integers(0, 51))
def test_the_bounds_enclose_the_time_above(steps: list[tuple[float, int]], level: int) -> None:
    known = math.fsum(seconds for seconds, _ in steps)
    cars = math.fsum(seconds * count for seconds, count in steps)
    counts = [count for _, count in steps]
    above = math.fsum(seconds for seconds, count in steps if count >= level)
    least, most = extremes(known, cars, min(counts), max(counts), level)
    assert least - 1e-6 <= above <= most + 1e-6
