"""Buckets of any width, and any calendar, against brute force on raw events, before and after retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

import analytics
from analytics.comparison import Side
from tests.support.brute_force import QUARTER
from tests.support.questions import (
    PROPERTY,
    QUESTIONS,
    Question,
    calendar_of,
    check,
    check_uptime,
    kinds_of_time,
    lengths,
    starts,
)
from tests.support.sample_year import YEAR, ZONES, Year, year

__all__ = ["year"]


def check_any(
    year: Year, number: int, zone: str | None, question: Question, start: datetime, length: int, asked: dict[str, Any]
) -> None:
    lot = year.lots[number]
    calendar, end = calendar_of(asked, start), start + length * QUARTER
    check(year, lot, question, start, end, ZoneInfo(zone) if zone else lot.zone, calendar)
    check_uptime(year, lot, start, end, lot.zone, calendar)


any_question = given(
    number=st.integers(0, len(ZONES) - 1),
    zone=st.one_of(st.none(), st.sampled_from(ZONES)),
    question=st.sampled_from(QUESTIONS),
    start=starts,
    length=lengths,
    asked=kinds_of_time,
)
night = {"hours": ("22:00", "05:30"), "weekdays": frozenset({6, 7})}
autumn = example(0, None, QUESTIONS[-6], datetime(2025, 11, 1, 4, tzinfo=UTC), 300, {})  # 45 minutes in New York
half_hour = example(4, None, QUESTIONS[-7], datetime(2026, 4, 4, tzinfo=UTC), 96, night)  # 30 minutes on Lord Howe
back_again = example(0, "America/St_Johns", QUESTIONS[-5], YEAR[0] + 112 * QUARTER, 3, {})  # 90 minutes, after 01:30
whole_year = example(
    1, None, QUESTIONS[4], YEAR[0], 365 * 96, {"hours": ("07:00", "19:00"), "without": frozenset({54})}
)


@PROPERTY
@any_question
@autumn
@half_hour
@back_again
@whole_year
def test_any_width_and_calendar_average_as_brute_force_does(
    year: Year, number: int, zone: str | None, question: Question, start: datetime, length: int, asked: dict[str, Any]
) -> None:
    check_any(year, number, zone, question, start, length, asked)


def test_what_was_observed_today_counts_as_the_calendar_says(year: Year) -> None:
    lot = year.lots[-1]
    end = datetime.fromtimestamp(year.now.timestamp() // 900 * 900, UTC) + timedelta(days=1)
    for question in QUESTIONS:
        for calendar in ({}, {"hours": ("06:15", "20:00")}, {"weekdays": [1, 3, 5, 7], "hours": ("20:00", "06:00")}):
            check(year, lot, question, end - timedelta(days=3, hours=7), end, lot.zone, calendar)


def test_a_range_without_a_start_begins_with_the_first_observation_also_where_it_does_not_count(year: Year) -> None:
    for lot in year.lots[:3]:
        first = datetime.fromtimestamp(lot.counts[0][0].timestamp() // 900 * 900, UTC)
        for more in ({}, {"hours": ("05:00", "17:30")}, {"weekdays": [2]}):
            for ask in (
                analytics.monthly_averages,
                partial(analytics.bucket_averages, width="6 hours"),
                analytics.uptime,
            ):
                open_range = ask(lot.camera, end=YEAR[1], url=year.store.url, **more)
                same = ask(lot.camera, start=first if ask is not analytics.uptime else None, end=YEAR[1],
                           url=year.store.url, **more)  # fmt: skip
                pd.testing.assert_frame_equal(open_range, same)


def test_peaks_and_comparisons_are_of_time_that_counts(year: Year) -> None:
    lot = year.lots[1]
    calendar: dict[str, Any] = {"hours": ("07:00", "19:00"), "weekdays": ["sat", "sun"]}
    hours = year.ask(analytics.hourly_averages, lot, *YEAR, **calendar)
    busiest = year.ask(analytics.peaks, lot, *YEAR, number=5, **calendar)
    assert busiest["occupied_avg"].tolist() == sorted(hours["occupied_avg"], reverse=True)[:5]
    day: Side = {"start": YEAR[0], "end": YEAR[1], "hours": ("06:00", "22:00")}
    night: Side = {"start": YEAR[0], "end": YEAR[1], "hours": ("22:00", "06:00")}
    found = analytics.compare(lot.camera, before=day, after=night, weekdays="sunday", url=year.store.url)
    assert found["weekday"].tolist() == [7]
    for name, side in (("before", day), ("after", night)):
        (average,) = year.ask(analytics.weekday_averages, lot, *YEAR, weekdays=7, hours=side["hours"])["occupied_avg"]
        assert found[f"occupied_avg_{name}"].tolist() == [average]


def test_retention_changes_no_average_of_any_width_and_calendar(year: Year) -> None:
    """The last test of the module: it changes what the others read."""
    year.forget_raw_rows()

    @PROPERTY
    @any_question
    @half_hour
    @back_again
    @whole_year
    def check_again(
        number: int, zone: str | None, question: Question, start: datetime, length: int, asked: dict[str, Any]
    ) -> None:
        check_any(year, number, zone, question, start, length, asked)

    check_again()
