"""Pictures: what is drawn of a frame, with labels in local time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import matplotlib as mpl
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
    mpl.pyplot.close("all")


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


def test_the_line_is_broken_where_nothing_is_known_and_coverage_is_shown(lot: Store) -> None:
    start, end = RANGE
    ax = plot.line(analytics.hourly_averages("North Lot", start=start, end=end, url=lot.url), capacity=30)
    drawn = np.asarray(ax.lines[0].get_ydata(), dtype=float)
    assert np.isnan(drawn).sum() == 2  # after Tuesday, and at the end
    assert np.nanmax(drawn) == 23
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {  # type: ignore[union-attr]
        "average", "least to most", "coverage", "capacity",
    }  # fmt: skip
    assert ax.get_xlabel() == "Local time (America/New_York)"


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
    assert plot.heat_map(analytics.weekday_profile("North Lot", **never)).images  # type: ignore[arg-type]
    assert not plot.line(analytics.hourly_averages("North Lot", **never)).lines  # type: ignore[arg-type]
    assert plot.uptime_strip(analytics.states("North Lot", **never)).containers is not None  # type: ignore[arg-type]


def test_a_frame_of_several_cameras_is_refused_with_the_remedy(lot: Store) -> None:
    other = lot.cameras.add("South Lot", timezone="America/New_York")
    lot.record([OccupancyEvent(other.id, START, 3)])
    frame = analytics.hourly_averages(start=RANGE[0], end=RANGE[1], url=lot.url)
    with pytest.raises(InvalidInputError, match="draw one: "):
        plot.line(frame)
