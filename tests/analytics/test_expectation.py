"""`expected` and `backtest` on every kind of server, against plain Python on raw events."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import analytics
from tests.support import brute_force
from tests.support.expectations import Bucket, History
from timeseries import Camera, InvalidInputError, OccupancyEvent, Store

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZONE = ZoneInfo("America/New_York")
START = datetime(2026, 9, 28, 4, tzinfo=UTC)  # Monday, midnight in New York
ORIGIN = datetime(2026, 11, 1, 4, tzinfo=UTC)  # the day on which 1:00 comes twice
END = ORIGIN + timedelta(days=3)
FREE = {date(2026, 10, 12), date(2026, 11, 2)}
WIDTHS = {"hour": HOUR, "quarter": brute_force.QUARTER}
Counts = dict[datetime, int]


def observed(seed: int) -> Counts:
    """A daily rhythm at irregular moments, with a gap of two days that the hold does not span."""
    chance = random.Random(seed)
    at, found = START, {}
    while (at := at + timedelta(seconds=1 + chance.expovariate(1 / 4000))) < END:
        if at.date() in (date(2026, 10, 20), date(2026, 10, 21)):
            continue
        hour = at.astimezone(ZONE).hour
        found[at.replace(microsecond=0)] = max(0, round(60 - 5 * abs(hour - 13) + chance.gauss(0, 6)))
    return found


@pytest.fixture
def lot(store: Store) -> tuple[Store, Camera, Counts]:
    camera = store.cameras.add("North Lot", timezone=ZONE.key, hold=timedelta(hours=5), capacity=80)
    counts = observed(1)
    store.record([OccupancyEvent(camera.id, at, count) for at, count in counts.items()])
    return store, camera, counts


def buckets(counts: Counts, start: datetime, end: datetime, width: str) -> list[Bucket]:
    label: Callable[..., Any] = brute_force.hour_label if width == "hour" else lambda quarter, _: quarter
    quarters = brute_force.quarters(start, end)
    labels = [label(quarter, ZONE) for quarter in quarters]
    known = brute_force.answer(counts, counts.values(), start=start, end=end, labels=labels, hold=timedelta(hours=5))
    first = dict(zip(reversed(labels), reversed(quarters), strict=True))
    return [Bucket(first[label], one.average, one.coverage) for label, one in known.items()]


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_expected_is_that_of_plain_python_across_a_change_of_offset(
    lot: tuple[Store, Camera, Counts], width: Any
) -> None:
    store, _, counts = lot
    hours = 30 if width == "hour" else 3
    found = analytics.expected(
        "North Lot", ORIGIN, ORIGIN + hours * HOUR, width=width, weeks=4, share=0.8, holidays=FREE, url=store.url
    )
    first = ORIGIN - timedelta(weeks=4)
    whole = buckets(counts, first, END, width)
    wanted = History(whole, ZONE, WIDTHS[width], FREE)
    origin = (ORIGIN - first) // WIDTHS[width]
    assert [at.to_pydatetime() for at in pd.DatetimeIndex(found.index).tz_convert("UTC")] == [
        b.at for b in whole[origin : origin + len(found)]
    ]
    assert len(found) == hours * HOUR // WIDTHS[width]
    for place, row in enumerate(found.itertuples(), origin):
        numbers = [np.nan if one is None else one for one in wanted.expected(place, origin, 0.8)]
        assert (row.expected, row.lower, row.upper) == pytest.approx(numbers, rel=1e-9, abs=1e-9, nan_ok=True)
        seen = np.nan if whole[place].average is None else whole[place].average
        assert (row.occupied_avg, row.coverage) == pytest.approx((seen, whole[place].coverage), rel=1e-9, nan_ok=True)
    assert found["expected"].notna().any()
    assert found["lower"].notna().any()


def test_a_backtest_has_the_errors_of_plain_python(lot: tuple[Store, Camera, Counts]) -> None:
    store, _, counts = lot
    asked: Any = {"start": START, "end": ORIGIN, "every": 25 * HOUR, "share": 0.8, "holidays": FREE}
    found = analytics.backtest("North Lot", horizons=[HOUR, DAY, 8 * DAY], **asked, url=store.url)
    wanted = History(buckets(counts, START, ORIGIN, "hour"), ZONE, HOUR, FREE)
    assert found["horizon"].tolist() == [HOUR, DAY, 8 * DAY]
    for hours, row in zip(
        (1, 24, 192), found.drop(columns=["camera", "camera_id", "horizon"]).itertuples(), strict=True
    ):
        number, errors = wanted.errors(hours, 25, 0.8)
        assert row.forecasts == number > 3
        assert row[2:] == pytest.approx(errors, rel=1e-9, abs=1e-9)


def test_what_comes_after_the_origin_changes_nothing(lot: tuple[Store, Camera, Counts]) -> None:
    store, camera, _ = lot

    def ask() -> pd.DataFrame:
        return analytics.expected("North Lot", ORIGIN + DAY, END, origin=ORIGIN, url=store.url)

    before = ask()
    store.record([OccupancyEvent(camera.id, ORIGIN + timedelta(minutes=7 * i, seconds=1), 79) for i in range(300)])
    after = ask()
    seen = ["occupied_avg", "coverage"]
    pd.testing.assert_frame_equal(after.drop(columns=seen), before.drop(columns=seen))
    assert not np.allclose(after["occupied_avg"], before["occupied_avg"])


def test_without_a_range_the_next_day_is_expected_with_what_is_seen_of_this_hour(store: Store) -> None:
    camera = store.cameras.add("Now", timezone="Asia/Kathmandu", hold=timedelta(hours=2))
    now = datetime.now(UTC)
    store.record([OccupancyEvent(camera.id, now - HOUR * i, 10) for i in range(24 * 25)])
    found = analytics.expected("Now", url=store.url)
    assert len(found) in (24, 25)
    assert found.index[0] <= now < found.index[1]
    assert str(pd.DatetimeIndex(found.index).tz) == "Asia/Kathmandu"
    assert found["expected"].tolist() == pytest.approx([10] * len(found))
    assert (found["upper"] - found["lower"]).tolist() == pytest.approx([0] * len(found), abs=1e-9)
    assert found["coverage"].iloc[0] > 0
    assert found["coverage"].iloc[2:].tolist() == [0] * (len(found) - 2)
    assert found.attrs["unit"] == "cars"


def test_lots_of_several_zones_each_have_their_own_day(lot: tuple[Store, Camera, Counts]) -> None:
    store, _, _ = lot
    camera = store.cameras.add("Kathmandu", timezone="Asia/Kathmandu", hold=timedelta(hours=5))
    store.record([OccupancyEvent(camera.id, START + HOUR * i, i % 50) for i in range(33 * 24)])
    store.cameras.add("Never")
    both = analytics.expected(start="2026-10-28", end="2026-10-29", url=store.url)
    assert both.groupby("camera", observed=False).size().to_dict() == {"Kathmandu": 24, "Never": 24, "North Lot": 24}
    assert both.attrs["timezone"] is None
    for name in ("Kathmandu", "North Lot"):
        alone = analytics.expected(name, "2026-10-28", "2026-10-29", url=store.url)
        part = both[both["camera"] == name]
        for column in ("expected", "lower", "upper", "occupied_avg"):
            assert part[column].tolist() == pytest.approx(alone[column].tolist(), rel=1e-9, abs=1e-9)
    assert both[both["camera"] == "Never"]["expected"].isna().all()
    errors = analytics.backtest(end="2026-10-29", url=store.url)
    assert errors["camera"].unique().tolist() == ["Kathmandu", "Never", "North Lot"]
    assert (errors["forecasts"] > 0).tolist() == [True] * 3 + [True] + [False] * 4 + [True] * 4


def test_frames_have_the_same_columns_and_types_without_rows(store: Store) -> None:
    store.cameras.add("Empty")
    found = analytics.expected([], url=store.url)
    assert found.dtypes.to_dict() == analytics.expected("Empty", url=store.url).dtypes.to_dict() | {
        "camera": found["camera"].dtype, "camera_id": found["camera_id"].dtype
    }  # fmt: skip
    none, empty = analytics.backtest([], url=store.url), analytics.backtest("Empty", url=store.url)
    assert none.dtypes.drop(["camera", "camera_id"]).to_dict() == empty.dtypes.drop(["camera", "camera_id"]).to_dict()
    assert empty["mae"].isna().all()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"width": "day"}, "width 'day'"),
        ({"share": 1.0}, "share 1.0"),
        ({"holidays": ["2026-12-25"]}, "'2026-12-25' is no datetime.date"),
        ({"holidays": "2026-12-25"}, "'2026-12-25' is no datetime.date"),
        ({"holidays": {datetime(2026, 12, 25, tzinfo=UTC)}}, "is no datetime.date"),
        ({"weeks": 0}, "weeks 0"),
        ({"start": "2026-10-02", "origin": "2026-10-03"}, "origin 2026-10-03"),
        ({"start": "1960-10-02"}, "begin in 1970"),
        ({"start": "2026-10-02", "end": "2036-10-02"}, "a year ahead"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(database: str, asked: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        analytics.expected([], **asked, url=database)


@pytest.mark.parametrize("asked", [{"horizons": [timedelta(minutes=90)]}, {"every": timedelta(0)}])
def test_a_horizon_that_is_no_multiple_of_the_width_is_refused(database: str, asked: Any) -> None:
    with pytest.raises(InvalidInputError, match="multiple of 1:00:00"):
        analytics.backtest([], **asked, url=database)
