"""The typical week of a camera, and what is to be expected by it: arithmetic on arrays that knows no database.

A cell is a kind of day (a weekday, or a holiday) and a time of day. The typical average of a cell is the mean of its
buckets, each weighed by the share of it that is known and by its age. The deviation of a bucket is its average less
what was typical of its cell before it: so it holds nothing that was not known then. How much of a deviation is left
some buckets later, and how far averages lie from what was then expected, is measured by the deviations themselves.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

Array = np.ndarray[Any, np.dtype[Any]]

HALF_LIFE = timedelta(weeks=2)  # after which a bucket weighs half
REACH = timedelta(weeks=1)  # after which nothing is left of a deviation
SOLID = 0.5  # the share of a bucket that must be known for its deviation to count
FEWEST = 20  # pairs of deviations by which a decay is measured
HOLIDAY = 8  # a kind of day, beside the ISO weekdays
MICROSECOND = timedelta(microseconds=1)
QUARTERS_A_DAY = 96


@dataclass(frozen=True, slots=True)
class Seen:
    """The buckets of one camera in order, none left out: where each begins (microseconds), its average (NaN where it is
    unknown), the share of it that is known, and its cell.
    """

    at: Array
    cars: Array
    known: Array
    cells: Array
    width: timedelta


class Decay(NamedTuple):
    """What is left of a deviation at some distance, and between which errors the share asked for lay."""

    left: float
    low: float
    high: float


class Expectation(NamedTuple):
    """Cars, NaN where nothing is known of a cell; the bounds also where too little is known to measure errors."""

    expected: Array
    lower: Array
    upper: Array


def cells_of(walls: pd.DatetimeIndex, holidays: Container[date]) -> Array:
    """The cell of each bucket, by the wall time at which it begins."""
    days = walls.normalize()
    free = [day for day in days.unique() if day.date() in holidays]
    kinds = np.where(days.isin(free), HOLIDAY, walls.day_of_week + 1)
    cells: Array = kinds * QUARTERS_A_DAY + (walls.hour * 60 + walls.minute).to_numpy() // 15
    return cells


class TypicalWeek:
    """What was typical at any moment. Moments are positions: a row is known at an origin if it comes before it."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        self._sums = cumulated(seen)
        rows = np.arange(len(seen.at))
        self.deviations = np.where(seen.known >= SOLID, seen.cars - self.typical(rows, rows), np.nan)

    def typical(self, targets: Array, origins: Array) -> Array:
        """The typical averages of the cells of these rows, each from the rows of its cell before its origin."""
        result = np.full(len(targets), np.nan)
        asked = self.seen.cells[targets]
        for cell in np.unique(asked):
            rows, cars, known = self._sums[int(cell)]
            chosen = asked == cell
            number = np.searchsorted(rows, origins[chosen])
            result[chosen] = np.divide(cars[number], known[number], where=known[number] > 0, out=result[chosen])
        return result

    def decay(self, origin: int, distance: int, share: float) -> Decay:
        """Measured by all pairs of deviations at this distance before the origin: by least squares, 0 to 1."""
        reached = distance <= REACH // self.seen.width
        apart = distance if reached else 0
        earlier, later = self.deviations[: max(origin - apart, 0)], self.deviations[apart:origin]
        both = ~(np.isnan(earlier) | np.isnan(later))
        earlier, later = earlier[both], later[both]
        if len(later) < FEWEST:
            return Decay(0.0, np.nan, np.nan)
        left = 0.0
        if reached and earlier.any():
            left = min(max(float(earlier @ later / (earlier @ earlier)), 0.0), 1.0)
        low, high = np.quantile(later - left * earlier, [(1 - share) / 2, (1 + share) / 2])
        return Decay(left, min(low, 0.0), max(high, 0.0))

    def expected(self, origin: int, targets: Array, share: float) -> Expectation:
        """What is expected at the origin of these rows: the typical average, shifted by what is left of the last
        deviation. At least 0.
        """
        known = np.flatnonzero(~np.isnan(self.deviations[:origin]))
        last = int(known[-1]) if len(known) else origin - 1
        deviation = self.deviations[last] if len(known) else 0.0
        distances = np.maximum(targets - last, 1)
        decays = {int(distance): self.decay(origin, int(distance), share) for distance in np.unique(distances)}
        left, low, high = np.array([decays[int(distance)] for distance in distances]).reshape(-1, 3).T
        middle = self.typical(targets, np.full(len(targets), origin)) + left * deviation
        return Expectation(*np.maximum((middle, middle + low, middle + high), 0))


def cumulated(seen: Seen) -> dict[int, tuple[Array, Array, Array]]:
    """Of each cell its rows, and the weighed cars and weights of its first 0, 1, 2 … rows.

    A weight is a power of two by time alone, because the origin only scales all weights of a cell alike.
    """
    if not len(seen.at):
        return {}
    is_known = seen.known > 0
    ages = (seen.at - seen.at[-1]) / (HALF_LIFE // MICROSECOND)
    weights = np.where(is_known, seen.known * np.exp2(ages), 0)
    cars = np.where(is_known, seen.cars, 0) * weights
    order = np.argsort(seen.cells, kind="stable")
    begins = np.flatnonzero(np.diff(seen.cells[order])) + 1
    return {
        int(seen.cells[rows[0]]): (rows, running(cars[rows]), running(weights[rows]))
        for rows in np.split(order, begins)
    }


def running(values: Array) -> Array:
    return np.append(0, np.cumsum(values))
