"""What an import costs in a store that has grown old, and how much memory it takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.history import add_cameras, figure, fresh, made_up_feed, midnight
from tests.bench.life import seconds
from tests.support.peak_memory import peak_memory
from tests.support.servers import RunningServer
from timeseries import Store

LOTS = 180
STEP = timedelta(minutes=20)  # each event is the only one of its quarter of an hour, which is the most work
YEARS = 5
IMPORT = """
from timeseries import Store
from timeseries.settings import Settings
with Store.open({url!r}, settings=Settings()) as store:
    store.import_file({path!r})
"""


def grow_old(store: Store) -> None:
    """Five years of twenty cameras, an event each six hours, of which the last 90 days have raw rows left."""
    old = made_up_feed(20, YEARS * 365 * 4 * 20, timedelta(hours=6), midnight(0))
    old = old.set_column(0, "camera", pa.array([f"old {name}" for name in old["camera"].to_pylist()]))
    add_cameras(store, old, {})
    store.record_frame(old)
    store.prune()


def ages(server: RunningServer, rounds: int, feed: pa.Table, path: Path) -> Iterator[dict[str, Any]]:
    """The same file into an empty store and into an old one, in turns."""
    found = []
    for _ in range(rounds):
        taken = []
        for is_old in (False, True):
            with fresh(server, feed, {}) as store:
                if is_old:
                    grow_old(store)
                taken.append(seconds(lambda store=store: store.import_file(path)))  # type: ignore[misc]
        found.append(taken[1] / taken[0])
        server.drop(keep=1)
    yield figure(f"import into a database {YEARS} years old, times the first", found)


def memory(server: RunningServer, path: Path, events: int) -> Iterator[dict[str, Any]]:
    """The peak of a process that imports by the transactions that users get, and of one that imports twice as much."""
    peaks = []
    for number in (4 * events, 8 * events):
        feed = made_up_feed(LOTS, number, STEP, midnight(0))
        pq.write_table(feed, path)
        with fresh(server, feed, {}) as store:
            peaks.append(peak_memory(IMPORT.format(url=store.url, path=str(path))))
        server.drop(keep=1)
    yield figure(f"memory of an import of {4 * events:,} events, in MB", [peaks[0] / 1000])
    yield figure(f"of {8 * events:,} events, times that", [peaks[1] / peaks[0]])


def rows(server: RunningServer, rounds: int, events: int) -> Iterator[dict[str, Any]]:
    """Rows of the table, as they are found."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feed.parquet"
        feed = made_up_feed(LOTS, 2 * events, STEP, midnight(0))
        pq.write_table(feed, path)
        yield from ages(server, rounds, feed, path)
        yield from memory(server, path, events)
