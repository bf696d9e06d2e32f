"""Pictures of the answers, by matplotlib; each function returns the Axes it drew on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analytics.ranges import QUARTER
from analytics.request import NAMES
from timeseries import InvalidInputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"healthy": "#4c9f70", "degraded": "#e3b23c", "disconnected": "#c8553d"}


def heat_map(week: pd.DataFrame, ax: Axes | None = None, *, capacity: int | None = None) -> Axes:
    """Weekday by hour of day of one camera. The frame is that of `weekday_profile`, or that of `hourly_averages` with a
    start and an end, whose hours are weighted by their known time. `capacity` is the top of the scale.

    Raises InvalidInputError for a frame of several cameras or of another kind, ImportError where the extra `plot` is
    not installed.
    """
    camera = one_camera(week)
    if "weekday" in week and "hour" in week:
        keys = [week["weekday"].to_numpy(), week["hour"].to_numpy()]
        known = week["coverage"].to_numpy(dtype=float)
    else:
        index = local_hours(week, camera)
        keys = [index.isocalendar()["day"].to_numpy(), index.hour.to_numpy()]
        known = week["coverage"].to_numpy(dtype=float) * seconds_in_range(week, index)
    weighed = pd.DataFrame({"cars": week["occupied_avg"].to_numpy(dtype=float) * known, "known": known})
    sums = weighed.groupby(keys).sum()
    cells = (sums["cars"] / sums["known"]).unstack().reindex(index=range(1, 8), columns=range(24)).astype(float)
    ax = ax or new_axes(9, 3.4)
    values = np.ma.masked_invalid(cells.to_numpy(dtype=float))
    image = ax.imshow(values, aspect="auto", cmap="viridis", vmin=0, vmax=capacity)
    ax.set_yticks(range(7), [name.capitalize() for name in NAMES])
    ax.set_xticks(range(0, 24, 3), [f"{hour:02d}:00" for hour in range(0, 24, 3)])
    ax.set_title(f"{camera}: average occupancy, time-weighted")
    ax.set_xlabel(local_time(week))
    figure: Any = ax.figure
    figure.colorbar(image, ax=ax, label="Cars")
    return ax


def local_hours(hours: pd.DataFrame, camera: str) -> pd.DatetimeIndex:
    """The index of a frame of hours of one zone, of a range that is known. Raises InvalidInputError for another."""
    index = hours.index
    if (
        not isinstance(index, pd.DatetimeIndex)
        or "occupied_avg" not in hours
        or {"local_date", "local_start"} & {*hours}
    ):
        raise InvalidInputError("a heat map is drawn of the frame of weekday_profile or of hourly_averages")
    if hours.attrs.get("timezone") is None:
        raise InvalidInputError(
            "the frame has no one time zone, as that of cameras in several, so its hours are those of UTC; ask for"
            f" {camera!r} alone"
        )
    if None in (hours.attrs.get("start"), hours.attrs.get("end")):
        raise InvalidInputError(
            "the range of the frame is not known, so neither is the weight of its first and last hour; ask with a start"
            " and an end, or draw weekday_profile"
        )
    return index


def seconds_in_range(hours: pd.DataFrame, index: pd.DatetimeIndex) -> Any:
    """How many seconds of each local hour lie in the range of the frame.

    A local hour is a run of quarters of an hour with one hour on the wall and one offset, so it may be shorter where
    the offset changes. In a frame of quarters not every row begins such a run.
    """
    own = wall_hours(index)
    if np.any(same_hour(own, wall_hours(index - QUARTER))):
        return np.ones(len(index))
    counted = hours.attrs.get("calendar", {}).get("hours") or []
    if counted == "opening":
        raise InvalidInputError(
            "opening hours may cut whole hours, whose weight the frame does not say; draw weekday_profile"
        )
    if any(not time.endswith(":00") for time in counted):
        raise InvalidInputError(
            f"the hours that count, {' to '.join(counted)}, cut whole ones, whose weight the frame does not say; draw"
            " weekday_profile"
        )
    start, end = (pd.Timestamp(hours.attrs[name]) for name in ("start", "end"))
    known = np.zeros(len(index))
    for number in range(4):
        quarters = index + number * QUARTER
        inside = same_hour(own, wall_hours(quarters)) & (quarters >= start) & (quarters < end)
        known += np.asarray(inside) * QUARTER.total_seconds()
    return known


def same_hour(one: tuple[Any, Any], other: tuple[Any, Any]) -> Any:
    return (one[0] == other[0]) & (one[1] == other[1])


def wall_hours(times: pd.DatetimeIndex) -> tuple[pd.DatetimeIndex, pd.TimedeltaIndex]:
    """The hour on the wall, and how far the wall is ahead of UTC."""
    walls = times.tz_localize(None)
    return walls.floor("h"), walls - times.tz_convert("UTC").tz_localize(None)


def line(averages: pd.DataFrame, ax: Axes | None = None, *, capacity: int | None = None) -> Axes:
    """The averages of one camera or group over time, from the frame of `hourly_averages`, `quarter_hourly_averages` or
    `daily_averages`: a line with a band from least to most, broken where no count is known. The grey strip below is the
    coverage, at its full height where all time is known. What periods left out of it, or of members of the group, is
    hatched. `capacity` draws a level.

    Raises InvalidInputError for a frame of several cameras, ImportError where the extra `plot` is not installed.
    """
    camera = one_camera(averages)
    ax = ax or new_axes(9, 3.4)
    if len(averages):
        steps(ax, averages)
        hatch_left_out(ax, averages)
    return finished(ax, averages, f"{camera}: average occupancy", capacity)


def finished(ax: Axes, frame: pd.DataFrame, title: str, capacity: int | None) -> Axes:
    """The same with its level, its axes and its legend."""
    if capacity is not None:
        ax.axhline(capacity, color="black", linewidth=0.8, linestyle="--", label="capacity")
    date_axis(ax, frame)
    ax.set_ylim(bottom=0)
    ax.set_ylabel("Cars")
    ax.set_title(title, loc="left")
    if handles := ax.get_legend_handles_labels()[0]:
        columns = 4 if len(handles) <= 4 else 3  # the title stands beside it
        ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=columns, frameon=False)
    return ax


def with_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows and, where the last bucket ends and each before a gap, a row without values, so that steps end there."""
    index = pd.DatetimeIndex(frame.index)
    if len(index) < 2:
        return frame
    widths = pd.Series(index[1:] - index[:-1])
    last = [*(widths > 1.5 * widths.median()), True]
    return frame.reindex(index.append(index[last] + widths.median()).sort_values())


