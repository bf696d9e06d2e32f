"""Questions that group quarters of an hour by a label, and what brute force says to their frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import analytics
from tests.support import brute_force
from tests.support.brute_force import QUARTER
from tests.support.sample_year import YEAR, Lot, Year
from timeseries import Camera, Store
from timeseries.model.relations import HEALTH_STATUSES

Spans = Sequence[tuple[str, datetime, datetime]]  # of periods: kind, from, to
PROPERTY = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

WIDTHS = {"30 minutes": 30, "45min": 45, "90 minutes": 90, "2h": 120, "3 hours": 180, "6 hours": 360, "12h": 720}


@dataclass(frozen=True)
class Question:
    """An answer, the label of each quarter of an hour in it, and the label of one of its rows."""

    answer: Callable[..., pd.DataFrame]
    label: Callable[[datetime, ZoneInfo], Any]
    key: Callable[[Any, datetime, ZoneInfo], Any]


def of_time(answer: Callable[..., Any], label: Callable[..., Any]) -> Question:
    """A bucket that begins before the range has the label of the first quarter of the range."""

    def key(row: Any, start: datetime, zone: ZoneInfo) -> Any:
        return label(max(row.bucket.to_pydatetime(), start).astimezone(UTC), zone)

    return Question(answer, label, key)


def of_width(width: str, minutes: int) -> Question:
    """The wall says which bucket of more than an hour it is, because it may begin before the range and go on, where the
    clock is put back, after the one in which the range begins.
    """
    question = of_time(partial(analytics.bucket_averages, width=width), brute_force.slot_label(minutes))
    if minutes <= 60:
        return question

    def key(row: Any, start: datetime, zone: ZoneInfo) -> Any:
        wall = row.local_start
        return wall.date(), (wall.hour * 60 + wall.minute) // minutes, None

    return replace(question, key=key)


def of_date(answer: Callable[..., Any], label: Callable[..., Any]) -> Question:
    return Question(answer, label, lambda row, start, zone: row.local_date.date())


QUESTIONS = [
    of_time(analytics.quarter_hourly_averages, lambda quarter, zone: quarter),
    of_time(analytics.hourly_averages, brute_force.hour_label),
    of_date(analytics.daily_averages, brute_force.day_label),
    of_date(analytics.weekly_averages, brute_force.week_label),
    of_date(analytics.monthly_averages, brute_force.month_label),
    of_date(analytics.yearly_averages, brute_force.year_label),
    Question(analytics.weekday_averages, brute_force.weekday_label, lambda row, start, zone: row.weekday),
    Question(analytics.weekday_profile, brute_force.profile_label, lambda row, start, zone: (row.weekday, row.hour)),
    *(of_width(width, minutes) for width, minutes in WIDTHS.items()),
]

of_hours = st.integers(0, 23).map(lambda hour: f"{hour:02d}:00")
of_quarters = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02d}:{quarter % 4 * 15:02d}")
pairs = st.one_of(
    *(st.tuples(times, times).filter(lambda pair: pair[0] != pair[1]) for times in (of_hours, of_quarters))
)
# From before the year of the lots to after it; the changes of the clock are where most would go wrong.
starts = st.one_of(
    st.integers(-3 * 96, 365 * 96).map(lambda quarter: YEAR[0] + quarter * QUARTER),
    st.sampled_from([
        YEAR[0], *(datetime(2026, *day, tzinfo=UTC) for day in ((3, 8), (3, 29), (4, 4), (10, 3), (10, 25))),
    ]),
)  # fmt: skip
lengths = st.one_of(st.integers(1, 400), st.integers(1, 60 * 96))
some_days = st.frozensets(st.integers(-1, 20), max_size=9)
kinds_of_time = st.fixed_dictionaries({}, optional={
    "hours": pairs,
    "weekdays": st.frozensets(st.integers(1, 7), min_size=1),
    "dates": some_days,
    "without": some_days,
})  # fmt: skip


def calendar_of(asked: dict[str, Any], start: datetime) -> dict[str, Any]:
    """With dates in place of numbers of days after the start."""
    first = start.date()
    return {
        name: [first + timedelta(days=number) for number in sorted(value)] if name in ("dates", "without") else value
        for name, value in asked.items()
    }


def judged(lot: Lot, calendar: dict[str, Any]) -> dict[str, Any]:
    """The calendar as brute force knows it: with the lot's own hours in place of "opening"."""
    if calendar.get("hours") != "opening":
        return calendar
    own = {"opening": lot.camera.opening_hours, "opening_zone": lot.zone}
    return {name: value for name, value in calendar.items() if name != "hours"} | own


