"""Frames after the answer: kept in files, put together, and what their attrs say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import analytics
from timeseries import HealthLog, OccupancyEvent, Store

START = datetime(2026, 8, 3, 4, tzinfo=UTC)  # Monday, midnight in New York
END = START + timedelta(days=7)
CARS, STATUS, SHARE = "cars", "status", "share of the known time"
QUESTIONS = [
    (analytics.quarter_hourly_averages, CARS), (analytics.hourly_averages, CARS), (analytics.daily_averages, CARS),
    (analytics.weekday_averages, CARS), (analytics.weekday_profile, CARS), (analytics.peaks, CARS),
    (analytics.uptime, SHARE), (analytics.states, STATUS), (analytics.outages, STATUS),
    (partial(analytics.aggregate_rows, "occupancy_hourly"), CARS),
    (partial(analytics.aggregate_rows, "health_weekday", summary=True), SHARE),
]  # fmt: skip


@pytest.fixture
def lots(store: Store) -> Store:
    """A week of two lots in two zones, an event an hour, and a third lot without any."""
    for name, zone in (("North Lot", "America/New_York"), ("South Lot", "Asia/Kolkata")):
        camera = store.cameras.add(name, timezone=zone, capacity=46)
        store.record([OccupancyEvent(camera.id, START + timedelta(hours=i), i % 24) for i in range(7 * 24)])
        store.record([HealthLog(camera.id, START + timedelta(hours=i), "degraded") for i in range(7 * 24)])
    store.cameras.add("West Lot", timezone="Europe/Berlin")
    return store


@pytest.mark.parametrize(("ask", "unit"), QUESTIONS)
def test_a_frame_kept_as_parquet_comes_back_with_its_attrs(lots: Store, tmp_path: Path, ask: Any, unit: str) -> None:
    for cameras in ("North Lot", None):
        frame = ask(cameras, start=START, end="2026-08-10T04:00Z", url=lots.url)
        frame.to_parquet(tmp_path / "frame.parquet")
        again = pd.read_parquet(tmp_path / "frame.parquet")
        assert again.attrs == frame.attrs
        pd.testing.assert_frame_equal(again, frame, check_categorical=False, check_freq=False)
        assert frame.attrs == {
            "start": "2026-08-03T04:00:00+00:00",
            "end": "2026-08-10T04:00:00+00:00",
            "rounded": False,
            "timezone": "America/New_York" if cameras else None,
            "unit": unit,
        }
        table = ask(cameras, start=START, end=END, as_arrow=True, url=lots.url)
        assert json.loads(table.schema.metadata[b"timeseries"]) == frame.attrs


def test_frames_of_latest_and_of_a_comparison_are_kept_as_parquet_too(lots: Store, tmp_path: Path) -> None:
    halves: Any = {"before": ("2026-08-03", "2026-08-06"), "after": ("2026-08-06", "2026-08-10")}
    for frame in (analytics.latest(url=lots.url), analytics.compare("North Lot", **halves, url=lots.url)):
        frame.to_parquet(tmp_path / "frame.parquet")
        assert pd.read_parquet(tmp_path / "frame.parquet").attrs == frame.attrs
    assert frame.attrs["before"]["end"] == frame.attrs["after"]["start"] == "2026-08-06T04:00:00+00:00"
    assert frame.attrs["unit"] == "cars"


@pytest.mark.parametrize("family", ["occupancy", "health"])
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_frames_of_events_have_the_same_types_and_can_be_put_together(lots: Store, family: Any, zone: Any) -> None:
    frames = list(analytics.events(family=family, timezone=zone, batch_size=50, url=lots.url))
    assert len(frames) > 6
    for frame in frames:
        assert list(frame["camera"].cat.categories) == ["North Lot", "South Lot", "West Lot"]
        assert frame.dtypes.to_dict() == frames[0].dtypes.to_dict()
        assert str(frame.index.tz) == (zone or "UTC")  # type: ignore[attr-defined]
    together = pd.concat(frames)
    assert (together.dtypes.to_dict(), together.index.dtype) == (frames[0].dtypes.to_dict(), frames[0].index.dtype)
    assert together["camera"].value_counts().to_dict() == {"North Lot": 168, "South Lot": 168, "West Lot": 0}


@pytest.mark.parametrize("family", ["occupancy", "health"])
def test_no_event_is_one_frame_without_rows(lots: Store, family: Any) -> None:
    (some, *_) = analytics.events(family=family, url=lots.url)
    for asked in ({"cameras": "West Lot"}, {"start": "2001-01-01", "end": "2001-02-01"}):
        (none,) = analytics.events(family=family, url=lots.url, **asked)  # type: ignore[call-overload]
        assert (len(none), list(none.columns), type(none.index)) == (0, list(some.columns), type(some.index))
        assert [str(dtype) for dtype in none.dtypes] == [str(dtype) for dtype in some.dtypes]
    (table,) = analytics.events("West Lot", family=family, as_arrow=True, url=lots.url)
    assert (type(table), table.num_rows) == (pa.Table, 0)
    assert len(list(analytics.events([], family=family, url=lots.url))) == 1
