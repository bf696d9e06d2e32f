"""How far expectations were from what was then seen, beside forecasts that know less."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd

from analytics.arrow_client import fetch
from analytics.docstrings import documented
from analytics.expectation import WEEKS
from analytics.frames import attributes, computed
from analytics.history import WIDTHS, Width, averages_of, by_camera, check
from analytics.ranges import EPOCH, Moment
from analytics.request import CameraInfo, Cameras, Request, ZoneSelection, by_zone
from analytics.typical_week import SOLID, Array, Seen, TypicalWeek
from timeseries import InvalidInputError

HORIZONS = (timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=7))
EVERY = timedelta(hours=5)  # so that the origins come to every hour of the day
WEEK = timedelta(weeks=1)
ERRORS = ("mae", "mae_last_week", "mae_mean", "mae_unchanged", "inside")
BACKTEST = ("camera", "camera_id", "horizon", "forecasts", *ERRORS)
ROUNDING = 1e-9  # of averages, in cars


@documented(
    BACKTEST,
    start="where the history begins (inclusive), given like `end`. By default 26 weeks before the end.",
    end="where it ends (exclusive): an aware datetime, an ISO 8601 text with an offset, or a date (the midnight at the"
    " lot). By default now.",
)
def backtest(
    cameras: Cameras = None,
    *,
    start: Moment = None,
    end: Moment = None,
    width: Width = "hour",
    horizons: Sequence[timedelta] = HORIZONS,
    every: timedelta = EVERY,
    share: float = 0.9,
    holidays: Container[date] = (),
    timezone: str | None = None,
    url: str | None = None,
) -> pd.DataFrame:
    """The errors of `expected` on each camera's own history, beside those of naive forecasts.

    At one moment after another (the origins, from two weeks after the first observation on) a bucket is forecast by
    what was observed before, and compared with what was then seen. Late events count as if they had come in time. All
    forecasts are compared on the same buckets: at least half of each is known, and each forecast has a number for it.

    Args:
        width: "hour", or "quarter" for quarters of an hour.
        horizons: how long after the origin the forecast bucket ends, multiples of the width.
        every: how long from one origin to the next, a multiple of the width.
        share: how much of what is seen is to lie in the interval, more than 0 and less than 1.
        holidays: dates that are a kind of day of their own, as in `expected`.

    Returns:
        A row per camera and horizon. `forecasts` is their number; the others are NaN where it is 0. Mean absolute
        errors, in cars: `mae` of what was expected, `mae_last_week` of the average a week before the bucket (or the
        least number of weeks, so that it was known), `mae_mean` of the mean of all that was known, `mae_unchanged` of
        the last average that was known. `inside` is the share of the averages that lay in the interval.
    """
    check(width, share, holidays)
    step = WIDTHS[width]
    for name, span in [*(("horizon", horizon) for horizon in horizons), ("every", every)]:
        if span < step or span % step:
            raise InvalidInputError(f"{name} {span}: give a multiple of {step}, the width of a bucket")
    cameras_seen: list[CameraInfo] = []
    rows: list[Array] = []
    request = Request(cameras, start, end, timezone, url)
    asked = [with_range(selection) for selection in by_zone(request, partial(fetch, url=url))]
    for selection, first, last in asked:
        averages = averages_of([selection], width, first, last, selection.timezone, url)
        for camera, _, seen in by_camera(averages, selection, width, holidays):
            cameras_seen.append(camera)
            steps = np.array([horizon // step for horizon in horizons], int)
            rows.append(errors_of(TypicalWeek(seen), steps, every // step, share))
    values = np.concatenate([np.zeros((0, len(ERRORS) + 1)), *rows])
    columns = {"horizon": np.tile(np.array(horizons, "timedelta64[us]"), len(cameras_seen))}
    columns |= dict(zip(("forecasts", *ERRORS), values.T, strict=True))
    columns["forecasts"] = columns["forecasts"].astype(int)
    attrs = attributes([selection for selection, *_ in asked], "cars") | {"width": width, "share": share}
    return computed([camera for camera in cameras_seen for _ in horizons], columns, attrs)


def with_range(selection: ZoneSelection) -> tuple[ZoneSelection, datetime, datetime]:
    end = selection.end or datetime.now(UTC)
    start = max(selection.start or end - WEEKS * WEEK, EPOCH)
    return replace(selection, start=start, end=end), start, end


def errors_of(week: TypicalWeek, steps: Array, every: int, share: float) -> Array:
    """A row per horizon: how many forecasts, the mean absolute errors, and the share inside the interval."""
    seen = week.seen
    solid = np.flatnonzero(seen.known >= SOLID)
    first = (solid[0] if len(solid) else len(seen.at)) + 2 * WEEK // seen.width
    origins = np.arange(first, len(seen.at), every)
    found = [errors_at(week, int(origin), steps, share) for origin in origins]
    of_horizons = np.stack(found, axis=1) if found else np.full((len(steps), 0, len(ERRORS)), np.nan)
    return np.array([totals(errors) for errors in of_horizons]).reshape(-1, len(ERRORS) + 1)


def totals(errors: Array) -> list[float]:
    compared = errors[~np.isnan(errors).any(axis=1)]
    return [len(compared), *(compared.mean(axis=0) if len(compared) else np.full(len(ERRORS), np.nan))]


def errors_at(week: TypicalWeek, origin: int, steps: Array, share: float) -> Array:
    """A row per horizon of one origin: absolute errors, and whether the average lay inside; NaN where it is unknown."""
    seen = week.seen
    targets = origin + steps - 1
    there = targets < len(seen.at)
    result = np.full((len(steps), len(ERRORS)), np.nan)
    targets, steps = targets[there], steps[there]
    cars = np.where(seen.known[targets] >= SOLID, seen.cars[targets], np.nan)
    expected, lower, upper = week.expected(origin, targets, share)
    forecasts = [expected, *naive(seen, origin, targets)]
    inside = np.where(np.isnan(cars + lower), np.nan, (lower - ROUNDING <= cars) & (cars <= upper + ROUNDING))
    result[there] = np.column_stack([*(np.abs(forecast - cars) for forecast in forecasts), inside])
    return result


def naive(seen: Seen, origin: int, targets: Array) -> Iterator[Array]:
    """Last week's average, the mean of all, and the last known average, of what comes before the origin."""
    week = WEEK // seen.width
    before = targets - week * ((targets - origin) // week + 1)
    yield np.where(before >= 0, seen.cars[before], np.nan)
    cars, known = seen.cars[:origin], seen.known[:origin]
    there = known > 0
    yield np.full(len(targets), cars[there] @ known[there] / known[there].sum() if there.any() else np.nan)
    yield np.full(len(targets), cars[there][-1] if there.any() else np.nan)
