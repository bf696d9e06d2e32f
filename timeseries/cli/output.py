"""Output: tables and a progress bar for people, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import click

SHOWN = 20


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Print rows under a head; numbers to the right. Nothing is cut off in a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    lines = [[shown(value) for value in row] for row in rows]
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for position, column in enumerate(columns):
        numeric = all(line[position][:1].isdigit() or line[position] in ("", "–") for line in lines)
        table.add_column(column, justify="right" if numeric else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console.print(table)


def shown(value: object) -> str:
    if value is None or value != value:  # NaN, NaT
        return "–"
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value)


def size(bytes_: int) -> str:
    from rich.filesize import decimal

    return decimal(bytes_)


def print_json(value: object) -> None:
    click.echo(json.dumps(plain(value), indent=2, allow_nan=False))


def print_problems(problems: Sequence[str]) -> None:
    """Print on standard error what needs an operator: a screenful at most, because problems may repeat per camera."""
    for problem in problems[:SHOWN]:
        click.echo(f"Problem: {problem}", err=True)
    if len(problems) > SHOWN:
        click.echo(f"… and {len(problems) - SHOWN:,} more problems, which --json lists", err=True)


def plain(value: Any) -> Any:
    """A value of the types of JSON: times in ISO 8601, lengths of time in seconds, null for NaN, NaT and infinity."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.repr}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(value)
    if value != value or (isinstance(value, float) and math.isinf(value)):
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID | Path):
        return str(value)
    return value


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error where that is a terminal, else silence."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
