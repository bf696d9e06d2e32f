"""The numbers of panels: those of the functions that `analytics` asks, of whole days at the lot."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

import analytics
from tests.support.grafana_queries import NOW, RANGE, Range, make_role, panel_rows, reader
from timeseries import Camera, HealthLog, OccupancyEvent, Store

__all__ = ["make_role", "reader"]

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
PROFILE = "Weekday by hour, local time: average cars"
DAYS = "Share of places taken, by local day"
HOURS = "Hours, local time"
USUAL = "What is usual at the weekday and hour, and what was seen"
MONDAY = (NOW - (14 + NOW.weekday()) * DAY).date()


def at(lot: Camera, day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), lot.zone)


def cells(url: str, lot: Camera, between: Range = RANGE) -> dict[tuple[str, str], float]:
    rows = panel_rows(url, "parking-lot", PROFILE, {"lot": str(lot.id)}, between)
    return {(row["weekday"], row["hour"]): float(row["cars"]) for row in rows}


def of_lot(url: str, lot: Camera, title: str, between: Range = RANGE) -> list[dict[str, Any]]:
    return panel_rows(url, "parking-lot", title, {"lot": str(lot.id)}, between)


def health(url: str, ids: list[UUID], title: str, between: Range = RANGE) -> list[dict[str, Any]]:
    variables = {"lots": [str(id_) for id_ in ids], "silence": "1h"}
    return panel_rows(url, "parking-health", title, variables, between)


@pytest.fixture
def silent(store: Store) -> Camera:
    """A lot of which two hours of a Monday are known, and one of the next: an observation stands for an hour."""
    lot = store.cameras.add("Station Deck", timezone="Asia/Kolkata", capacity=100, hold=HOUR)
    nine, next_nine = at(lot, MONDAY, 9), at(lot, MONDAY + 7 * DAY, 9)
    store.record([OccupancyEvent(lot.id, nine - HOUR, 0), OccupancyEvent(lot.id, nine, 100),
                  OccupancyEvent(lot.id, next_nine, 20)])  # fmt: skip
    store.record([HealthLog(lot.id, nine - HOUR, "healthy"), HealthLog(lot.id, nine, "disconnected", "no route"),
                  HealthLog(lot.id, next_nine, "healthy")])  # fmt: skip
    return lot


def test_a_week_of_silence_has_no_weight_in_the_panels_of_a_lot(silent: Camera, reader: str) -> None:
    next_monday = MONDAY + 7 * DAY
    between = (at(silent, MONDAY, 7), at(silent, next_monday, 12))
    whole: dict[str, Any] = {"start": MONDAY, "end": next_monday + DAY, "url": reader}

    profile = analytics.weekday_profile(silent, **whole)
    shown = cells(reader, silent, between)
    assert shown == {("1 Mon", "08"): 0, ("1 Mon", "09"): 60}
    assert list(shown.values()) == list(profile["occupied_avg"])

    days = analytics.daily_averages(silent, **whole)
    shares = of_lot(reader, silent, DAYS, between)
    assert shares == [{"day": f"{MONDAY} Mon", "taken": 0.5}, {"day": f"{next_monday} Mon", "taken": 0.2}]
    assert [row["taken"] for row in shares] == list(days["occupied_share"])

    hours = analytics.hourly_averages(silent, **whole)
    assert [row["average"] for row in of_lot(reader, silent, HOURS, between)] == list(hours["occupied_avg"][::-1])

    weekdays = analytics.weekday_averages(silent, start=between[0], end=between[1], fill=True, url=reader)
    rows = of_lot(reader, silent, "Weekdays, local time", between)
    assert [row["coverage"] for row in rows] == list(weekdays["coverage"])
    assert rows[0] == {"weekday": "Monday", "average cars": 40, "coverage": pytest.approx(3 / 29)}


def test_a_week_of_silence_is_neither_up_nor_an_outage(store: Store, silent: Camera, reader: str) -> None:
    other = store.cameras.add("Unheard")
    between = (at(silent, MONDAY, 7), at(silent, MONDAY + 7 * DAY, 12))
    asked: dict[str, Any] = {"start": between[0], "end": between[1], "url": reader}

    unknown, shown = health(reader, [silent.id, other.id], "Uptime in this range", between)
    assert unknown == {"lot": "Unheard", "healthy": None, "degraded": None, "disconnected": None, "known": 0}
    (up,) = analytics.uptime(silent, **asked).to_dict("records")
    assert shown["healthy"] == up["healthy_share"] == pytest.approx(2 / 3)
    assert shown["disconnected"] == up["disconnected_share"]
    assert shown["known"] == up["coverage"]

    (row,) = health(reader, [silent.id, other.id], "Outages", between)
    outages = analytics.outages(**asked)
    assert [row["from"]] == [start.to_pydatetime() for start in outages.index] == [at(silent, MONDAY, 9)]
    assert [row["until"]] == list(outages["end"])
    assert [row["lasted"]] == list(outages["duration"].dt.total_seconds()) == [3600]
    assert (row["status"], row["message"]) == ("disconnected", "no route")
    assert row["from, local time"] == "Mon 09:00"


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1)])
def test_the_panels_of_a_lot_have_all_hours_of_a_day_of_23_or_25_and_no_other(
    store: Store, reader: str, day: date
) -> None:
    lot = store.cameras.add("North Lot", timezone="America/New_York", capacity=10, hold=4 * DAY)
    store.record([OccupancyEvent(lot.id, at(lot, day - DAY, 0), 5)])
    begin, end = (at(lot, d, 0).astimezone(UTC) for d in (day, day + DAY))
    between = (begin + 2 * HOUR, end - HOUR)
    walls = [(begin + i * HOUR).astimezone(lot.zone) for i in range((end - begin) // HOUR)]
    assert len(walls) in (23, 25)
    shown = [row["hour"] for row in of_lot(reader, lot, HOURS, between)]
    assert shown == [f"{wall:%Y-%m-%d %a %H:%M}" for wall in reversed(walls)]
    assert of_lot(reader, lot, DAYS, between) == [{"day": f"{day} Sun", "taken": 0.5}]
    assert cells(reader, lot, between) == {("7 Sun", f"{wall:%H}"): 5 for wall in walls}


def test_weekday_and_hour_are_those_at_the_lot(store: Store, reader: str) -> None:
    lot = store.cameras.add("Station Deck", timezone="Asia/Kolkata", capacity=100, hold=HOUR)
    nine = at(lot, NOW.astimezone(lot.zone).date() - DAY, 9)
    store.record(
        [OccupancyEvent(lot.id, nine, 20), OccupancyEvent(lot.id, nine + timedelta(minutes=30), 60),
         OccupancyEvent(lot.id, nine + HOUR, 0)]
    )  # fmt: skip
    day = nine.strftime("%a")
    weekday = f"{nine.isoweekday()} {day}"
    assert cells(reader, lot) == {(weekday, "09"): 40, (weekday, "10"): 0}
    (shares,) = of_lot(reader, lot, DAYS)
    assert shares == {"day": f"{nine:%Y-%m-%d} {day}", "taken": pytest.approx(0.2)}
    assert [row["hour"] for row in of_lot(reader, lot, HOURS)] == [
        f"{nine:%Y-%m-%d} {day} {h}:00" for h in ("10", "09")
    ]


def test_what_is_usual_is_what_the_alert_takes_for_usual(store: Store, reader: str) -> None:
    """Over a change of offset, and with too few weeks at first."""
    lot = store.cameras.add("Station Deck", timezone="America/New_York", capacity=100, hold=HOUR)
    begin = datetime(2026, 8, 31, 4, tzinfo=UTC)
    chance = random.Random(5)
    hours = [begin + i * HOUR for i in range(10 * 7 * 24)]
    store.record([OccupancyEvent(lot.id, hour, chance.randrange(90)) for hour in hours if chance.random() < 0.8])
    for start in (datetime(2026, 11, 1, 3, tzinfo=UTC), begin + 26 * DAY + 40 * timedelta(minutes=1)):
        rows = of_lot(reader, lot, USUAL, (start, start + 9 * HOUR))
        assert rows
        with psycopg.connect(reader) as connection:
            for row in rows:
                (found,) = connection.execute(
                    "SELECT occupied_avg AS seen, expected, lower, upper FROM occupancy_unusual(ARRAY[%s::uuid], %s)",
                    [lot.id, row["time"] + HOUR],
                ).fetchall()
                assert tuple(row[name] for name in ("seen", "expected", "at least", "at most")) == pytest.approx(
                    found, nan_ok=True
                )
    assert [row["at most"] for row in rows] == [None] * len(rows)


def test_a_count_is_known_for_as_long_as_it_stands(store: Store, reader: str) -> None:
    known = store.cameras.add("Long Stay", capacity=10, hold=30 * DAY)
    gone = store.cameras.add("Short Stay", capacity=10, hold=HOUR)
    for lot in (known, gone):
        store.record([OccupancyEvent(lot.id, NOW - 20 * DAY, 4), HealthLog(lot.id, NOW - 100 * DAY, "degraded")])
    variables = {"lots": [str(known.id), str(gone.id)]}
    (total,) = panel_rows(reader, "parking-lots", "Now", variables)
    assert total == {"lots": 2, "lots known": 1, "cars": 4, "places": 10, "taken": 0.4}
    rows = panel_rows(reader, "parking-lots", "Lots", variables)
    assert [(row["lot"], row["cars"], row["health"], row["seen"]) for row in rows] == [
        ("Long Stay", 4, "degraded", NOW - 20 * DAY), ("Short Stay", None, "degraded", NOW - 20 * DAY)
    ]  # fmt: skip
    for lot, cars in ((known, 4), (gone, None)):
        (now,) = of_lot(reader, lot, "Now")
        assert (now["cars"], now["places"], now["health"]) == (cars, 10, "degraded")
    latest = analytics.latest([known, gone], url=reader)
    assert list(latest["occupied_count"]) == [4, 4]


def test_a_camera_that_says_how_it_is_is_not_silent(store: Store, reader: str) -> None:
    said, silent, never = (store.cameras.add(name) for name in ("Said", "Silent", "Never"))
    stopped = store.cameras.add("Stopped", desired_state="stopped")
    store.record([OccupancyEvent(lot.id, NOW - 100 * DAY, 1) for lot in (said, silent)])
    store.record([HealthLog(said.id, NOW, "healthy")])
    ids = [lot.id for lot in (said, silent, never, stopped)]
    rows = health(reader, ids, "Silent for longer than ${silence}")
    assert [(row["lot"], row["last seen"]) for row in rows] == [("Never", None), ("Silent", NOW - 100 * DAY)]
