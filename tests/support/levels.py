"""Time at or above a level by brute force on raw events: exactly with these, and bounds without."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pandas as pd
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


class Above(NamedTuple):
    """Seconds at or above a level, at least and at most (NaN where a level of known time is), those that are known,
    those of the span, and the levels.
    """

    least: float
    most: float
    known: float
    span: float
    levels: frozenset[int | None]

    @classmethod
    def of(cls, least: float, most: float, known: float, span: float, level: int | None) -> Above:
        """With one level (None: it is unknown), which is missing only where there is known time."""
        if level is not None:
            return cls(least, most, known, span, frozenset({level}))
        return cls(math.nan, math.nan, known, span, frozenset({None})) if known else cls(0, 0, 0, span, frozenset())

    @property
    def coverage(self) -> float:
        return self.known / self.span

    def plus(self, other: Above) -> Above:
        return Above(
            self.least + other.least, self.most + other.most, self.known + other.known, self.span + other.span,
            self.levels | other.levels,
        )  # fmt: skip


Bounds = dict[Hashable, Above]


@dataclass(frozen=True)
class Asked:
    """What is asked of one camera: its observations, the level (None: it is unknown), the range, a label for each
    quarter of an hour (None: it is left out), and where wrong periods begin, in which nothing was observed.
    """

    counts: Counts
    level: int | None
    start: datetime
    end: datetime
    labels: Sequence[Hashable]
    hold: timedelta
    stops: Sequence[datetime] = ()

    def exact(self) -> Bounds:
        """The indicator of the level, integrated."""
        is_above = [int(self.level is not None and count >= self.level) for count in self.counts.values()]
        known = brute_force.answer(
            self.counts, is_above, start=self.start, end=self.end, labels=self.labels, hold=self.hold,
            now=datetime.now(UTC), stops=self.stops,
        )  # fmt: skip
        return {
            label: Above.of(k.car_seconds, k.car_seconds, k.known_seconds, k.span_seconds, self.level)
            for label, k in known.items()
        }

    def of_levels(self, levels: Sequence[int | None], until: datetime | None) -> Bounds:
        """The same with a level for each quarter of an hour, put together from those of each level; bounds where raw
        rows are gone until a moment.
        """
        result: Bounds = {}
        for level in dict.fromkeys(levels):
            labels = [label if one == level else None for label, one in zip(self.labels, levels, strict=True)]
            part = replace(self, level=level, labels=labels)
            for label, found in (part.bounds(until) if until else part.exact()).items():
                result[label] = result[label].plus(found) if label in result else found
        return result

    def bounds(self, until: datetime) -> Bounds:
        """The same where the raw rows of the quarters before a moment are gone: what is between the first and the last
        observation of such a quarter is taken away, and comes back as the least and the most that their extremes allow.
        """
        result = self.exact()
        for quarter, inside in self.quarters(until).items():
            label = self.labels[(quarter - self.start) // QUARTER]
            if label is None or self.level is None:
                continue
            times, values = list(inside), list(inside.values())
            spans = [(later - at).total_seconds() for at, later in pairwise(times)]
            known, cars = sum(spans), sum(span * count for span, count in zip(spans, values, strict=False))
            above = sum(span for span, count in zip(spans, values, strict=False) if count >= self.level)
            least, most = extremes(known, cars, min(values), max(values), self.level)
            found = result[label]
            result[label] = found._replace(least=found.least - above + least, most=found.most - above + most)
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
    known = {label: one for label, one in wanted.items() if one.known > 0}
    assert set(rows) == set(known)
    for label, above in known.items():
        row: Any = rows[label]
        assert [row.hours_at_least, row.hours_at_most, row.known_hours] == pytest.approx(
            [above.least / 3600, above.most / 3600, above.known / 3600], rel=1e-9, abs=1e-9, nan_ok=True
        )
        assert not row.hours_at_least > row.hours_at_most
        assert row.coverage == pytest.approx(above.coverage, rel=1e-9, abs=1e-12)
        assert row.share_at_least == pytest.approx(row.hours_at_least / row.known_hours, nan_ok=True)
        assert not row.share_at_most > 1 + 1e-9
        (level, *others) = above.levels
        assert pd.isna(row.level) if others or level is None else row.level == level
