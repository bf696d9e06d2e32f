"""What is to be expected once more, bucket by bucket in plain Python: what the answers are compared with.

It knows the averages of buckets (by `brute_force`), nothing of arrays, sums kept from one moment to the next or SQL.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import fmean
from typing import NamedTuple
from zoneinfo import ZoneInfo

WEEK = timedelta(days=7)


class Bucket(NamedTuple):
    """A bucket of one camera: where it begins, its average where it is known, and how much of it is."""

    at: datetime
    average: float | None
    coverage: float


@dataclass
class History:
    """The buckets of one camera, in order, and what was typical of each by those before it."""

    buckets: list[Bucket]
    zone: ZoneInfo
    width: timedelta
    holidays: Container[date] = ()

    def __post_init__(self) -> None:
        self.labels = [self.label(bucket.at) for bucket in self.buckets]
        self.deviations = [self.deviation(place) for place in range(len(self.buckets))]

    def label(self, at: datetime) -> tuple[object, ...]:
        local = at.astimezone(self.zone)
        return ("holiday" if local.date() in self.holidays else local.weekday(), local.hour, local.minute)

    def typical(self, place: int, origin: int) -> float | None:
        """The mean of the buckets of the same kind before the origin, where one of two weeks ago weighs half."""
        cars = weights = 0.0
        for label, bucket in zip(self.labels[:origin], self.buckets, strict=False):
            if label == self.labels[place] and bucket.average is not None:
                age = (self.buckets[origin - 1].at - bucket.at) / WEEK
                weights += bucket.coverage * 0.5 ** (age / 2)
                cars += bucket.average * bucket.coverage * 0.5 ** (age / 2)
        return cars / weights if weights else None

    def deviation(self, place: int) -> float | None:
        bucket, usual = self.buckets[place], self.typical(place, place)
        if bucket.average is None or usual is None or bucket.coverage < 0.5:
            return None
        return bucket.average - usual

    def expected(self, place: int, origin: int, share: float) -> tuple[float | None, float | None, float | None]:
        """What is expected of one bucket, and the bounds."""
        usual = self.typical(place, origin)
        last = max((i for i in range(origin) if self.deviations[i] is not None), default=None)
        distance = place - (origin - 1 if last is None else last)
        far = distance > WEEK / self.width
        pairs = [
            (earlier, later)
            for earlier, later in zip(self.deviations, self.deviations[0 if far else distance : origin], strict=False)
            if earlier is not None and later is not None
        ]
        if usual is None or len(pairs) < 20:
            return usual if usual is None else max(usual, 0), None, None
        products, squares = sum(x * y for x, y in pairs), sum(x * x for x, _ in pairs)
        left = 0 if far or not squares else min(max(products / squares, 0), 1)
        errors = sorted(later - left * earlier for earlier, later in pairs)
        middle = usual + left * (0 if last is None else self.deviations[last] or 0)
        low, high = (quantile(errors, part) for part in ((1 - share) / 2, (1 + share) / 2))
        return max(middle, 0), max(middle + min(low, 0), 0), max(middle + max(high, 0), 0)

    def naive(self, place: int, origin: int) -> tuple[float | None, float | None, float | None]:
        """Last week's average, the mean, and the last one."""
        week = round(WEEK / self.width)
        before = next(i for i in range(place - week, -week, -week) if i < origin)
        known = [bucket for bucket in self.buckets[:origin] if bucket.average is not None]
        cars = sum(bucket.average * bucket.coverage for bucket in known if bucket.average is not None)
        return (
            self.buckets[before].average if before >= 0 else None,
            cars / sum(bucket.coverage for bucket in known) if known else None,
            known[-1].average if known else None,
        )

    def errors(self, horizon: int, every: int, share: float) -> tuple[int, list[float]]:
        """How many forecasts, their mean absolute errors, and the share inside the interval."""
        first = next(i for i, bucket in enumerate(self.buckets) if bucket.coverage >= 0.5)
        rows = []
        for origin in range(first + 2 * round(WEEK / self.width), len(self.buckets) - horizon + 1, every):
            place = origin + horizon - 1
            middle, low, high = self.expected(place, origin, share)
            seen, forecasts = self.buckets[place], [middle, *self.naive(place, origin)]
            if seen.average is None or seen.coverage < 0.5 or low is None or high is None or None in forecasts:
                continue
            inside = low - 1e-9 <= seen.average <= high + 1e-9
            rows.append([*(abs(f - seen.average) for f in forecasts if f is not None), float(inside)])
        return len(rows), [fmean(column) for column in zip(*rows, strict=True)]


def quantile(ordered: list[float], part: float) -> float:
    """Between neighbours in a straight line."""
    place = part * (len(ordered) - 1)
    before = int(place)
    after = min(before + 1, len(ordered) - 1)
    return ordered[before] + (ordered[after] - ordered[before]) * (place - before)
