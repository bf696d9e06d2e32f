"""The commands that answer questions: `timeseries weekday`, `expected`, `backtest` and `demo`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import click
import pandas as pd

from analytics.expectation import expected as expected_
from analytics.forecast_errors import backtest as backtest_
from analytics.request import NAMES
from analytics.weekdays import weekday_averages, weekday_profile
from timeseries import CameraExistsError, Store
from timeseries.cli.output import print_json, print_table, progress_bar
from timeseries.sample_data import LOTS, events

SAMPLE_DAYS = 120


@click.command()
@click.argument("name")
@click.option("--weekday", "weekdays", multiple=True, help="A weekday, like tuesday; may be repeated.")
@click.option(
    "--hours", help="The local time of day that counts, like 07:00-19:00, or opening: the opening hours of the lot."
)
@click.option("--date", "dates", multiple=True, help="A local date that counts, like 2026-12-25; may be repeated.")
@click.option("--without", multiple=True, help="A local date that does not count; may be repeated.")
@click.option("--start", help="ISO 8601; a date is the midnight at the lot.")
@click.option("--end", help="ISO 8601; a date is the midnight at the lot.")
@click.option("--timezone", help="Instead of the lot's own.")
@click.option("--plot", type=click.Path(path_type=Path), help="Save a weekday-by-hour heat map as PNG.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def weekday(
    url: str | None,
    name: str,
    weekdays: tuple[str, ...],
    hours: str | None,
    dates: tuple[str, ...],
    without: tuple[str, ...],
    start: str | None,
    end: str | None,
    timezone: str | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Average occupancy of the lot NAME by weekday, weighed by time."""
    asked: dict[str, Any] = {
        "start": start, "end": end, "timezone": timezone, "weekdays": weekdays or None, "dates": dates or None,
        "without": without or None,
    }  # fmt: skip
    if hours is not None:
        asked["hours"] = hours if hours == "opening" else tuple(hours.split("-"))
    with Store.open(url) as store:
        frame = weekday_averages(name, url=store.url, **asked)
        if plot is not None:
            save_heat_map(name, plot, store, **asked)
    print_json(records(frame)) if as_json else print_weekdays(frame)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A dictionary a row, with None for what is missing."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")  # type: ignore[return-value]


def print_weekdays(frame: pd.DataFrame) -> None:
    print_table(
        ["camera", "weekday", "average", "least", "most", "samples", "coverage"],
        [
            [row.camera, NAMES[row.weekday - 1].capitalize(), row.occupied_avg, row.occupied_min, row.occupied_max,
             row.samples, f"{row.coverage:.1%}"]
            for row in cast(Any, frame.itertuples())
        ],
        title=f"Average number of cars, weighed by time ({frame.attrs['timezone'] or 'local time'})",
    )  # fmt: skip


def pictures() -> Any:
    try:
        from analytics import plot
    except ImportError as error:
        raise click.ClickException("a picture needs matplotlib: pip install 'occupancy-timeseries[plot]'") from error
    return plot


def save_heat_map(name: str, path: Path, store: Store, **asked: Any) -> None:
    plot = pictures()
    week = weekday_profile(name, url=store.url, **asked)
    plot.save(plot.heat_map(week), path)
    click.echo(f"The weekday-by-hour heat map is in {path}", err=True)


def asks_expected(command: Any) -> Any:
    """The options that `expected` and `backtest` have in common."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="For programs."),
        click.option("--holiday", "holidays", multiple=True, type=click.DateTime(["%Y-%m-%d"]),
                     help="A date that counts as a holiday; may be repeated."),
        click.option("--share", default=0.9, show_default=True, help="How much is to lie in the interval."),
        click.option("--width", type=click.Choice(["hour", "quarter"]), default="hour", show_default=True),
        click.option("--end", help="ISO 8601; a date is the midnight at the lot."),
        click.option("--start", help="ISO 8601; a date is the midnight at the lot."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("name")
@asks_expected
@click.option("--plot", type=click.Path(path_type=Path), help="Save what is expected and what was seen as PNG.")
@click.pass_obj
def expected(
    url: str | None, /, name: str, holidays: tuple[datetime, ...], plot: Path | None, as_json: bool, **asked: Any
) -> None:
    """What is to be expected of the lot NAME, by default for the next day."""
    with Store.open(url) as store:
        frame = expected_(name, **asked, holidays={day.date() for day in holidays}, url=store.url)
    if plot is not None:
        drawing = pictures()
        drawing.save(drawing.expectation(frame), plot)
        click.echo(f"What is expected and what was seen is in {plot}", err=True)
    print_json(records(frame.reset_index())) if as_json else print_expected(frame)


def print_expected(frame: pd.DataFrame) -> None:
    rows = cast(Any, frame.itertuples())
    print_table(
        ["local time", "expected", "at least", "at most", "seen", "coverage"],
        [
            [f"{row.Index:%a %Y-%m-%d %H:%M}", row.expected, row.lower, row.upper, row.occupied_avg,
             f"{row.coverage:.1%}"]
            for row in rows
        ],
        title=f"Average number of cars ({frame.attrs['timezone']}); {frame.attrs['share']:.0%} are to lie within",
    )  # fmt: skip


@click.command()
@click.argument("name")
@asks_expected
@click.pass_obj
def backtest(url: str | None, /, name: str, holidays: tuple[datetime, ...], as_json: bool, **asked: Any) -> None:
    """Errors of what was expected of the lot NAME, beside those of naive forecasts."""
    with Store.open(url) as store:
        frame = backtest_(name, **asked, holidays={day.date() for day in holidays}, url=store.url)
    if as_json:
        print_json(records(frame))
        return
    print_table(
        ["ahead", "forecasts", "expected", "last week", "mean", "unchanged", "in the interval"],
        [
            [str(row.horizon), row.forecasts, row.mae, row.mae_last_week, row.mae_mean, row.mae_unchanged,
             f"{row.inside:.1%}" if row.forecasts else None]
            for row in cast(Any, frame.itertuples())
        ],
        title=f"Mean absolute error, in cars; {frame.attrs['share']:.0%} are to lie in the interval",
    )  # fmt: skip


@click.command()
@click.option(
    "--plot", type=click.Path(path_type=Path), default=Path("occupancy-heatmap.png"), show_default=True,
    help="Where the heat map goes.",
)  # fmt: skip
@click.pass_obj
def demo(url: str | None, plot: Path) -> None:
    """Feed 120 days of sample data, up to now, through the public API and answer with it; a second run reuses them."""
    now = datetime.now(UTC)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=SAMPLE_DAYS)
    with Store.open(url) as store:
        click.echo(f"Server: {store.server()}")
        with progress_bar("Sample data") as progress:
            for position, lot in enumerate(LOTS):
                try:
                    store.cameras.add(lot.name, timezone=lot.timezone, capacity=lot.capacity, id=lot.id)
                except CameraExistsError:
                    continue
                result = store.record(events(lot, start, now))
                click.echo(f"{lot.name}: {result.inserted:,} events ({lot.feed}, {lot.timezone})")
                progress(position + 1, len(LOTS))
        print_weekdays(weekday_averages([lot.id for lot in LOTS], url=store.url))
        save_heat_map(LOTS[0].name, plot, store)
