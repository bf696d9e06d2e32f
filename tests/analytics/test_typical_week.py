"""The arithmetic of what is to be expected: against plain Python, and what holds of any history."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.typical_week import Seen, TypicalWeek, cells_of
from tests.support.expectations import Bucket, History

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
SHARE = 0.8


def seen_of(cars: Any, known: Any, holidays: Any = ()) -> Seen:
    """Hours from a Monday on, in UTC."""
    at = (int(START.timestamp()) + 3600 * np.arange(len(cars))) * 1_000_000
    walls = pd.DatetimeIndex(at.view("datetime64[us]"))
    return Seen(at, np.where(np.asarray(known) > 0, cars, np.nan), np.asarray(known), cells_of(walls, holidays), HOUR)


def history_of(seen: Seen, holidays: Any = ()) -> History:
    buckets = [
        Bucket(START + i * HOUR, None if np.isnan(cars) else float(cars), float(known))
        for i, (cars, known) in enumerate(zip(seen.cars, seen.known, strict=True))
    ]
    return History(buckets, ZoneInfo("UTC"), HOUR, holidays)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Any, Any]:
    """Three to five weeks of hours, some of them unknown or known in part."""
    number = draw(st.integers(3 * 168, 5 * 168))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    busy = 50 + 40 * np.sin(np.arange(number) / 24 * 2 * np.pi) + np.cumsum(chance.normal(size=number))
    known = chance.choice([0.0, 0.3, 0.7, 1.0], size=number, p=[0.1, 0.05, 0.05, 0.8])
    begin = draw(st.integers(0, number - 200))
    known[begin : begin + draw(st.integers(0, 200))] = 0
    return np.maximum(np.round(busy + 10 * chance.normal(size=number)), 0), known


@settings(max_examples=15, deadline=None)
@given(histories(), st.data())
def test_what_is_expected_is_that_of_plain_python(built: tuple[Any, Any], data: st.DataObject) -> None:
    free = {date(2026, 3, 4), date(2026, 3, 17), date(2026, 3, 18)}
    seen = seen_of(*built, holidays=free)
    wanted, week = history_of(seen, free), TypicalWeek(seen)
    for row, deviation in enumerate(wanted.deviations):
        assert week.deviations[row] == pytest.approx(np.nan if deviation is None else deviation, abs=1e-9, nan_ok=True)
    origin = data.draw(st.integers(1, len(seen.at) - 1))
    targets = np.unique(data.draw(st.lists(st.integers(origin, len(seen.at) - 1), min_size=1, max_size=8)))
    found = np.array(week.expected(origin, targets, SHARE)).T
    for target, row in zip(targets, found, strict=True):
        numbers = [np.nan if one is None else one for one in wanted.expected(int(target), origin, SHARE)]
        assert row == pytest.approx(numbers, rel=1e-9, abs=1e-9, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(histories(), st.data())
def test_nothing_from_the_origin_on_and_nothing_unknown_changes_what_is_expected(
    built: tuple[Any, Any], data: st.DataObject
) -> None:
    cars, known = built
    origin = data.draw(st.integers(1, len(cars) - 1))
    targets = np.arange(origin, len(cars))
    before = TypicalWeek(seen_of(cars, known)).expected(origin, targets, SHARE)
    changed, seen = cars.copy(), known.copy()
    changed[origin:], seen[origin:] = 1_000_000, 1
    changed[known == 0] = 1_000_000
    after = TypicalWeek(seen_of(changed, seen)).expected(origin, targets, SHARE)
    np.testing.assert_allclose(np.array(after), np.array(before), rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(histories(), st.integers(1, 400), st.sampled_from([0.5, 0.8, 0.9]))
def test_bounds_enclose_what_is_expected_and_a_wider_share_is_wider(
    built: tuple[Any, Any], ahead: int, share: float
) -> None:
    week = TypicalWeek(seen_of(*built))
    targets = np.arange(max(len(built[0]) - ahead, 1), len(built[0]))
    origin = max(len(built[0]) - ahead, 1)
    expected, lower, upper = week.expected(origin, targets, share)
    there = ~np.isnan(lower)
    assert np.all(lower[there] >= 0)
    assert np.all((lower <= expected) & (expected <= upper), where=there)
    _, lower_, upper_ = week.expected(origin, targets, 0.95)
    assert np.all((lower_ <= lower + 1e-9) & (upper <= upper_ + 1e-9), where=there)


@settings(max_examples=20, deadline=None)
@given(histories(), st.sampled_from([2.0, 7.0, 0.25]))
def test_what_is_expected_of_a_lot_of_another_size_is_as_many_times_as_much(
    built: tuple[Any, Any], times: float
) -> None:
    cars, known = built
    origin, targets = len(cars) - 30, np.arange(len(cars) - 30, len(cars))
    one = TypicalWeek(seen_of(cars, known)).expected(origin, targets, SHARE)
    other = TypicalWeek(seen_of(cars * times, known)).expected(origin, targets, SHARE)
    np.testing.assert_allclose(np.array(other), np.array(one) * times, rtol=1e-7, atol=1e-7)


def test_a_lot_that_never_changes_is_expected_to_stay_so() -> None:
    week = TypicalWeek(seen_of(np.full(4 * 168, 12.0), np.ones(4 * 168)))
    for bounds in week.expected(3 * 168, np.arange(3 * 168, 4 * 168), 0.9):
        assert bounds == pytest.approx(np.full(168, 12))


def test_a_week_that_repeats_itself_is_expected_to_and_a_deviation_decays_as_earlier_ones_did() -> None:
    """Deviations of an autoregressive lot, of which nine tenths are left from hour to hour."""
    chance = np.random.default_rng(4)
    deviations = [0.0]
    for noise in chance.normal(size=26 * 168 - 1):
        deviations.append(0.9 * deviations[-1] + noise)
    weekly = 100 + 50 * np.sin(np.arange(26 * 168) * 2 * np.pi / 168)
    week = TypicalWeek(seen_of(weekly + deviations, np.ones(26 * 168)))
    for distance in (1, 3, 6):
        assert week.decay(25 * 168, distance, 0.9).left == pytest.approx(0.9**distance, abs=0.12)
    assert week.decay(25 * 168, 24 * 8, 0.9).left == 0


def test_a_holiday_is_expected_like_earlier_holidays_and_leaves_its_weekday_alone() -> None:
    """Empty on two Wednesdays that are free days, full on every other day."""
    free = {date(2026, 3, 11), date(2026, 3, 25), date(2026, 4, 2)}  # Wednesday, Wednesday, Thursday
    days = [(START + timedelta(days=day)).date() for day in range(35)]
    cars = np.repeat([0.0 if day in free else 100.0 for day in days], 24)
    week = TypicalWeek(seen_of(cars, np.ones(len(cars)), holidays=free))
    origin = 30 * 24  # Wednesday 1 April
    assert week.expected(origin, np.arange(origin, origin + 24), 0.9).expected == pytest.approx(np.full(24, 100))
    assert week.typical(np.arange(origin + 24, origin + 48), np.full(24, origin)) == pytest.approx(np.zeros(24))
    without = TypicalWeek(seen_of(cars, np.ones(len(cars))))
    assert without.typical(np.array([origin]), np.array([origin]))[0] < 80


def test_nothing_is_expected_where_nothing_is_known() -> None:
    week = TypicalWeek(seen_of(np.zeros(400), np.zeros(400)))
    assert np.isnan(np.array(week.expected(200, np.arange(200, 400), 0.9))).all()
    assert np.array(TypicalWeek(seen_of([], [])).expected(0, np.arange(0), 0.9)).shape == (3, 0)