def steps(ax: Axes, averages: pd.DataFrame) -> None:
    averages = with_ends(averages)
    index = pd.DatetimeIndex(averages.index)
    columns = averages[["occupied_avg", "occupied_min", "occupied_max", "coverage"]].astype("Float64")
    mean, least, most, coverage = (column.to_numpy(dtype=float, na_value=np.nan) for _, column in columns.items())
    ax.fill_between(index, least, most, step="post", alpha=0.2, linewidth=0, label="least to most")
    ax.step(index, mean, where="post", label="average")
    ax.fill_between(
        index, 0, 0.04 * np.nan_to_num(coverage), transform=ax.get_xaxis_transform(), step="post", color="silver",
        linewidth=0, label="coverage",
    )  # fmt: skip


def hatch_left_out(ax: Axes, averages: pd.DataFrame) -> None:
    """The periods in the `attrs` of a frame of one camera or group, as far as they lie in the range that is over."""
    camera = one_camera(averages)
    first, last = with_ends(averages).index[[0, -1]]
    first = pd.Timestamp(averages.attrs.get("start") or first)
    last = max(last, min(pd.Timestamp(averages.attrs.get("end") or last), pd.Timestamp.now("UTC")))
    label: str | None = "left out"
    for period in averages.attrs.get("left_out", []):
        if camera == period.get("group", period["camera"]):
            start, end = pd.Timestamp(period["start"]), pd.Timestamp(period["end"] or last)
            ax.axvspan(
                max(start, first), min(end, last),  # type: ignore[arg-type]
                facecolor="none", edgecolor="silver", hatch="//", linewidth=0, label=label,
            )  # fmt: skip
            label = None


def expectation(expected: pd.DataFrame, ax: Axes | None = None, *, capacity: int | None = None) -> Axes:
    """What is expected of one camera, from the frame of `expected`: a dashed line with a band between its bounds, and
    what was seen as a line, broken where no count is known. `capacity` draws a level.

    Raises InvalidInputError for a frame of several cameras, ImportError where the extra `plot` is not installed.
    """
    camera = one_camera(expected)
    ax = ax or new_axes(9, 3.4)
    if len(expected):
        rows = with_ends(expected)
        columns = rows[["lower", "upper", "expected", "occupied_avg"]].to_numpy(dtype=float)
        index, (lower, upper, middle, seen) = pd.DatetimeIndex(rows.index), columns.T
        share = f"{expected.attrs['share']:.0%} " if "share" in expected.attrs else ""
        ax.fill_between(index, lower, upper, step="post", alpha=0.2, linewidth=0, label=f"{share}interval")
        ax.step(index, middle, where="post", linestyle="--", label="expected")
        ax.step(index, seen, where="post", color="black", linewidth=1, label="seen")
    return finished(ax, expected, f"{camera}: expected and seen", capacity)


