"""The share of a capacity that changes, against brute force on raw events, before and after retention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analytics
from tests.support import brute_force
from tests.support.brute_force import QUARTER
from tests.support.questions import (
    PROPERTY,
    QUESTIONS,
    Question,
    Spans,
    calendar_of,
    during,
    kinds_of_time,
    labels_of,
    periods,
    starts,
)
from tests.support.sample_year import YEAR, ZONES, Lot, Year, year

__all__ = ["year"]

Changes = list[tuple[datetime, int | None]]  # since when which capacity
TODAY = 200  # of the lots before any change


@contextmanager
def changed(year: Year, lot: Lot, changes: Changes, spans: Spans) -> Iterator[None]:
    for since, capacity in changes:
        year.store.cameras.update(lot.camera, capacity=capacity, since=since)
    try:
        with periods(year.store, lot.camera, spans):
            yield
    finally:
        year.store.cameras.update(lot.camera, capacity=TODAY, past_capacities=[])


def capacities(changes: Changes) -> dict[datetime, int | None]:
    """Since when which capacity. Each change holds until the next one that is known when it is made, and where nothing
    changes there is none.
    """
    known: dict[datetime, int | None] = {YEAR[0] - timedelta(days=999): TODAY}
    for since, capacity in changes:
        steps = sorted((known | {since: capacity}).items())
        known = dict(steps[:1]) | {at: new for (_, old), (at, new) in pairwise(steps) if new != old}
    return known


def capacity_at(quarter: datetime, known: dict[datetime, int | None]) -> int | None:
    return known[max(at for at in known if at <= quarter)]


def shares(
    year: Year, lot: Lot, question: Question, start: datetime, end: datetime, calendar: dict[str, Any],
    changes: Changes, spans: Spans,
) -> dict[Any, tuple[float, float]]:  # fmt: skip
    """By label the integral of the share, and the time in which count and capacity are known."""
    labels = labels_of(question.label, start, end, lot.zone, calendar, "closed", spans)
    trusted = [(at, count) for at, count in lot.counts if not during(at, "wrong", spans)]
    known = capacities(changes)
    sized = [
        None if label is None else (label, capacity_at(quarter, known))
        for quarter, label in zip(brute_force.quarters(start, end), labels, strict=True)
    ]
    parts: dict[Any, brute_force.Known] = brute_force.answer(
        [at for at, _ in trusted], [count for _, count in trusted], start=start, end=end, labels=sized,
        hold=lot.camera.hold, now=year.asked_at, stops=[begin for kind, begin, _ in spans if kind == "wrong"],
    )  # fmt: skip
    found: dict[Any, tuple[float, float]] = {}
    for (label, capacity), part in parts.items():
        integral, seconds = found.get(label, (0.0, 0.0))
        if capacity is not None:
            integral, seconds = integral + part.car_seconds / capacity, seconds + part.known_seconds
        found[label] = integral, seconds
    return found


def check(
    year: Year, lot: Lot, question: Question, start: datetime, end: datetime, calendar: dict[str, Any],
    changes: Changes, spans: Spans,
) -> None:  # fmt: skip
    with changed(year, lot, changes, spans):
        found = year.ask(question.answer, lot, start, end, fill=True, **calendar)
        wanted = shares(year, lot, question, start, end, calendar, changes, spans)
    rows: dict[Any, Any] = {question.key(row, start, lot.zone): row for row in found.reset_index().itertuples()}
    assert {*wanted} <= {*rows}
    for label, (integral, seconds) in wanted.items():
        if seconds:
            assert rows[label].occupied_share == pytest.approx(integral / seconds, rel=1e-9, abs=1e-12)
        else:
            assert np.isnan(rows[label].occupied_share)


offsets = st.one_of(st.integers(-300, 500), st.integers(-3, 10).map(lambda day: day * 96))
any_case = given(
    number=st.integers(0, len(ZONES) - 1), question=st.sampled_from(QUESTIONS), start=starts,
    length=st.integers(1, 20 * 96), asked=kinds_of_time,
    drawn=st.lists(
        st.tuples(offsets, st.one_of(st.integers(1, 400), st.none())), max_size=5, unique_by=lambda change: change[0]
    ),
    periods=st.lists(st.tuples(st.sampled_from(["wrong", "closed"]), offsets, st.integers(1, 96)), max_size=2),
)  # fmt: skip


def check_any(
    year: Year, number: int, question: Question, start: datetime, length: int, asked: dict[str, Any],
    drawn: list[tuple[int, int | None]], periods: list[tuple[str, int, int]],
) -> None:  # fmt: skip
    latest = datetime.fromtimestamp(year.now.timestamp() // 900 * 900, UTC)
    changes = [(min(start + first * QUARTER, latest), capacity) for first, capacity in drawn]
    spans = [(kind, start + first * QUARTER, start + (first + size) * QUARTER) for kind, first, size in periods]
    calendar = calendar_of(asked, start)
    check(year, year.lots[number], question, start, start + length * QUARTER, calendar, changes, spans)


@PROPERTY
@any_case
def test_the_share_of_a_capacity_that_changes_is_what_brute_force_says(
    year: Year, number: int, question: Question, start: datetime, length: int, asked: dict[str, Any],
    drawn: list[tuple[int, int | None]], periods: list[tuple[str, int, int]],
) -> None:  # fmt: skip
    check_any(year, number, question, start, length, asked, drawn, periods)


def test_today_and_a_range_without_a_start_have_the_same_shares(year: Year) -> None:
    lot = year.lots[-1]
    first = datetime.fromtimestamp(lot.counts[0][0].timestamp() // 900 * 900, UTC)
    over = datetime.fromtimestamp(year.now.timestamp() // 900 * 900, UTC)
    end = over + timedelta(days=1)
    changes: Changes = [(first - timedelta(days=9), 90), (first + 41 * QUARTER, None), (end - timedelta(days=2), 77)]
    for question in QUESTIONS:
        check(year, lot, question, first, end, {}, changes, [])
    with changed(year, lot, changes, []):
        for answer in (analytics.quarter_hourly_averages, analytics.daily_averages, analytics.weekday_averages):
            open_range = answer(lot.camera, end=over, url=year.store.url)
            pd.testing.assert_frame_equal(open_range, answer(lot.camera, start=first, end=over, url=year.store.url))
        busiest = analytics.peaks(lot.camera, start=first, end=end, url=year.store.url)
        hours = analytics.hourly_averages(lot.camera, start=first, end=end, url=year.store.url)
        wanted = hours["occupied_share"].reindex(busiest.index)
        assert [*busiest["occupied_share"]] == pytest.approx([*wanted], nan_ok=True)


def test_the_latest_share_is_of_the_capacity_of_today(year: Year) -> None:
    lot = year.lots[-1]
    with changed(year, lot, [(year.now.replace(minute=0, second=0, microsecond=0) - timedelta(days=1), 500)], []):
        (row,) = analytics.latest(lot.camera, url=year.store.url).itertuples()
    assert row.occupied_share == pytest.approx(row.occupied_count / 500)


def test_in_sql_the_shares_are_those_of_the_frames(year: Year) -> None:
    lot = year.lots[1]
    start = datetime(2026, 3, 27, tzinfo=UTC)
    end = start + timedelta(days=5)
    with changed(year, lot, [(start + timedelta(days=2, hours=3), 50)], []):
        frame = analytics.daily_averages(lot.camera, start=start, end=end, url=year.store.url)
        with psycopg.connect(year.store.url) as connection:
            rows = connection.execute(
                "SELECT bucket, occupied_share FROM occupancy_shares(ARRAY[%s::uuid], %s, %s, width => 'day')",
                [lot.camera.id, start, end],
            ).fetchall()
    assert dict(rows) == pytest.approx(dict(zip(frame.index, frame["occupied_share"], strict=True)))


def test_a_camera_whose_capacity_never_changed_is_answered_beside_one_whose_did(year: Year) -> None:
    one, other = year.lots[0], year.lots[1]
    start = datetime(2026, 3, 1, tzinfo=UTC)
    ask: dict[str, Any] = {"start": start, "end": start + timedelta(days=9), "timezone": "UTC", "url": year.store.url}
    with changed(year, one, [(start + timedelta(days=3), 50)], []):
        both = analytics.daily_averages([one.camera, other.camera], **ask)
        for lot in (one, other):
            alone = analytics.daily_averages(lot.camera, **ask)
            part = both[both["camera"] == lot.camera.name]
            assert [*part["occupied_share"]] == pytest.approx([*alone["occupied_share"]])
    assert [*part["occupied_share"]] == pytest.approx([*(part["occupied_avg"] / TODAY)])


def test_retention_changes_nothing_of_it(year: Year) -> None:
    """The last test of the module: it changes what the others read."""
    year.forget_raw_rows()

    @PROPERTY
    @any_case
    def check_again(
        number: int, question: Question, start: datetime, length: int, asked: dict[str, Any],
        drawn: list[tuple[int, int | None]], periods: list[tuple[str, int, int]],
    ) -> None:  # fmt: skip
        check_any(year, number, question, start, length, asked, drawn, periods)

    check_again()
