"""What the figures should come to: `make bench` prints it beside each, and fails where one has no row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Bar:
    """The least and the most that a figure should be."""

    least: float = 0.0
    most: float = math.inf
    of: str = "ratio"

    def __str__(self) -> str:
        bounds = (f"at least {self.least:g}" * (self.least > 0), f"at most {self.most:g}" * (self.most < math.inf))
        return ", ".join(filter(None, bounds)) + " s" * (self.of == "seconds")


BARS: dict[str, dict[str, Bar]] = {
    "singles": {
        "single late events, of live ones": Bar(0.5),
        "late events of four processes, times one": Bar(1.8),
        "late events of four processes beside a refresh, of without": Bar(0.6),
        "slowest hundredth of a live event beside jobs, times without": Bar(most=1.5),
    },
    "history": {
        "minutes of 5,000 cameras in order of time, of a bare COPY": Bar(0.5),
        "200 cameras, times 5,000": Bar(0.77, 1.3),
        "import of a feed with all averages, of a bare COPY": Bar(0.5),
        "native refresh of it, times the COPY": Bar(most=2),
    },
    "imports": {"import into a database 5 years old, times the first": Bar(most=1.2)},
    "answers": {
        "hours of a month of a group of fifty cameras, against these asked at once": Bar(1),
        "weekdays of half a year of a group of fifty cameras, against these asked at once": Bar(1),
        "hours of a month of a group of fifty cameras with gaps, against these asked at once": Bar(1),
        "weekdays of half a year of a group of fifty cameras with gaps, against these asked at once": Bar(1),
    },
    "cameras": {
        "as many hours of 5,000 cameras, against it": Bar(0.25),
        "weekdays of 5,000 cameras over 90 days, against it": Bar(most=0.45, of="seconds"),
        "latest of 5,000 cameras, against it": Bar(most=0.15, of="seconds"),
    },
}


def wanted(table: str, row: Row) -> str:
    """What a row should come to, and whether it does; empty where it has no bar."""
    bar = BARS.get(table, {}).get(row["what"])
    if bar is None:
        return ""
    return str(bar) if bar.least <= row[bar.of] <= bar.most else f"{bar}: MISSED"


def without_row(table: str, rows: Iterable[Row]) -> set[str]:
    """The bars of a table that none of its rows reports."""
    return set(BARS[table]) - {row["what"] for row in rows}
