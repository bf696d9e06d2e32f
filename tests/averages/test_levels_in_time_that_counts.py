"""Time at or above a level of any calendar, with any periods and capacities, against brute force, before and after
retention.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analytics
from tests.support import brute_force
from tests.support.brute_force import QUARTER
from tests.support.keys import SECRET_KEY
from tests.support.levels import LABELS, Asked, Counts, check, observed, quarter_of
from tests.support.questions import PROPERTY, Spans, calendar_of, during, kinds_of_time, labels_of, periods
from tests.support.servers import RunningServer
from timeseries import Camera, OccupancyEvent, Store
from timeseries.model.opening_hours import WEEKDAYS
from timeseries.settings import Settings

DAY = timedelta(days=1)
KEPT_FROM = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 90 * DAY
BEGIN, END = KEPT_FROM - 12 * DAY, KEPT_FROM + 6 * DAY
ZONES = ("America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")
TODAY = 100  # the capacity before any change
Capacities = dict[datetime, int | None]  # since when which one


@dataclass(repr=False)
class Lots:
    """Cameras and what they saw, on both sides of the day before which raw rows go, and until when they are gone."""

    store: Store
    lots: list[tuple[Camera, Counts]] = field(default_factory=list)
    gone_until: datetime | None = None

    @contextmanager
    def changed(self, camera: Camera, spans: Spans, capacities: Capacities) -> Iterator[None]:
        for since, capacity in sorted(capacities.items()):
            self.store.cameras.update(camera, capacity=capacity, since=since)
        try:
            with periods(self.store, camera, spans):
                yield
        finally:
            self.store.cameras.update(camera, capacity=TODAY, past_capacities=[])

    def check(
        self, number: int, by: str, level: int, start: datetime, end: datetime, calendar: dict[str, Any], spans: Spans,
        capacities: Capacities,
    ) -> None:  # fmt: skip
        camera, counts = self.lots[number]
        asked = Asked(
            {at: count for at, count in counts.items() if not during(at, "wrong", spans)}, level, start, end,
            labels_of(LABELS[by], start, end, camera.zone, calendar, "closed", spans), camera.hold,
            [begin for kind, begin, _ in spans if kind == "wrong"],
        )  # fmt: skip
        wanted = asked.bounds(self.gone_until) if self.gone_until else asked.exact()
        shared = [capacity_at(quarter, capacities) for quarter in brute_force.quarters(start, end)]
        levels = [None if capacity is None else -(-level * capacity // 100) for capacity in shared]
        with self.changed(camera, spans, capacities):
            check(self.store.url, camera, wanted, by, start=start, end=end, level=level, **calendar)
            wanted = asked.of_levels(levels, self.gone_until)
            check(self.store.url, camera, wanted, by, start=start, end=end, share=level / 100, **calendar)


def capacity_at(quarter: datetime, capacities: Capacities) -> int | None:
    since = max((at for at in capacities if at <= quarter), default=None)
    return TODAY if since is None else capacities[since]


@pytest.fixture(scope="module")
def lots(server: RunningServer) -> Iterator[Lots]:
    with Store.open(server.copy(), settings=Settings(secret_key=SECRET_KEY)) as store:
        made = Lots(store)
        for number, zone in enumerate(ZONES):
            camera = store.cameras.add(zone, timezone=zone, hold=timedelta(hours=(30, 3, 24)[number]), capacity=TODAY)
            counts = observed(random.Random(number), BEGIN, END)
            assert store.record([OccupancyEvent(camera.id, *count) for count in counts.items()]).rejected == ()
            made.lots.append((camera, counts))
        yield made
    server.drop()


some_spans = st.lists(
    st.tuples(
        st.sampled_from(["wrong", "closed", "maintenance", "note"]),
        st.one_of(st.integers(-200, 400), st.integers(-3, 10).map(lambda day: day * 96)),
        st.one_of(st.integers(1, 300), st.sampled_from([96, 192, 4])),
    ),
    max_size=6,
)
any_case = given(
    number=st.integers(0, len(ZONES) - 1), by=st.sampled_from([*LABELS]), level=st.sampled_from([1, 30, 50, 85, 100]),
    start=st.integers(-96, 17 * 96).map(lambda quarter: BEGIN + quarter * QUARTER), length=st.integers(1, 9 * 96),
    calendar=kinds_of_time, drawn=some_spans,
    sizes=st.dictionaries(
        st.one_of(st.integers(-300, 500), st.integers(-3, 10).map(lambda day: day * 96)),
        st.one_of(st.integers(1, 200), st.none()), max_size=4,
    ),
)  # fmt: skip


def check_any(
    lots: Lots, number: int, by: str, level: int, start: datetime, length: int, calendar: dict[str, Any],
    drawn: list[tuple[str, int, int]], sizes: dict[int, int | None],
) -> None:  # fmt: skip
    spans = [(kind, start + first * QUARTER, start + (first + size) * QUARTER) for kind, first, size in drawn]
    capacities = {start + first * QUARTER: capacity for first, capacity in sizes.items()}
    lots.check(number, by, level, start, start + length * QUARTER, calendar_of(calendar, start), spans, capacities)


@PROPERTY
@any_case
def test_only_time_that_counts_is_at_or_above_the_level_of_its_time(
    lots: Lots, number: int, by: str, level: int, start: datetime, length: int, calendar: dict[str, Any],
    drawn: list[tuple[str, int, int]], sizes: dict[int, int | None],
) -> None:  # fmt: skip
    check_any(lots, number, by, level, start, length, calendar, drawn, sizes)


def test_a_range_without_a_start_leaves_out_the_same(lots: Lots) -> None:
    camera, counts = lots.lots[0]
    first = quarter_of(min(counts))
    spans: Spans = [("wrong", first - QUARTER, first + 8 * QUARTER), ("closed", first + 40 * QUARTER, first + 3 * DAY)]
    with lots.changed(camera, spans, {first + 2 * DAY: 60}):
        for by in ("day", "total"):
            asked: dict[str, Any] = {"share": 0.5, "by": by, "url": lots.store.url, "hours": ("06:15", "20:00")}
            found = analytics.time_above(camera, **asked)
            pd.testing.assert_frame_equal(found, analytics.time_above(camera, start=first, **asked))


def test_a_frame_says_what_counted_and_what_was_left_out(lots: Lots) -> None:
    camera, _ = lots.lots[0]
    asked: dict[str, Any] = {"share": 0.85, "start": BEGIN + DAY, "end": BEGIN + 3 * DAY, "url": lots.store.url}
    spans: Spans = [("wrong", BEGIN, BEGIN + 2 * DAY), ("maintenance", BEGIN, BEGIN + 2 * DAY)]
    with lots.changed(camera, spans, {}):
        attrs = analytics.time_above(camera, hours=("07:00", "19:00"), weekdays=["mon", "tue"], **asked).attrs
    assert attrs["calendar"] == {"hours": ["07:00", "19:00"], "weekdays": [1, 2], "dates": None, "without": None}
    (left_out,) = attrs["left_out"]
    assert (left_out["camera"], left_out["kind"], left_out["start"]) == (camera.name, "wrong", BEGIN.isoformat())
    assert not {"calendar", "left_out"} & {*analytics.time_above(camera, **asked).attrs}


def test_time_above_within_opening_hours_is_that_within_the_same_hours(lots: Lots) -> None:
    camera, _ = lots.lots[0]
    hours = ("07:15", "19:00")
    ask: dict[str, Any] = {"level": 3, "start": BEGIN, "end": END, "url": lots.store.url}
    lots.store.cameras.update(camera, opening_hours=dict.fromkeys(WEEKDAYS, hours))
    try:
        opening = analytics.time_above(camera, hours="opening", **ask)
    finally:
        lots.store.cameras.update(camera, opening_hours=None)
    within = analytics.time_above(camera, hours=hours, **ask)
    assert opening.attrs["calendar"]["hours"] == "opening"
    pd.testing.assert_frame_equal(opening, within)
    assert not within.equals(analytics.time_above(camera, **ask))


def test_retention_leaves_bounds_of_the_same_time(lots: Lots) -> None:
    """The last test of the module: it changes what the others read."""
    assert lots.store.prune().removed > 0
    with lots.store.pool.connection() as connection:
        (first,) = connection.execute("SELECT min(timestamp) FROM occupancy_events").fetchone() or (None,)
    lots.gone_until = quarter_of(first)

    @PROPERTY
    @any_case
    def check_again(
        number: int, by: str, level: int, start: datetime, length: int, calendar: dict[str, Any],
        drawn: list[tuple[str, int, int]], sizes: dict[int, int | None],
    ) -> None:  # fmt: skip
        check_any(lots, number, by, level, start, length, calendar, drawn, sizes)

    check_again()
