"""What periods take out of a camera's time, against brute force on raw events, before and after retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg
from hypothesis import given
from hypothesis import strategies as st

import analytics
from tests.support.brute_force import QUARTER
from tests.support.questions import (
    PROPERTY,
    QUESTIONS,
    Question,
    Spans,
    calendar_of,
    check,
    check_uptime,
    kinds_of_time,
    periods,
    starts,
)
from tests.support.sample_year import ZONES, Lot, Year, year

__all__ = ["year"]

lengths = st.integers(1, 40 * 96)


def test_a_desired_state_of_maintenance_is_maintenance_in_whole_quarters(year: Year) -> None:
    lot = year.lots[-1]
    end = datetime.fromtimestamp(year.now.timestamp() // 900 * 900, UTC)
    asked: dict[str, Any] = {"start": end - timedelta(days=2), "end": end, "url": year.store.url}
    before = analytics.uptime(lot.camera, **asked)
    year.store.cameras.update(lot.camera, desired_state="maintenance")
    year.store.cameras.update(lot.camera, desired_state="running")
    with psycopg.connect(year.store.url) as connection:
        for back, state in (
            (timedelta(hours=30, minutes=7), "maintenance"),
            (timedelta(hours=20, minutes=11), "running"),
        ):
            connection.execute(
                "UPDATE timeseries.camera_versions SET changed_at = %s WHERE camera_id = %s AND revision = "
                "(SELECT max(revision) FROM timeseries.camera_versions WHERE camera_id = %s AND desired_state = %s)",
                [end - back, lot.camera.id, lot.camera.id, state],
            )
    by_state = analytics.uptime(lot.camera, **asked)
    with psycopg.connect(year.store.url) as connection:
        connection.execute(
            "DELETE FROM timeseries.camera_versions WHERE camera_id = %s AND revision > 1", [lot.camera.id]
        )
    assert not by_state.equals(before)
    spans: Spans = [("maintenance", end - timedelta(hours=30), end - timedelta(hours=20, minutes=15))]
    with periods(year.store, lot.camera, spans):
        pd.testing.assert_frame_equal(analytics.uptime(lot.camera, **asked), by_state)
    pd.testing.assert_frame_equal(analytics.uptime(lot.camera, **asked), before)


def check_both(
    year: Year, lot: Lot, question: Question, start: datetime, end: datetime, calendar: dict[str, Any], spans: Spans
) -> None:
    with periods(year.store, lot.camera, spans):
        check(year, lot, question, start, end, lot.zone, calendar, spans)
        check_uptime(year, lot, start, end, lot.zone, calendar, spans)


# Some are near the range, whole days among them, and some begin hours before it, within a hold.
some_spans = st.lists(
    st.tuples(
        st.sampled_from(["wrong", "closed", "maintenance", "note"]),
        st.one_of(st.integers(-200, 400), st.integers(-3, 10).map(lambda day: day * 96)),
        st.one_of(st.integers(1, 300), st.sampled_from([96, 192, 4])),
    ),
    max_size=6,
)
any_case = given(
    number=st.integers(0, len(ZONES) - 1), question=st.sampled_from(QUESTIONS), start=starts, length=lengths,
    asked=kinds_of_time, drawn=some_spans,
)  # fmt: skip


def check_any(
    year: Year, number: int, question: Question, start: datetime, length: int, asked: dict[str, Any],
    drawn: list[tuple[str, int, int]],
) -> None:  # fmt: skip
    lot = year.lots[number]
    spans = [(kind, start + first * QUARTER, start + (first + size) * QUARTER) for kind, first, size in drawn]
    check_both(year, lot, question, start, start + length * QUARTER, calendar_of(asked, start), spans)


@PROPERTY
@any_case
def test_what_periods_leave_out_is_left_out_as_brute_force_does(
    year: Year, number: int, question: Question, start: datetime, length: int, asked: dict[str, Any],
    drawn: list[tuple[str, int, int]],
) -> None:  # fmt: skip
    check_any(year, number, question, start, length, asked, drawn)


def test_today_and_a_range_without_a_start_leave_out_the_same(year: Year) -> None:
    lot = year.lots[-1]
    end = datetime.fromtimestamp(year.now.timestamp() // 900 * 900, UTC) + timedelta(days=1)
    spans: Spans = [
        ("wrong", end - timedelta(days=2), end - timedelta(days=1, hours=20)),
        ("closed", end - timedelta(days=1, hours=5), end - timedelta(days=1, hours=2)),
        ("wrong", end - timedelta(days=1, minutes=30), end),
    ]
    for question in QUESTIONS:
        check_both(year, lot, question, end - timedelta(days=3, hours=7), end, {}, spans)
    first = datetime.fromtimestamp(lot.counts[0][0].timestamp() // 900 * 900, UTC)
    begin: Spans = [("wrong", first - QUARTER, first + 8 * QUARTER), ("closed", first + 40 * QUARTER, end)]
    with periods(year.store, lot.camera, begin):
        for answer in (analytics.quarter_hourly_averages, analytics.daily_averages, analytics.weekday_averages):
            open_range = answer(lot.camera, url=year.store.url, fill=True)
            same = answer(lot.camera, start=first, url=year.store.url, fill=True)
            pd.testing.assert_frame_equal(open_range, same)


def test_retention_changes_nothing_of_it(year: Year) -> None:
    """The last test of the module: it changes what the others read."""
    year.forget_raw_rows()

    @PROPERTY
    @any_case
    def check_again(
        number: int, question: Question, start: datetime, length: int, asked: dict[str, Any],
        drawn: list[tuple[str, int, int]],
    ) -> None:  # fmt: skip
        check_any(year, number, question, start, length, asked, drawn)

    check_again()
