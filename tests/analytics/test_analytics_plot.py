"""Pictures: what is drawn of a frame, with labels in local time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pytest

import analytics
from analytics import plot
from timeseries import HealthLog, InvalidInputError, OccupancyEvent, Store

mpl.use("Agg")
START = datetime(2026, 8, 3, 4, tzinfo=UTC)  # Monday, midnight in New York
RANGE = (START, START + timedelta(days=7))


@pytest.fixture
def lot(store: Store) -> Iterator[Store]:
    """A week of North Lot, one event an hour but none on Wednesday; disconnected for a day, unknown for another."""
    lot = store.cameras.add("North Lot", timezone="America/New_York", hold=timedelta(hours=1))
    hours = [i for i in range(7 * 24) if i // 24 != 2]
    store.record([OccupancyEvent(lot.id, START + timedelta(hours=i), i % 24) for i in hours])
    store.record([HealthLog(lot.id, START + timedelta(minutes=30 * i), "healthy") for i in range(48)])
    store.record([HealthLog(lot.id, START + timedelta(days=2, minutes=30 * i), "disconnected") for i in range(48)])
    yield store
    plt.close("all")


def test_the_heat_map_has_a_cell_for_each_weekday_and_hour(lot: Store) -> None:
    start, end = RANGE
    hours = analytics.hourly_averages("North Lot", start=start, end=end, url=lot.url)
    profile = analytics.weekday_profile("North Lot", start=start, end=end, url=lot.url)
    for frame in (hours, profile):
        ax = plot.heat_map(frame, capacity=30)
        cells = ax.images[0].get_array()
        assert cells is not None
        assert cells.shape == (7, 24)
        assert cells[1].tolist() == pytest.approx(list(range(24)))
        assert np.ma.getmaskarray(cells)[2].all()
        assert [label.get_text() for label in ax.get_yticklabels()][:2] == ["Monday", "Tuesday"]
        assert ax.get_xlabel() == "Local time (America/New_York)"
        assert ax.get_title().startswith("North Lot")


def test_hours_weigh_in_the_heat_map_what_is_known_of_them_in_the_range(lot: Store) -> None:
    """A range from 0:45 knows fifteen minutes of an hour on the first Monday, and sixty on the second."""
    camera = lot.cameras.add("West Lot", timezone="America/New_York", hold=timedelta(days=10))
    week = timedelta(days=7)
    lot.record([OccupancyEvent(camera.id, START, 80), OccupancyEvent(camera.id, START + week, 5)])
    asked: Any = {"start": START + timedelta(minutes=45), "end": START + week + timedelta(hours=1), "url": lot.url}
    wanted = plot.heat_map(analytics.weekday_profile("West Lot", **asked)).images[0].get_array()
    assert wanted is not None
    assert wanted[0, 0] == pytest.approx((80 * 15 + 5 * 60) / 75)
    for ask in (analytics.hourly_averages, analytics.quarter_hourly_averages):
        cells = plot.heat_map(ask("West Lot", **asked)).images[0].get_array()
        assert cells is not None
        assert np.asarray(cells) == pytest.approx(np.asarray(wanted), rel=1e-9)


def test_hours_that_a_change_of_offset_makes_shorter_weigh_less(lot: Store) -> None:
    """In Lord Howe 1:30 comes twice on 5 April 2026, and 2:00 is half an hour late on 4 October."""
    camera = lot.cameras.add("Far Lot", timezone="Australia/Lord_Howe", hold=timedelta(days=400))
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    chance = np.random.default_rng(3)
    lot.record([
        OccupancyEvent(camera.id, begin + timedelta(minutes=57 * i), int(chance.integers(0, 99)))
        for i in range(300 * 24)
    ])  # fmt: skip
    asked: Any = {
        "start": begin + timedelta(minutes=15),
        "end": begin + timedelta(days=299, minutes=30),
        "url": lot.url,
    }
    wanted = plot.heat_map(analytics.weekday_profile("Far Lot", **asked)).images[0].get_array()
    cells = plot.heat_map(analytics.hourly_averages("Far Lot", **asked)).images[0].get_array()
    assert wanted is not None
    assert cells is not None
    assert np.asarray(cells) == pytest.approx(np.asarray(wanted), rel=1e-9)


def test_hours_of_a_calendar_are_drawn_as_the_profile_is(lot: Store) -> None:
    asked: Any = {"start": RANGE[0], "end": RANGE[1], "hours": ("07:00", "19:00"), "weekdays": "monday", "url": lot.url}
    hours, profile = (
        plot.heat_map(ask("North Lot", **asked)).images[0].get_array()
        for ask in (analytics.hourly_averages, analytics.weekday_profile)
    )
    assert hours is not None
    assert profile is not None
    assert hours.tolist() == profile.tolist()
    assert (~np.ma.getmaskarray(hours)).sum() == 12


def test_hours_that_cannot_be_drawn_as_a_week_are_refused_with_the_remedy(lot: Store) -> None:
    other = lot.cameras.add("South Lot", timezone="Asia/Kolkata")
    lot.record([OccupancyEvent(other.id, START, 3)])
    start, end = RANGE
    hours = analytics.hourly_averages(start=start, end=end, url=lot.url)
    cut = analytics.hourly_averages("North Lot", start=RANGE[0], end=RANGE[1], hours=("07:15", "19:00"), url=lot.url)
    with pytest.raises(InvalidInputError, match="07:15 to 19:00, cut whole ones"):
        plot.heat_map(cut)
    with pytest.raises(InvalidInputError, match="several, so its hours are those of UTC; ask for 'South Lot' alone"):
        plot.heat_map(hours[hours["camera"] == "South Lot"])
    for open_range in ({"start": start}, {"end": end}):
        frame = analytics.hourly_averages("North Lot", url=lot.url, **open_range)  # type: ignore[call-overload]
        with pytest.raises(InvalidInputError, match="ask with a start and an end, or draw weekday_profile"):
            plot.heat_map(frame)
    for ask in (analytics.daily_averages, analytics.weekday_averages):
        with pytest.raises(InvalidInputError, match="weekday_profile or of hourly_averages"):
            plot.heat_map(ask("North Lot", start=start, end=end, url=lot.url))
    profile = analytics.weekday_profile(start=start, end=end, url=lot.url)
    assert plot.heat_map(profile[profile["camera"] == "South Lot"]).get_xlabel() == "Local time"


def test_pictures_of_far_ranges_can_be_drawn(lot: Store, tmp_path: Path) -> None:
    states = analytics.states("North Lot", start=START, end="2100-01-01", url=lot.url)
    plot.save(plot.uptime_strip(states), tmp_path / "strip.png")


def test_the_line_is_broken_where_nothing_is_known_and_coverage_is_shown(lot: Store) -> None:
    start, end = RANGE
    ax = plot.line(analytics.hourly_averages("North Lot", start=start, end=end, url=lot.url), capacity=30)
    drawn = np.asarray(ax.lines[0].get_ydata(), dtype=float)
    assert np.isnan(drawn).sum() == 2  # after Tuesday, and at the end
    assert np.nanmax(drawn) == 23
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {
        "average", "least to most", "coverage", "capacity",
    }  # fmt: skip
    assert ax.get_xlabel() == "Local time (America/New_York)"


def test_what_a_period_left_out_is_hatched_for_the_camera_and_for_its_group(lot: Store) -> None:
    start, end = RANGE
    lot.cameras.add("South Lot", timezone="America/New_York")
    lot.groups.add("Lots", ["North Lot"])
    lot.periods.add("North Lot", start - timedelta(days=1), start + timedelta(days=1), "wrong")
    lot.periods.add("North Lot", start + timedelta(days=5), None, "closed")
    lot.periods.add("South Lot", start + timedelta(days=3), None, "closed")
    asked: Any = {"start": start, "end": end, "url": lot.url}
    both = analytics.hourly_averages(["North Lot", "South Lot"], **asked)
    for frame in (both[both["camera"] == "North Lot"], analytics.hourly_averages("Lots", **asked)):
        ax = plot.line(frame)
        patches: list[Any] = [patch for patch in ax.patches if patch.get_hatch()]
        hatched = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in patches]
        edges = [matplotlib.dates.date2num(start + timedelta(days=days)) for days in (0, 1, 5, 7)]
        assert hatched == [pytest.approx(edges[:2]), pytest.approx(edges[2:])]
        assert "left out" in {text.get_text() for text in ax.get_legend().get_texts()}


def test_time_above_a_level_is_drawn_before_the_time_that_is_known(lot: Store) -> None:
    start, end = RANGE
    asked: Any = {"level": 20, "start": start, "end": end, "url": lot.url}
    ax = plot.above(analytics.time_above("North Lot", by="weekday", **asked))
    known, above = ([patch.get_height() for patch in bars] for bars in ax.containers)
    assert known == pytest.approx([24] * 6)
    assert above == pytest.approx([4] * 6)
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == ["Monday", "Tuesday", "Thursday"]
    assert ax.get_title("left") == "North Lot: 20 cars or more"
    days = plot.above(frame := analytics.time_above("North Lot", **asked))
    frame["level"] = [25, *frame["level"][1:]]  # as where the capacity of a share changes
    assert plot.above(frame).get_title("left") == "North Lot: 20 to 25 cars or more"
    assert days.get_xticklabels()[0].get_text() == "2026-08-03"
    total = plot.above(analytics.time_above("North Lot", by="total", **asked))
    assert [label.get_text() for label in total.get_xticklabels()] == ["total"]
    none = plot.above(analytics.time_above("North Lot", share=0.5, start="2001-01-01", end="2001-01-08", url=lot.url))
    assert none.get_title("left").startswith("No observation")


def test_time_above_that_is_only_bounded_is_drawn_with_both_bounds(lot: Store) -> None:
    frame = analytics.time_above("North Lot", level=20, start=RANGE[0], end=RANGE[1], url=lot.url)
    frame["hours_at_most"] += 1
    known, most, least = plot.above(frame).containers
    assert [bars.get_label() for bars in (known, most, least)] == ["known", "at most", "at least"]
    assert most[0].get_height() == least[0].get_height() + 1


def test_the_strip_of_coverage_is_as_high_as_the_coverage(lot: Store) -> None:
    """The count of each hour stands for the hold of one hour; a last one comes at half past."""
    lot.record([OccupancyEvent(lot.cameras.get("North Lot").id, RANGE[1] + timedelta(minutes=30), 9)])
    frame = analytics.hourly_averages("North Lot", start=START, end=RANGE[1] + timedelta(hours=1), url=lot.url)
    ax = plot.line(frame)
    (strip,) = [drawn for drawn in ax.collections if drawn.get_label() == "coverage"]
    heights: dict[float, float] = {}
    for path in strip.get_paths():
        for x, y in path.vertices.tolist():
            heights[x] = max(heights.get(x, 0), y)
    assert strip.get_transform().transform((0, 1))[1] == pytest.approx(ax.transAxes.transform((0, 1))[1])
    assert max(heights.values()) == pytest.approx(0.04)
    last = matplotlib.dates.date2num(frame.index[-1] + timedelta(hours=1))
    assert frame["coverage"].iloc[-1] == 0.5
    assert heights[last] == pytest.approx(0.04 * 0.5)
    silent = matplotlib.dates.date2num(START + timedelta(days=2, hours=12))
    assert not any(silent - 0.2 < x < silent + 0.2 and y for x, y in heights.items())


def test_the_uptime_strip_leaves_white_what_nothing_is_known_of(lot: Store, tmp_path: Path) -> None:
    start, end = RANGE
    ax = plot.uptime_strip(analytics.states("North Lot", start=start, end=end, url=lot.url))
    widths = {bar.get_label(): [patch.get_width() for patch in bar.patches] for bar in ax.containers}  # type: ignore[attr-defined]
    day = 1 + 0.5 / 24  # the last log stands for the hold
    assert widths == {"healthy": pytest.approx([day]), "degraded": [], "disconnected": pytest.approx([day])}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["North Lot"]
    plot.save(ax, tmp_path / "strip.png")
    assert (tmp_path / "strip.png").read_bytes().startswith(b"\x89PNG")


def test_frames_without_rows_can_be_drawn(lot: Store) -> None:
    never = {"start": "2001-01-01", "end": "2001-01-08", "url": lot.url}
    assert plot.heat_map(analytics.weekday_profile("North Lot", **never)).images  # type: ignore[call-overload]
    assert not plot.line(analytics.hourly_averages("North Lot", **never)).lines  # type: ignore[call-overload]
    assert plot.uptime_strip(analytics.states("North Lot", **never)).containers is not None  # type: ignore[call-overload]


def test_a_frame_of_several_cameras_is_refused_with_the_remedy(lot: Store) -> None:
    other = lot.cameras.add("South Lot", timezone="America/New_York")
    lot.record([OccupancyEvent(other.id, START, 3)])
    frame = analytics.hourly_averages(start=RANGE[0], end=RANGE[1], url=lot.url)
    with pytest.raises(InvalidInputError, match="draw one: "):
        plot.line(frame)


def test_what_is_expected_is_drawn_beside_what_was_seen(store: Store) -> None:
    camera = store.cameras.add("North Lot", timezone="America/New_York", hold=timedelta(hours=1))
    store.record([OccupancyEvent(camera.id, START + timedelta(hours=i), i % 24) for i in range(25 * 24)])
    begin = START + timedelta(days=24)
    found = analytics.expected("North Lot", begin, begin + timedelta(days=2), url=store.url)
    ax = plot.expectation(found, capacity=30)
    expected, seen, level = ax.lines
    assert np.asarray(expected.get_ydata(), float)[:48] == pytest.approx([i % 24 for i in range(48)])
    drawn = np.asarray(seen.get_ydata(), float)
    assert drawn[:24] == pytest.approx(list(range(24)))
    assert np.isnan(drawn[24:]).all()
    assert np.asarray(level.get_ydata(), float).tolist() == [30, 30]
    assert ax.get_xlabel() == "Local time (America/New_York)"
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["90% interval", "expected", "seen", "capacity"]
    store.cameras.add("Other", timezone="America/New_York")
    both = analytics.expected(url=store.url)
    with pytest.raises(InvalidInputError, match="draw one"):
        plot.expectation(both)
    assert plot.expectation(analytics.expected([], url=store.url)).get_title("left").startswith("No observation")
