"""Periods of cameras: kept, changed, listed and refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

import analytics
from tests.support.command_line import run
from timeseries import InvalidInputError, OccupancyEvent, Period, Store, UnknownCameraError, UnknownPeriodError

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_a_period_is_added_changed_listed_and_removed(store: Store) -> None:
    lot = store.cameras.add("North Lot")
    works = store.periods.add("North Lot", START, START + HOUR, "closed", "new tarmac", by="ada")
    assert (works.camera_id, works.start_at, works.end_at, works.kind) == (lot.id, START, START + HOUR, "closed")
    assert (works.text, works.changed_by) == ("new tarmac", "ada")
    changed = store.periods.update(works, end=None, kind="wrong")
    assert (changed.end_at, changed.kind, changed.text) == (None, "wrong", "new tarmac")
    assert store.periods.list() == store.periods.list("North Lot") == [changed] == [store.periods.get(works.id)]
    store.periods.remove(works)
    assert store.periods.list() == []


def test_those_that_touch_a_range_are_listed_by_their_start(store: Store) -> None:
    for name in ("a", "b"):
        store.cameras.add(name)
        for hours in (4, 0):
            store.periods.add(name, START + hours * HOUR, START + (hours + 1) * HOUR, "note")
    lasting = store.periods.add("a", START - 90 * HOUR, None, "note")
    found = store.periods.list(["a"], start=START + HOUR, end=START + 5 * HOUR)
    assert [period.start_at for period in found] == [lasting.start_at, START + 4 * HOUR]
    assert store.periods.list(end=START - 90 * HOUR) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": datetime(2026, 3, 1, 9, 30)}, "is naive; give it an offset"),  # noqa: DTZ001
        (
            {"start": START + timedelta(minutes=7)},
            r"09:37:00\+00:00 is not on a quarter of an hour; the nearest are .*T09:30:00.* and .*T09:45:00",
        ),
        ({"end": START + timedelta(microseconds=1)}, "is not on a quarter of an hour"),
        ({"end": START}, "not after its start"),
        ({"kind": "holiday"}, "kind 'holiday' of a period: it must be one of wrong, closed, maintenance, note"),
        ({"text": "x" * 1001}, "at most 1,000 characters"),
        ({"start": datetime(1969, 1, 1, tzinfo=UTC)}, "start 1969-01-01 .* lies before 1970"),
    ],
)
def test_what_no_period_can_be_is_refused_by_name(store: Store, values: dict[str, Any], message: str) -> None:
    store.cameras.add("North Lot")
    asked: dict[str, Any] = {"camera": "North Lot", "start": START, "end": START + HOUR, "kind": "note"} | values
    with pytest.raises(InvalidInputError, match=message):
        store.periods.add(**asked)
    assert store.periods.list() == []


def test_a_date_is_the_midnight_at_the_lot(store: Store) -> None:
    lot = store.cameras.add("North Lot", timezone="Europe/Berlin")
    period = store.periods.add(lot, date(2026, 3, 1), "2026-03-02", "closed")
    assert (period.start_at, period.end_at) == tuple(datetime(2026, *day, 23, tzinfo=UTC) for day in ((2, 28), (3, 1)))
    assert store.periods.update(period, end="2026-03-03").end_at == datetime(2026, 3, 2, 23, tzinfo=UTC)


def test_the_database_refuses_the_same(store: Store) -> None:
    lot = store.cameras.add("North Lot").id
    for start, end, kind, text in (
        (START + timedelta(minutes=1), None, "note", ""), (START, START, "note", ""), (START, None, "holiday", ""),
        (START, START + timedelta(seconds=1), "note", ""), (START, None, "note", "x" * 1001),
        ("-infinity", None, "note", ""), (START, "infinity", "note", ""),
    ):  # fmt: skip
        with psycopg.connect(store.url) as connection, pytest.raises(psycopg.errors.CheckViolation):
            connection.execute(
                "INSERT INTO timeseries.periods (camera_id, start_at, end_at, kind, text) VALUES (%s, %s, %s, %s, %s)",
                [lot, start, end, kind, text],
            )


def test_what_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(UnknownPeriodError, match="no period has the id 7; timeseries period list"):
        store.periods.remove(7)
    with pytest.raises(UnknownCameraError, match="no camera has the name or id nowhere"):
        store.periods.add("nowhere", START, None, "note")
    store.cameras.add("North Lot")
    period = store.periods.add("North Lot", START, None, "note")
    with pytest.raises(InvalidInputError, match="cannot change camera of a period"):
        store.periods.update(period, camera="South Lot")


def test_a_camera_without_history_takes_its_periods_along(store: Store) -> None:
    store.cameras.add("North Lot")
    store.periods.add("North Lot", START, None, "note")
    store.cameras.remove("North Lot")
    assert store.periods.list() == []


def test_the_command_line_reads_moments_by_the_clocks_of_the_lot(store: Store) -> None:
    store.cameras.add("North Lot", timezone="America/New_York")
    added = run(store.url, "period", "add", "North Lot", "closed", "2026-03-08", "2026-03-09T06:30", "--text", "works")
    assert "works" in added.output
    (period,) = store.periods.list()
    assert (period.start_at, period.end_at) == (
        datetime(2026, 3, 8, 5, tzinfo=UTC), datetime(2026, 3, 9, 10, 30, tzinfo=UTC)
    )  # fmt: skip
    run(store.url, "period", "update", str(period.id), "--end", "lasts", "--kind", "wrong")
    assert isinstance(found := store.periods.get(period.id), Period)
    assert (found.kind, found.end_at, found.text) == ("wrong", None, "works")
    assert '"kind": "wrong"' in run(store.url, "period", "list", "--json").output
    run(store.url, "period", "remove", str(period.id))
    assert store.periods.list() == []


def test_a_frame_says_what_was_left_out(store: Store) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for name in ("a", "b"):
        store.record([OccupancyEvent(store.cameras.add(name).id, now - timedelta(days=2), 5)])
    assert "left_out" not in analytics.hourly_averages(url=store.url).attrs
    store.periods.add("a", now - timedelta(hours=30), now - timedelta(hours=20), "wrong", "knocked over")
    store.periods.add("a", now - timedelta(days=90), now - timedelta(days=80), "closed")
    store.periods.add("b", now - timedelta(hours=3), None, "maintenance")
    store.periods.add("b", now - timedelta(hours=3), None, "note")
    (left_out,) = analytics.daily_averages(start=now - timedelta(days=3), url=store.url).attrs["left_out"]
    assert left_out == {
        "camera": "a", "kind": "wrong", "text": "knocked over",
        "start": (now - timedelta(hours=30)).isoformat(), "end": (now - timedelta(hours=20)).isoformat(),
    }  # fmt: skip
    (left_out,) = analytics.uptime(start=now - timedelta(days=3), url=store.url).attrs["left_out"]
    assert (left_out["camera"], left_out["kind"], left_out["end"]) == ("b", "maintenance", None)
    assert "left_out" not in analytics.daily_averages("b", start=now - timedelta(days=3), url=store.url).attrs
