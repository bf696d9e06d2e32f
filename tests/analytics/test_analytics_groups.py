"""Groups in answers: a name may be a camera's or a group's, and frames of cameras stay as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import psycopg
import pytest

import analytics
from analytics import aio, arrow_client
from tests.support.roles import make_role, reader
from timeseries import InvalidInputError, OccupancyEvent, Store, UnknownCameraError

__all__ = ["make_role", "reader"]

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START, END = TODAY - timedelta(days=9), TODAY - timedelta(days=2)
QUESTIONS: tuple[Any, ...] = (
    analytics.quarter_hourly_averages, analytics.hourly_averages, analytics.daily_averages, analytics.weekday_averages,
    analytics.weekday_profile, analytics.peaks,
)  # fmt: skip


@pytest.fixture
def lots(store: Store) -> Iterator[Store]:
    """Two gates with a count every half hour, 10 and 30, and North Lot, whose members they are."""
    for name, count in (("East Gate", 10), ("West Gate", 30)):
        camera = store.cameras.add(name, timezone="Europe/Berlin", capacity=count * 2)
        moments = [START - timedelta(days=1) + i * timedelta(minutes=30) for i in range(48 * 9)]
        store.record([OccupancyEvent(camera.id, at, count) for at in moments])
    store.groups.add("North Lot", ["East Gate", "West Gate"])
    yield store
    arrow_client.close(store.url)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.__name__)
def test_a_group_is_asked_for_by_its_name_its_id_and_itself(lots: Store, question: Any) -> None:
    group = lots.groups.get("North Lot")
    frames = [question(ask, start=START, end=END, url=lots.url) for ask in ("North Lot", group.id, [group])]
    for frame in frames:
        pd.testing.assert_frame_equal(frame, frames[0])
    (frame, *_) = frames
    assert {*frame["camera"]} == {"North Lot"}
    assert {*frame["camera_id"]} == {str(group.id)}
    assert frame["occupied_avg"].to_numpy() == pytest.approx(40)
    assert frame["occupied_share"].to_numpy() == pytest.approx(40 / 80)
    assert (frame["occupied_min"] == 40).all()
    assert (frame["occupied_max"] == 40).all()
    assert frame["extremes_exact"].all()
    assert frame["coverage"].to_numpy() == pytest.approx(1)
    assert frame.attrs["timezone"] == "Europe/Berlin"


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.__name__)
def test_frames_of_cameras_have_no_other_columns_than_before(lots: Store, question: Any) -> None:
    of_camera = question("East Gate", start=START, end=END, url=lots.url)
    assert "extremes_exact" not in of_camera.columns
    both = question(["East Gate", "North Lot"], start=START, end=END, url=lots.url)
    assert [*both.columns] == [*of_camera.columns, "extremes_exact"]
    assert both["camera"].unique().tolist() == ["East Gate", "North Lot"]
    assert both.dtypes.drop("extremes_exact").to_dict() == {
        name: dtype if name not in ("camera", "camera_id") else both[name].dtype
        for name, dtype in of_camera.dtypes.to_dict().items()
    }
    assert question(start=START, end=END, url=lots.url)["camera"].unique().tolist() == ["East Gate", "West Gate"]


def test_the_average_occupancy_of_north_lot_on_tuesdays(lots: Store) -> None:
    frame = analytics.weekday_averages("North Lot", weekdays="tuesday", url=lots.url)
    assert frame["weekday"].tolist() == [2]
    assert frame["occupied_avg"].tolist() == [pytest.approx(40)]


def test_extremes_are_bounds_unless_they_are_asked_for(lots: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analytics.query.EXACT_ROWS", 10)
    ask: Any = {"start": START, "end": END, "url": lots.url}
    assert not analytics.daily_averages("North Lot", **ask)["extremes_exact"].any()
    assert analytics.daily_averages("North Lot", exact_extremes=True, **ask)["extremes_exact"].all()


def test_a_group_without_a_zone_of_its_own_needs_one_in_the_question(lots: Store) -> None:
    lots.cameras.update("East Gate", timezone="Europe/Paris")
    with pytest.raises(InvalidInputError, match="timeseries group update 'North Lot' --timezone"):
        analytics.daily_averages("North Lot", start=START, end=END, url=lots.url)
    frame = analytics.daily_averages("North Lot", start=START, end=END, timezone="Europe/Berlin", url=lots.url)
    assert frame["occupied_avg"].to_numpy() == pytest.approx(40)


def test_answers_that_are_of_cameras_say_so(lots: Store) -> None:
    for question in (analytics.uptime, analytics.states, analytics.outages):
        with pytest.raises(InvalidInputError, match="'North Lot' is a group"):
            question("North Lot", url=lots.url)
    with pytest.raises(InvalidInputError, match="'North Lot' is a group"):
        next(analytics.events("North Lot", url=lots.url))
    with pytest.raises(InvalidInputError, match="'North Lot' is a group"):
        analytics.aggregate_rows("occupancy_hourly", "North Lot", url=lots.url)
    with pytest.raises(UnknownCameraError, match="did you mean 'North Lot'"):
        analytics.daily_averages("Nort Lot", url=lots.url)


def test_the_latest_sum_of_a_group_names_who_is_missing(lots: Store) -> None:
    now = datetime.now(UTC)
    for name, count in (("East Gate", 11), ("West Gate", 33)):
        lots.record([OccupancyEvent(lots.cameras.get(name).id, now - timedelta(minutes=count), count)])
    frame = analytics.latest(["North Lot", "East Gate"], url=lots.url).set_index("camera")
    assert frame["occupied_count"].to_dict() == {"East Gate": 11, "North Lot": 44}
    assert frame["occupied_share"]["North Lot"] == pytest.approx(44 / 80)
    assert frame["counted_at"]["North Lot"] == pd.Timestamp(now - timedelta(minutes=11))
    assert "extremes_exact" not in frame
    lots.cameras.update("West Gate", hold=timedelta(minutes=20))
    frame = analytics.latest("North Lot", url=lots.url)
    assert frame["occupied_count"].isna().all()
    assert frame["message"].tolist() == ["no count stands of West Gate"]


def test_a_group_is_compared_and_asked_by_asyncio(lots: Store) -> None:
    halves: Any = {"before": (START, START + timedelta(days=3)), "after": (START + timedelta(days=3), END)}
    compared = analytics.compare("North Lot", **halves, url=lots.url)
    assert compared["difference"].dropna().to_numpy() == pytest.approx(0)
    frame = asyncio.run(aio.daily_averages("North Lot", start=START, end=END, exact_extremes=True, url=lots.url))
    assert frame["occupied_avg"].to_numpy() == pytest.approx(40)


def test_a_frame_of_a_group_says_what_was_left_out_of_its_members_while_they_were(lots: Store, reader: str) -> None:
    quarter, hour = timedelta(minutes=15), timedelta(hours=1)
    joined, back = START + timedelta(days=1), START + timedelta(days=3)
    lots.groups.leave("North Lot", "West Gate", wholly=True)
    for since, until in ((joined, joined + hour), (back, back + 9 * hour)):
        lots.groups.join("North Lot", "West Gate", since=since, until=until)
    lots.groups.add("Gates", ["West Gate"])
    for start, end, kind, text in (
        (joined - hour, joined, "wrong", "before it joined"),
        (joined + hour - quarter, joined + 2 * hour, "wrong", "as it left"),
        (joined + hour, back, "wrong", "between"),
        (joined + quarter, back + quarter, "closed", "over both"),
        (back + hour, back + 2 * hour, "maintenance", "of health"),
        (END, None, "wrong", "after the range"),
    ):
        lots.periods.add("West Gate", start, end, kind, text)  # type: ignore[arg-type]
    lots.periods.add("East Gate", START - hour, START, "closed", "before the range")
    lots.periods.add("East Gate", START + hour, None, "closed", "for good")
    for url in (lots.url, reader):
        found = analytics.daily_averages("North Lot", start=START, end=END, url=url).attrs["left_out"]
        assert [(period["group"], period["camera"], period["text"]) for period in found] == [
            ("North Lot", "East Gate", "for good"), ("North Lot", "West Gate", "over both"),
            ("North Lot", "West Gate", "as it left"),
        ]  # fmt: skip
    assert found[1] == {
        "group": "North Lot", "camera": "West Gate", "kind": "closed", "text": "over both",
        "start": (joined + quarter).isoformat(), "end": (back + quarter).isoformat(),
    }  # fmt: skip
    both = analytics.weekday_averages(["Gates", "East Gate"], start=START, end=END, url=lots.url).attrs["left_out"]
    assert [period.get("group") for period in both] == [*["Gates"] * 4, None]
    unaffected = analytics.daily_averages("North Lot", start=START, end=START + hour, url=lots.url)
    assert "left_out" not in unaffected.attrs


def test_a_reader_asks_about_groups(lots: Store, reader: str) -> None:
    frame = analytics.weekday_averages("North Lot", start=START, end=END, exact_extremes=True, url=reader)
    assert frame["occupied_avg"].to_numpy() == pytest.approx(40)
    assert analytics.latest("North Lot", url=reader)["camera"].tolist() == ["North Lot"]
    with psycopg.connect(reader) as connection:
        for name in ("quarters", "hours", "days", "weekdays", "profile", "peaks", "latest"):
            assert connection.execute(f"SELECT * FROM group_{name}()").fetchall()
