"""Calendars as people give them: dates, containers of dates, hours that pass midnight, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any

import pandas as pd
import psycopg
import pytest

import analytics
from timeseries import InvalidInputError, OccupancyEvent, Store
from timeseries.model.opening_hours import WEEKDAYS

SHOP = {day: ["07:30", "20:00"] for day in WEEKDAYS[:5]} | {"saturday": ["08:00", "14:00"]}
THEATRE = {"friday": ["18:00", "02:30"], "saturday": ["00:00", "24:00"], "sunday": ["22:00", "01:00"]}


class EveryFirst:
    """A container of dates that cannot list them."""

    def __contains__(self, day: object) -> bool:
        return isinstance(day, date) and day.day == 1


def test_dates_are_given_as_a_list_or_as_a_container(store: Store) -> None:
    camera = store.cameras.add("lot", timezone="Europe/Berlin")
    start = datetime(2026, 3, 1, tzinfo=UTC)
    store.record([OccupancyEvent(camera.id, start + timedelta(hours=i), i % 24) for i in range(24 * 40)])
    ask = partial(analytics.daily_averages, "lot", start="2026-03-01", end="2026-04-09", url=store.url)
    firsts = [date(2026, 3, 1), date(2026, 4, 1)]
    pandas = pd.date_range("2026-01-01", "2026-06-01", freq="MS")
    for dates in (
        EveryFirst(),
        firsts,
        iter(firsts),
        map(str, firsts),
        {*firsts},
        pandas,
        dict.fromkeys(firsts, "first"),
    ):
        found = ask(dates=dates)
        assert [day.date() for day in found["local_date"]] == firsts
        assert found.attrs["calendar"]["dates"] == ["2026-03-01", "2026-04-01"]
    assert len(ask(without=EveryFirst())) == len(ask()) - 2
    assert len(ask(dates="2026-03-07")) == 1
    assert len(ask(dates=[])) == 0


def test_the_holidays_of_a_library_are_dates(store: Store) -> None:
    holidays = pytest.importorskip("holidays")
    camera = store.cameras.add("lot", timezone="Europe/Berlin")
    store.record([OccupancyEvent(camera.id, datetime(2025, 12, day, 11, tzinfo=UTC), day) for day in range(1, 32)])
    ask = partial(analytics.daily_averages, "lot", end="2026-01-01", url=store.url)
    found = ask(dates=holidays.country_holidays("DE"))
    assert [day.isoformat()[:10] for day in found["local_date"]] == ["2025-12-25", "2025-12-26"]
    assert len(ask(without=holidays.country_holidays("DE"))) == 29


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"hours": ("7", "19")}, "time of day '7' is not like 07:30"),
        ({"hours": ("07:05", "19:00")}, "'07:05' is local, so without an offset, and on a quarter"),
        ({"hours": "07:00-19:00"}, "are not a pair of from and to"),
        ({"hours": ("07:00", "07:00")}, "begin when they end"),
        ({"weekdays": "someday"}, "weekday 'someday' is unknown"),
        ({"dates": ["2026-12-25", "Christmas"]}, "dates has 'Christmas', which is not a date like 2026-12-25"),
        ({"without": 7}, "without 7 is neither a date"),
        ({"without": [datetime(2026, 12, 25, tzinfo=UTC)]}, "which is not a date"),
        ({"width": "20 minutes"}, "width 20 minutes is neither a week"),
        ({"width": timedelta(hours=5)}, "width 300 minutes is neither a week"),
        ({"width": "month"}, "width 'month' is no length of time"),
        ({"width": [2]}, "width [2] is no length of time"),
    ],
)
def test_time_that_cannot_be_meant_is_refused_with_its_value(store: Store, asked: dict[str, Any], message: str) -> None:
    store.cameras.add("lot")
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        analytics.bucket_averages("lot", **({"width": "1h"} | asked), url=store.url)


def test_midnight_is_the_end_of_the_day(store: Store) -> None:
    camera = store.cameras.add("lot", timezone="Asia/Tokyo")
    start = datetime(2026, 3, 1, tzinfo=UTC)
    store.record([OccupancyEvent(camera.id, start + timedelta(hours=i), i) for i in range(48)])
    ask = partial(analytics.weekday_profile, "lot", url=store.url)
    for hours in (("18:00", "24:00"), ("18:00", "00:00"), (time(18), time(0))):
        assert sorted(set(ask(hours=hours)["hour"])) == list(range(18, 24))
    end = start + timedelta(days=3)
    pd.testing.assert_frame_equal(ask(end=end, hours=("00:00", "24:00")), ask(end=end))


def test_a_month_of_which_most_is_to_come_has_little_coverage(store: Store) -> None:
    """An end that lies ahead of all that is looked at still belongs to the month."""
    camera = store.cameras.add("lot")
    now = datetime.now(UTC)
    start = datetime(now.year, now.month, 1, tzinfo=UTC)
    store.record(
        [OccupancyEvent(camera.id, start + timedelta(hours=i), 7) for i in range((now - start) // timedelta(hours=1))]
    )
    end = datetime(now.year + 1, 1, 1, tzinfo=UTC)
    for ask, until in (
        (analytics.monthly_averages, (start + timedelta(days=31)).replace(day=1)),
        (analytics.yearly_averages, end),
    ):
        found = ask("lot", start=start, end=end, url=store.url)
        assert found["coverage"].tolist() == [pytest.approx((now - start) / (until - start), abs=1e-4)]


def test_a_width_that_has_a_name_is_the_same_by_name_and_by_length(store: Store) -> None:
    camera = store.cameras.add("lot", timezone="Australia/Lord_Howe")
    start = datetime(2026, 4, 3, tzinfo=UTC)
    store.record([OccupancyEvent(camera.id, start + timedelta(minutes=50 * i), i) for i in range(100)])
    query = "SELECT * FROM occupancy_averages(NULL, %s, %s, NULL, %s)"
    with psycopg.connect(store.url) as connection:
        for name, *others in (
            ("quarter", "15min", "900 seconds"),
            ("hour", "1h", "60 minutes"),
            ("day", "1 day", "24 hours"),
            ("week", "7 days", "1w"),
            ("month", "1 month", "1 mon"),
            ("year", "1 year", "12 months"),
        ):
            wanted = connection.execute(query, [start, start + timedelta(days=4), name]).fetchall()
            for width in others:
                assert connection.execute(query, [start, start + timedelta(days=4), width]).fetchall() == wanted
    found = analytics.bucket_averages("lot", start=start, end=start + timedelta(days=4), width="1h", url=store.url)
    hours = analytics.hourly_averages("lot", start=start, end=start + timedelta(days=4), url=store.url)
    pd.testing.assert_frame_equal(found.drop(columns="local_start"), hours)


def test_a_group_counts_within_its_own_hours_and_not_those_of_its_members(store: Store) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
    for name in ("East Gate", "West Gate"):
        gate = store.cameras.add(name, timezone="Europe/Berlin", opening_hours=THEATRE)
        store.record([OccupancyEvent(gate.id, start + timedelta(minutes=20 * i), i % 50) for i in range(72 * 7)])
    lot = store.groups.add("North Lot", ["East Gate", "West Gate"], opening_hours=SHOP)
    ask = partial(analytics.hourly_averages, start=start, end=start + timedelta(days=7), url=store.url)
    found = ask([lot, "East Gate"], hours="opening", exact_extremes=True)
    of_group = found[found["camera"] == "North Lot"].drop(columns=["camera", "camera_id"])
    week = ask(lot, hours=("07:30", "20:00"), weekdays=[1, 2, 3, 4, 5], exact_extremes=True)
    saturday = ask(lot, hours=("08:00", "14:00"), weekdays=6, exact_extremes=True)
    wanted = pd.concat([week, saturday]).drop(columns=["camera", "camera_id"])
    pd.testing.assert_frame_equal(of_group, wanted)
    of_gate = {(at.isoweekday(), at.hour) for at in found[found["camera"] == "East Gate"].index}
    assert of_gate == {
        *((5, hour) for hour in range(18, 24)), *((6, hour) for hour in range(24)),
        *((7, hour) for hour in (22, 23)), (1, 0),
    }  # fmt: skip
    store.groups.update(lot, timezone="Asia/Kathmandu")
    quarters = partial(analytics.quarter_hourly_averages, start=start, end=start + timedelta(days=7), url=store.url)
    asked = quarters(lot, hours="opening", timezone="Europe/Berlin")
    assert asked.index[0].isoformat() == "2026-03-02T02:45:00+01:00"  # 07:30 in Kathmandu


def test_a_capacity_that_changed_is_that_of_its_time_within_opening_hours(store: Store) -> None:
    start = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
    gate = store.cameras.add("gate", timezone="Europe/Berlin", capacity=50, opening_hours=SHOP)
    store.cameras.update(gate, capacity=100, since="2026-03-03")
    store.groups.add("lot", ["gate"], opening_hours=THEATRE)
    store.record([OccupancyEvent(gate.id, start + timedelta(hours=i), 40) for i in range(24 * 7)])
    ask = partial(analytics.daily_averages, start="2026-03-02", end="2026-03-08", hours="opening", url=store.url)
    assert ask("gate")["occupied_share"].tolist() == pytest.approx([0.8, *[0.4] * 5])
    assert ask("lot")["occupied_share"].tolist() == pytest.approx([0.4] * 2)


@pytest.mark.parametrize(
    "width", ["20 minutes", "5 hours", "2 days", "0", "-1 hour", "infinity", "fortnight", "1 mon 1 day"]
)
def test_a_width_in_sql_that_is_none_is_refused(store: Store, width: str) -> None:
    with psycopg.connect(store.url) as connection, pytest.raises(psycopg.errors.InvalidParameterValue, match=width):
        connection.execute("SELECT * FROM occupancy_averages(width => %s)", [width])


@pytest.mark.parametrize(
    "arguments",
    [
        "hours_from => '07:00'",
        "hours_from => '07:00', hours_to => '07:00'",
        "hours_from => '07:05', hours_to => '09:00'",
        "weekdays => '{0}'",
        "weekdays => '{1,8}'",
    ],
)
def test_a_calendar_in_sql_refuses_what_cannot_be_meant(store: Store, arguments: str) -> None:
    with psycopg.connect(store.url) as connection, pytest.raises(psycopg.errors.InvalidParameterValue):
        connection.execute(f"SELECT * FROM occupancy_weeks(calendar => calendar({arguments}))")