def during(at: datetime, kind: str, spans: Spans) -> bool:
    return any(start <= at < end for found, start, end in spans if found == kind)


@contextmanager
def periods(store: Store, camera: Camera, spans: Spans) -> Iterator[None]:
    """For a while the camera has these periods."""
    added = [store.periods.add(camera, start, end, kind) for kind, start, end in spans]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for period in added:
            store.periods.remove(period)


def labels_of(
    label: Callable[..., Any],
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    calendar: dict[str, Any],
    left_out: str,
    spans: Spans,
) -> list[Any]:
    """None for a quarter that is not in the calendar, or lies in a span of the kind that is left out."""
    return [
        label(quarter, zone)
        if brute_force.counts(quarter, zone, **calendar) and not during(quarter, left_out, spans)
        else None
        for quarter in brute_force.quarters(start, end)
    ]  # fmt: skip


def check_rows(
    rows: Mapping[Any, Any], wanted: Mapping[Any, brute_force.Known], extremes: Mapping[Any, tuple[int, int]]
) -> None:
    """Samples, least and most exactly, averages and coverage to 1e-9."""
    for name, known in wanted.items():
        row = rows[name]
        assert row.samples == known.samples
        assert row.coverage == pytest.approx(known.coverage, rel=1e-9, abs=1e-12)
        if known.average is None:
            assert pd.isna(row.occupied_avg)
        else:
            assert row.occupied_avg == pytest.approx(known.average, rel=1e-9, abs=1e-12)
            assert row.occupied_share == pytest.approx(row.occupied_avg / 200, rel=1e-12)
            assert (row.occupied_min, row.occupied_max) == extremes[name]


def check(
    year: Year,
    lot: Lot,
    question: Question,
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    calendar: dict[str, Any],
    spans: Spans = (),
) -> None:
    """A frame against brute force: a row for each label that counts, averages to 1e-9, samples and extremes exactly.
    The store has periods at the `spans`.
    """
    found = year.ask(question.answer, lot, start, end, fill=True, timezone=zone.key, **calendar)
    labels = labels_of(question.label, start, end, zone, judged(lot, calendar), "closed", spans)
    trusted = [(at, count) for at, count in lot.counts if not during(at, "wrong", spans)]
    times, counted = [at for at, _ in trusted], [count for _, count in trusted]
    asked: dict[str, Any] = {
        "start": start,
        "end": end,
        "labels": labels,
        "hold": lot.camera.hold,
        "now": year.asked_at,
        "stops": [begin for kind, begin, _ in spans if kind == "wrong"],
    }
    wanted = brute_force.answer(times, counted, **asked)
    extremes = brute_force.extremes(times, counted, **asked)
    rows = {question.key(row, start, zone): row for row in found.reset_index().itertuples()}
    assert len(rows) == len(found)
    if question.answer is analytics.weekday_profile:  # which fills all 168 hours
        assert [row for name, row in rows.items() if name not in wanted and row.coverage] == []
        assert {*wanted} <= {*rows}
    else:
        assert {*rows} == {*wanted}
    check_rows(rows, wanted, extremes)


def check_uptime(
    year: Year, lot: Lot, start: datetime, end: datetime, zone: ZoneInfo, calendar: dict[str, Any], spans: Spans = ()
) -> None:
    rows = year.ask(analytics.uptime, lot, start, end, timezone=zone.key, **calendar).to_dict("records")
    labels = labels_of(lambda quarter, zone: 0, start, end, zone, judged(lot, calendar), "maintenance", spans)
    for status in HEALTH_STATUSES:
        wanted = brute_force.answer(
            [at for at, _, _ in lot.logs], [int(logged == status) for _, logged, _ in lot.logs],
            start=start, end=end, labels=labels, hold=lot.camera.hold, now=year.asked_at,
        )  # fmt: skip
        assert len(rows) == len(wanted)
        for row, known in zip(rows, wanted.values(), strict=True):
            assert row["coverage"] == pytest.approx(known.coverage, rel=1e-9, abs=1e-12)
            assert row["samples"] == known.samples
            if known.average is not None:
                assert row[f"{status}_share"] == pytest.approx(known.average, rel=1e-9, abs=1e-12)
