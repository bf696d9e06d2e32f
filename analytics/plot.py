"""Pictures of the answers, by matplotlib; each function returns the Axes it drew on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analytics.questions import NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heat_map(hours: pd.DataFrame, ax: Axes | None = None, *, capacity: int | None = None) -> Axes:
    """Weekday by hour of day, from the frame of `hourly_averages` for one camera.

    Hours are weighed by what is known of them. Raises ImportError where the extra `plot` is not installed.
    """
    import matplotlib.pyplot as plt

    index = pd.DatetimeIndex(hours.index)
    known = hours["coverage"].to_numpy()
    cars = hours["occupied_avg"].to_numpy() * known
    keys = [index.isocalendar()["day"].to_numpy(), index.hour.to_numpy()]
    sums = pd.DataFrame({"cars": cars, "known": known}).groupby(keys).sum()
    cells = (sums["cars"] / sums["known"]).unstack().reindex(index=range(1, 8), columns=range(24))
    if ax is None:
        _, ax = plt.subplots(figsize=(9, 3.4), layout="constrained")
    image = ax.imshow(
        np.ma.masked_invalid(cells.to_numpy(dtype=float)),
        aspect="auto",
        cmap="viridis",
        vmin=0,
        vmax=capacity,
    )
    ax.set_yticks(range(7), [name.capitalize() for name in NAMES])
    ax.set_xticks(range(0, 24, 3), [f"{hour:02d}:00" for hour in range(0, 24, 3)])
    name = str(hours["camera"].iloc[0]) if len(hours) else ""
    ax.set_title(f"{name}: average occupancy, time-weighted")
    ax.set_xlabel(f"Local time ({hours.attrs.get('timezone') or 'UTC'})")
    if ax.figure is not None:
        ax.figure.colorbar(image, ax=ax, label="Cars")
    return ax


def save(ax: Axes, path: Any) -> None:
    """Write the figure of these Axes to a file and close it."""
    import matplotlib.pyplot as plt

    figure: Any = ax.figure
    figure.savefig(path, dpi=144)
    plt.close(figure)
