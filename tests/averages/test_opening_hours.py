"""Answers within the opening hours of each lot, against brute force on raw events, before and after retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

import analytics
from analytics import plot
from tests.support.brute_force import QUARTER
from tests.support.questions import (
    PROPERTY,
    QUESTIONS,
    Question,
    calendar_of,
    check,
    check_uptime,
    lengths,
    pairs,
    some_days,
    starts,
)
from tests.support.sample_year import YEAR, ZONES, Year, year
from timeseries import InvalidInputError
from timeseries.model.opening_hours import WEEKDAYS

__all__ = ["year"]

SHOP = {day: ["07:30", "20:00"] for day in WEEKDAYS[:5]} | {"saturday": ["08:00", "14:00"]}
THEATRE = {"friday": ["18:00", "02:30"], "saturday": ["00:00", "24:00"], "sunday": ["22:00", "01:00"]}


any_opening_hours = st.one_of(
    st.none(),
    st.sampled_from([SHOP, THEATRE]),
    st.dictionaries(st.sampled_from(WEEKDAYS), st.one_of(pairs, st.just(("00:00", "24:00"))), min_size=1),
)
any_question = given(
    number=st.integers(0, len(ZONES) - 1),
    opening=any_opening_hours,
    zone=st.one_of(st.none(), st.sampled_from(ZONES)),
    question=st.sampled_from(QUESTIONS),
    start=starts,
    length=lengths,
    asked=st.fixed_dictionaries(
        {}, optional={"weekdays": st.frozensets(st.integers(1, 7), min_size=1), "without": some_days}
    ),
)
autumn = example(0, THEATRE, None, QUESTIONS[1], datetime(2025, 11, 1, 4, tzinfo=UTC), 300, {})
half_hour = example(4, THEATRE, None, QUESTIONS[2], datetime(2026, 4, 3, tzinfo=UTC), 300, {})
elsewhere = example(3, SHOP, "America/New_York", QUESTIONS[6], YEAR[0], 60 * 96, {"without": frozenset({5})})
whole_year = example(1, SHOP, None, QUESTIONS[4], YEAR[0], 365 * 96, {"without": frozenset({54})})


def check_any(
    year: Year,
    number: int,
    opening: Any,
    zone: str | None,
    question: Question,
    start: datetime,
    length: int,
    asked: Any,
) -> None:
    lot = year.lots[number]
    lot.camera = year.store.cameras.update(lot.camera, opening_hours=opening)
    calendar, end = calendar_of(asked, start) | {"hours": "opening"}, start + length * QUARTER
    check(year, lot, question, start, end, ZoneInfo(zone) if zone else lot.zone, calendar)
    check_uptime(year, lot, start, end, lot.zone, calendar)


@PROPERTY
@any_question
@autumn
@half_hour
@elsewhere
@whole_year
def test_averages_within_opening_hours_are_those_of_brute_force(
    year: Year,
    number: int,
    opening: Any,
    zone: str | None,
    question: Question,
    start: datetime,
    length: int,
    asked: Any,
) -> None:
    check_any(year, number, opening, zone, question, start, length, asked)


def test_each_lot_of_a_frame_counts_within_its_own_hours(year: Year) -> None:
    chosen = year.lots[:4]
    for lot, opening in zip(chosen, (SHOP, THEATRE, None, SHOP), strict=True):
        lot.camera = year.store.cameras.update(lot.camera, opening_hours=opening)
    answers: list[Any] = [*(question.answer for question in QUESTIONS[:8]), analytics.peaks]
    for answer in answers:
        ask = partial(answer, start=YEAR[0], end=YEAR[0] + timedelta(days=40), hours="opening")
        together = ask([lot.camera for lot in chosen], url=year.store.url)
        assert together.attrs["calendar"] == {"hours": "opening", "weekdays": None, "dates": None, "without": None}
        for lot in chosen:
            alone = ask(lot.camera, url=year.store.url)
            part = together[together["camera"] == lot.camera.name]
            rows = [frame.drop(columns=["camera", "camera_id"]).reset_index() for frame in (part, alone)]
            if "bucket" in rows[0]:
                rows[0]["bucket"] = rows[0]["bucket"].dt.tz_convert(lot.zone)
                rows[1]["bucket"] = rows[1]["bucket"].dt.tz_convert(lot.zone)
            columns = [name for name in rows[0] if name != "index"]
            pd.testing.assert_frame_equal(rows[0][columns], rows[1][columns])


def test_a_lot_without_opening_hours_always_counts_and_a_frame_of_none_is_empty(year: Year) -> None:
    lot = year.lots[2]
    lot.camera = year.store.cameras.update(lot.camera, opening_hours=None)
    ask = partial(year.ask, analytics.hourly_averages, lot, YEAR[0], YEAR[0] + timedelta(days=9))
    pd.testing.assert_frame_equal(ask(hours="opening"), ask())
    none = analytics.daily_averages([], hours="opening", url=year.store.url)
    assert len(none) == 0
    assert none.attrs["calendar"]["hours"] == "opening"


def test_closed_days_have_no_row_and_holidays_are_closed(year: Year) -> None:
    lot = year.lots[1]
    lot.camera = year.store.cameras.update(lot.camera, opening_hours=SHOP)
    found = year.ask(
        analytics.daily_averages, lot, *YEAR, hours="opening", without=["2025-12-25", "2025-12-26"], fill=True
    )
    days = {day.date() for day in found["local_date"]}
    assert {day.isoweekday() for day in days} == {1, 2, 3, 4, 5, 6}
    assert not {datetime(2025, 12, day, tzinfo=UTC).date() for day in (25, 26)} & days
    compared = analytics.compare(
        lot.camera,
        before={"start": YEAR[0], "end": YEAR[1], "hours": "opening"},
        after={"start": YEAR[0], "end": YEAR[1]},
        url=year.store.url,
    )
    assert compared["coverage_before"].tolist()[-1] == 0
    assert compared.attrs["before"]["calendar"]["hours"] == "opening"


def test_sql_takes_the_opening_hours_of_a_column(year: Year) -> None:
    lot = year.lots[0]
    lot.camera = year.store.cameras.update(lot.camera, opening_hours=THEATRE)
    query = """
        SELECT d.occupied_avg
        FROM public.cameras AS c
        CROSS JOIN LATERAL public.occupancy_days(
            ARRAY[c.id], %s, %s, calendar => public.calendar(opening => c.opening_hours)) AS d
        WHERE c.id = %s AND d.coverage > 0
        ORDER BY d.bucket
    """
    start, end = YEAR[0], YEAR[0] + timedelta(days=30)
    with psycopg.connect(year.store.url) as connection:
        found = connection.execute(query, [start, end, lot.camera.id]).fetchall()
        wanted = year.ask(analytics.daily_averages, lot, start, end, hours="opening")["occupied_avg"]
        assert [average for (average,) in found] == wanted.tolist()
        wrongs: list[Any] = [{}, [], "monday", {"monday": ["07:00", "07:05"]}]
        for wrong in wrongs:
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="give from and to by weekday"):
                connection.execute("SELECT public.calendar(opening => %s)", [Jsonb(wrong)])
            connection.rollback()


def test_hours_that_are_neither_a_pair_nor_opening_are_refused(year: Year) -> None:
    with pytest.raises(InvalidInputError, match='nor "opening"'):
        year.ask(analytics.daily_averages, year.lots[0], *YEAR, hours="open")


def test_a_heat_map_of_hours_within_opening_hours_is_refused(year: Year) -> None:
    found = year.ask(analytics.hourly_averages, year.lots[0], *YEAR, hours="opening")
    with pytest.raises(InvalidInputError, match="draw weekday_profile"):
        plot.heat_map(found)


def test_retention_changes_no_average_within_opening_hours(year: Year) -> None:
    """The last test of the module that asks the year: it changes what the others read."""
    year.forget_raw_rows()

    @PROPERTY
    @any_question
    @half_hour
    @elsewhere
    @whole_year
    def check_again(
        number: int, opening: Any, zone: str | None, question: Question, start: datetime, length: int, asked: Any
    ) -> None:
        check_any(year, number, opening, zone, question, start, length, asked)

    check_again()
