"""Time at or above a level against brute force on raw events: exact with raw rows, bounds without."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analytics
from tests.support import brute_force
from tests.support.levels import LABELS, Asked, Counts, check, extremes, observed, quarter_of
from tests.support.roles import MakeRole, as_role, make_role
from timeseries import Camera, InvalidInputError, OccupancyEvent, Store
from timeseries.access.roles import grant

__all__ = ["make_role"]

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
ZONES = ("America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")


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
                asked = Asked(counts, level, start, end, labels, camera.hold)
                wanted = asked.bounds(removed_until(store)) if is_pruned else asked.exact()
                check(store.url, camera, wanted, by, start=start, end=end, level=level)
                check(store.url, camera, wanted, by, start=start, end=end, share=level / 100)
                truth = asked.exact()
                assert all(one.least - 1e-6 <= truth[label].least <= one.most + 1e-6 for label, one in wanted.items())


def removed_until(store: Store) -> datetime:
    with psycopg.connect(store.url) as connection:
        (first,) = connection.execute("SELECT min(timestamp) FROM occupancy_events").fetchone() or (None,)
        assert first is not None
        return quarter_of(first)


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


def test_hundreds_of_cameras_are_answered_as_each_of_them_is(store: Store) -> None:
    ids = [store.cameras.add(f"lot {number}", capacity=300).id for number in range(201)]
    start = NOW.replace(minute=0, second=0, microsecond=0) - 2 * DAY
    store.record(
        OccupancyEvent(lot, start + i * timedelta(minutes=5), n * i % 2) for n, lot in enumerate(ids) for i in range(24)
    )
    asked: dict[str, Any] = {"level": 1, "by": "total", "end": start + timedelta(hours=2), "url": store.url}
    found = analytics.time_above(**asked).set_index("camera")
    assert len(found) == 201
    assert found["hours_at_least"].to_dict() == pytest.approx({f"lot {n}": float(n % 2) for n in range(201)})
    alone: Any = analytics.time_above("lot 7", **asked).set_index("camera")
    assert found.loc["lot 7"].drop("camera_id").equals(alone.loc["lot 7"].drop("camera_id"))


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
