"""Draw the pictures of README.md and of these pages, from sample data that it stores: python docs/pictures.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from matplotlib.axes import Axes
from PIL import Image

import analytics
from analytics import plot
from timeseries import Store
from timeseries.cli import main

HERE = Path(__file__).parent
END = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
WEEK = {"start": END - timedelta(days=7), "end": END}


def draw() -> None:
    main(["demo", "--plot", str(HERE / "occupancy-heatmap.png")], standalone_mode=False)
    with Store.open() as store:
        lots = [camera.name for camera in store.cameras.list()]
        store.groups.add("All Lots", lots, timezone="Europe/Berlin")
        fallen = WEEK["start"] + timedelta(days=2, hours=8)
        store.periods.add("North Lot", fallen, fallen + timedelta(hours=30), "wrong", "knocked over by a van")
    save(plot.line(analytics.hourly_averages("All Lots", **WEEK)), "group.png")
    save(plot.line(analytics.hourly_averages("North Lot", **WEEK), capacity=180), "left-out.png")
    days = analytics.expected("Harbour Garage", END - timedelta(days=2), END)
    save(plot.expectation(days, capacity=420), "expected.png")
    above = analytics.time_above("Harbour Garage", share=0.5, by="weekday", start=END - timedelta(days=56), end=END)
    save(plot.above(above), "time-above.png")


def save(ax: Axes, name: str) -> None:
    """Of few colours, because a repository keeps every version of a picture."""
    plot.save(ax, HERE / name)
    with Image.open(HERE / name) as picture:
        few = picture.convert("RGB").quantize(64)
    few.save(HERE / name, optimize=True)


if __name__ == "__main__":
    draw()
