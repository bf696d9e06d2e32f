"""Questions at the edges: far dates, other spellings, what can be read only once, zones that only the server knows."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

import analytics
from timeseries import HealthLog, InvalidInputError, OccupancyEvent, Store

LATEST = datetime.max.replace(tzinfo=UTC)
TIMED = [analytics.quarter_hourly_averages, analytics.hourly_averages, analytics.daily_averages, analytics.peaks]
SUMS = [analytics.weekday_averages, analytics.weekday_profile, analytics.uptime]
EXACT = [analytics.states, analytics.outages]


@pytest.fixture
def lot(store: Store) -> Store:
    """Two days of a lot in Tokyo until two hours ago; the last count stands now."""
    camera = store.cameras.add("North Lot", timezone="Asia/Tokyo")
    end = datetime.now(UTC) - timedelta(hours=2)
    store.record([OccupancyEvent(camera.id, end - timedelta(hours=i), i % 24) for i in range(48)])
    store.record([HealthLog(camera.id, end - timedelta(hours=i), "degraded") for i in range(48)])
    return store


def days_ahead(days: int) -> datetime:
    return (datetime.now(UTC) + timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.mark.parametrize("end", ["2100-01-02", "2900-01-02", date.max, LATEST])
def test_an_end_in_the_far_future_costs_nothing_and_changes_no_row(lot: Store, end: Any) -> None:
    start = datetime.now(UTC) - timedelta(days=3)
    for ask in (*TIMED, *EXACT):
        near = ask("North Lot", start=start, end=days_ahead(3), url=lot.url)
        begin = time.perf_counter()
        far = ask("North Lot", start=start, end=end, url=lot.url)
        assert time.perf_counter() - begin < 3
        if len(far) > len(near):  # an hour or a quarter of one began between the two
            near = ask("North Lot", start=start, end=days_ahead(3), url=lot.url)
        same = [column for column in near.columns if column not in ("coverage", "occupied_avg", "duration")]
        pd.testing.assert_frame_equal(far[same], near[same])
        if "coverage" in far:
            assert far["coverage"].tolist() == pytest.approx(near["coverage"].tolist(), abs=5e-3)  # of some seconds
        assert far.attrs["end"][:4] == ("9999" if end in (date.max, LATEST) else end[:4])


def test_the_future_of_a_year_counts_in_the_coverage_of_sums(lot: Store) -> None:
    start = days_ahead(-3)
    coverage = {
        days: analytics.uptime("North Lot", start=start, end=days_ahead(days), url=lot.url)["coverage"].iloc[0]
        for days in (7, 17, 300)
    }
    assert coverage[7] / coverage[17] == pytest.approx(2, rel=1e-3)
    assert coverage[7] / coverage[300] == pytest.approx(30.3, rel=1e-3)
    for ask in SUMS:
        begin = time.perf_counter()
        far = ask("North Lot", start=start, end=LATEST, url=lot.url)
        assert time.perf_counter() - begin < 3
        assert len(far) == len(ask("North Lot", start=start, end=days_ahead(9), url=lot.url))


@pytest.mark.parametrize("ask", TIMED[:3])
def test_with_fill_the_future_is_rows_of_ten_years_at_most(lot: Store, ask: Callable[..., pd.DataFrame]) -> None:
    with pytest.raises(InvalidInputError, match=r"ten years ahead.*earlier end"):
        ask("North Lot", end="2100-01-01", fill=True, url=lot.url)
    start = days_ahead(300)
    assert len(ask("North Lot", start=start, end=start + timedelta(hours=6), fill=True, url=lot.url)) >= 1


def test_a_range_beyond_reach_keeps_its_rows_with_fill(lot: Store) -> None:
    for start, end in (("2500-01-01", "2600-01-01"), ("1700-01-01", "1800-01-01")):
        weekdays = analytics.weekday_averages("North Lot", start=start, end=end, fill=True, url=lot.url)
        assert (weekdays["weekday"].tolist(), set(weekdays["coverage"])) == ([*range(1, 8)], {0.0})
        assert len(analytics.weekday_profile("North Lot", start=start, end=end, fill=True, url=lot.url)) == 168
        assert analytics.uptime("North Lot", start=start, end=end, url=lot.url)["coverage"].tolist() == [0]
        assert len(analytics.hourly_averages("North Lot", start=start, end=end, url=lot.url)) == 0


@pytest.mark.parametrize("ask", [*TIMED, *SUMS, *EXACT])
def test_a_start_long_ago_is_1970_and_one_beyond_arithmetic_is_named(lot: Store, ask: Any) -> None:
    with pytest.raises(InvalidInputError, match="start 0001-01-01 lies, in UTC, outside the years 1 to 9999"):
        ask("North Lot", start="0001-01-01", timezone="Asia/Tokyo", url=lot.url)
    with pytest.raises(InvalidInputError, match="end 9999-12-31T23:59:59-00:01 lies"):
        ask("North Lot", end="9999-12-31T23:59:59-00:01", url=lot.url)
    if ask in (analytics.daily_averages, analytics.weekday_averages, *EXACT):
        first = ask("North Lot", start="1970-01-01T00:00Z", url=lot.url)
        again = ask("North Lot", start="0002-01-01", url=lot.url)
        assert len(first) == len(again) > 0
        assert again.attrs["start"].startswith("0001-12-31T14:")


def test_cameras_that_can_be_read_only_once_are_compared(lot: Store) -> None:
    lot.cameras.add("South Lot", timezone="Asia/Tokyo")
    ranges: Any = {"before": (days_ahead(-3), days_ahead(-1)), "after": (days_ahead(-2), days_ahead(0)), "url": lot.url}
    names = ["North Lot", "South Lot"]
    wanted = analytics.compare(names, **ranges)
    pd.testing.assert_frame_equal(analytics.compare(iter(names), **ranges), wanted)
    assert wanted["difference"].notna().any()


def test_an_id_may_be_spelled_in_any_way(lot: Store) -> None:
    camera = lot.cameras.get("North Lot")
    text = str(camera.id)
    for spelling in (text.upper(), camera.id.hex, f"{{{text}}}", camera.id.urn):
        assert len(analytics.daily_averages(spelling, url=lot.url)) > 0
    with pytest.raises(LookupError, match="no camera has the name or id"):
        analytics.daily_averages(text[:-1].upper(), url=lot.url)


def test_a_stored_zone_that_has_no_name_is_named_where_it_matters(lot: Store) -> None:
    with lot.pool.connection() as connection:
        connection.execute(
            "INSERT INTO public.cameras (id, name, timezone) VALUES (gen_random_uuid(), 'O''Hare', 'EDT')"
        )
    for question in ({"start": "2026-08-03"}, {"cameras": "O'Hare"}):
        with pytest.raises(InvalidInputError, match=r"'EDT'.*timeseries camera update .*O'"):
            analytics.daily_averages(**question, url=lot.url)  # type: ignore[call-overload]
    assert len(analytics.daily_averages("O'Hare", start="2026-08-03", timezone="UTC", url=lot.url)) == 0
    assert analytics.daily_averages(url=lot.url)["camera"].unique().tolist() == ["North Lot"]
