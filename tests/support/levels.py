"""Time at or above a level by brute force on raw events: exactly with these, and bounds without."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import analytics
from tests.support import brute_force
from tests.support.brute_force import QUARTER
from timeseries import Camera, Group

LABELS: dict[str, Callable[[datetime, ZoneInfo], Any]] = {
    "day": brute_force.day_label,
    "weekday": brute_force.weekday_label,
    "month": brute_force.month_label,
    "total": lambda quarter, zone: 0,
}
Counts = dict[datetime, int]
Bounds = dict[Hashable, tuple[float, float, float]]  # seconds at least and at most, and coverage


@dataclass(frozen=True)
class Asked:
    """What is asked of one camera: its observations, the level, the range, a label for each quarter of an hour (None:
    it is left out), and where wrong periods begin, in which nothing was observed.
    """

    counts: Counts
    level: int
    start: datetime
    end: datetime
    labels: Sequence[Hashable]
    hold: timedelta
    stops: Sequence[datetime] = ()

    def exact(self) -> Bounds:
        """The indicator of the level, integrated."""
        is_above = [int(count >= self.level) for count in self.counts.values()]
        known = brute_force.answer(
            self.counts, is_above, start=self.start, end=self.end, labels=self.labels, hold=self.hold,
            now=datetime.now(UTC), stops=self.stops,
        )  # fmt: skip
        return {label: (k.car_seconds, k.car_seconds, k.coverage) for label, k in known.items()}

    def bounds(self, until: datetime) -> Bounds:
        """The same where the raw rows of the quarters before a moment are gone: what is between the first and the last
        observation of such a quarter is taken away, and comes back as the least and the most that their extremes allow.
        """
        result = self.exact()
        for quarter, inside in self.quarters(until).items():
            label = self.labels[(quarter - self.start) // QUARTER]
            if label is None:
                continue
            times, values = list(inside), list(inside.values())
            spans = [(later - at).total_seconds() for at, later in pairwise(times)]
            known, cars = sum(spans), sum(span * count for span, count in zip(spans, values, strict=False))
            above = sum(span for span, count in zip(spans, values, strict=False) if count >= self.level)
            least, most = extremes(known, cars, min(values), max(values), self.level)
            low, high, coverage = result[label]
            result[label] = (low - above + least, high - above + most, coverage)
        return result

    def quarters(self, until: datetime) -> dict[datetime, Counts]:
        found: dict[datetime, Counts] = {}
        for at, count in sorted(self.counts.items()):
            if self.start <= at < min(self.end, until):
                found.setdefault(quarter_of(at), {})[at] = count
        return found


def quarter_of(at: datetime) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // 900 * 900, UTC)


def extremes(known: float, cars: float, minimum: int, maximum: int, level: int) -> tuple[float, float]:
    """The least time above: what is above is full, and the rest just below. The most: as little above as counts, and
    the rest empty.
    """
    if minimum >= level or maximum < level:
        return (known, known) if minimum >= level else (0, 0)
    least = (cars - known * (level - 1)) / (maximum - (level - 1))
    most = (cars - known * minimum) / (level - minimum)
    return max(least, 0), min(most, known)


def observed(chance: random.Random, start: datetime, end: datetime) -> Counts:
    """Irregular moments, some within a minute, some on a quarter of an hour, some days apart."""
    at, found = start, {}
    while (at := at + timedelta(seconds=chance.choice([20, 200, 2000, 9000]) * (0.1 + chance.random()))) < end:
        if chance.random() < 0.01:
            at += timedelta(days=2 * chance.random())
        if chance.random() < 0.1:
            at = datetime.fromtimestamp(-(-at.timestamp() // 900) * 900, UTC)
        found[at] = chance.randrange(100)
    return found


def check(url: str, asked: Camera | Group, wanted: Bounds, by: Any, **more: Any) -> None:
    """The frame of `time_above` against brute force, to 1e-9: a row for each label of which some time is known."""
    found = analytics.time_above(asked, by=by, url=url, **more).reset_index()
    keys = found["local_date"].dt.date if by in ("day", "month") else found["weekday"] if by == "weekday" else [0]
    rows = dict(zip(keys, found.itertuples(), strict=False))
    assert len(rows) == len(found)
    known = {label: one for label, one in wanted.items() if one[2] > 0}
    assert set(rows) == set(known)
    for label, (least, most, coverage) in known.items():
        row: Any = rows[label]
        assert row.hours_at_least == pytest.approx(least / 3600, rel=1e-9, abs=1e-9)
        assert row.hours_at_most == pytest.approx(most / 3600, rel=1e-9, abs=1e-9)
        assert row.hours_at_least <= row.hours_at_most
        assert row.coverage == pytest.approx(coverage, rel=1e-9, abs=1e-12)
        assert row.share_at_least == pytest.approx(row.hours_at_least / row.known_hours)
        assert row.share_at_most <= 1 + 1e-9