def above(hours: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How long at least so many cars of one camera were there, from the frame of `time_above`: a bar of hours for each
    day, weekday or month, or one in total, before a grey one of the time that is known. Where raw rows are gone the
    time is bounded: the lower bound is dark, what may come on top of it light.

    Raises InvalidInputError for a frame of several cameras, ImportError where the extra `plot` is not installed.
    """
    camera = one_camera(hours)
    ax = ax or new_axes(9, 3.4)
    places = np.arange(len(hours))
    columns = hours[["known_hours", "hours_at_most", "hours_at_least"]].to_numpy(dtype=float).T
    colours = {"known": "gainsboro", "at most": "#e3b23c", "at least": "#c8553d"}
    for (label, colour), values in zip(colours.items(), columns, strict=True):
        if label != "at most" or not np.allclose(columns[1], columns[2], equal_nan=True):
            ax.bar(places, np.nan_to_num(values), color=colour, label=label)
    ax.set_xticks(places, names_of(hours))
    ax.tick_params("x", labelrotation=0 if len(hours) <= 7 else 90)
    levels = hours["level"].dropna()
    bounds = " to ".join(map(str, sorted({levels.min(), levels.max()}))) if len(levels) else ""
    ax.set_title(f"{camera}: {bounds} cars or more" if bounds else f"{camera}: no level", loc="left")
    ax.set_ylabel("Hours")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
    return ax


def names_of(hours: pd.DataFrame) -> list[str]:
    """What the rows of a frame of `time_above` are: weekdays, dates of days or months, or all the time."""
    if "weekday" in hours:
        return [NAMES[number - 1].capitalize() for number in hours["weekday"]]
    if "local_date" in hours:
        return [f"{date:%Y-%m-%d}" for date in hours["local_date"]]
    return ["total"] * len(hours)


def uptime_strip(states: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """A strip of time per camera, coloured by status, from the frame of `states` (or `outages`, for these alone). Times
    without a known status are white. Raises ImportError where the extra `plot` is not installed.
    """
    cameras = list(states["camera"].cat.categories)
    zone = states.attrs.get("timezone") or "UTC"
    ends = states.index + states["duration"].to_numpy()
    ax = ax or new_axes(9, 1.4 + 0.4 * max(len(cameras), 1))
    for status, colour in COLOURS.items():
        chosen = (states["status"] == status).to_numpy()
        places = states["camera"].cat.codes.to_numpy()[chosen]
        begins = states.index[chosen]
        ax.barh(places, ends[chosen] - begins, left=begins, height=0.6, color=colour, label=status)
    limits = [states.attrs.get("start") or states.index.min(), states.attrs.get("end") or ends.max()]
    if not any(pd.isna(limit) for limit in limits):
        first, last = (pd.Timestamp(limit).tz_convert(zone) for limit in limits)
        ax.set_xlim(first, last)  # type: ignore[arg-type]
    ax.set_yticks(range(len(cameras)), cameras)
    ax.set_ylim(len(cameras) - 0.5, -0.5)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    date_axis(ax, states)
    return ax


def save(ax: Axes, path: Any) -> None:
    """Write the figure of these Axes to a file and close it."""
    import matplotlib.pyplot as plt

    figure: Any = ax.figure
    figure.savefig(path, dpi=144)
    plt.close(figure)


def one_camera(frame: pd.DataFrame) -> str:
    names = list(frame["camera"].dropna().unique())
    if len(names) > 1:
        raise InvalidInputError(
            f"the frame has {len(names)} cameras; draw one: frame[frame['camera'] == {str(names[0])!r}]"
        )
    return str(names[0]) if names else "No observation"


def local_time(frame: pd.DataFrame) -> str:
    """What the times of a frame are; of cameras in several zones those of a week are each camera's own."""
    zone = frame.attrs.get("timezone")
    return f"Local time ({zone})" if zone else "Local time" if "hour" in frame else "UTC"


def new_axes(width: float, height: float) -> Axes:
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    return ax


def date_axis(ax: Axes, frame: pd.DataFrame) -> None:
    """Ticks at round moments of local time."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    zone = frame.attrs.get("timezone") or "UTC"
    locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]
    ax.set_xlabel(local_time(frame))
