"""What history costs: whole feeds, thousands of cameras, native refreshes, and late events one by one."""

from __future__ import annotations

import csv
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from tests.bench.ingest_process import Load, ingest
from tests.bench.life import run_jobs, seconds
from tests.support.faults import repeated
from tests.support.servers import RunningServer
from timeseries import Store
from timeseries.ingest.frames import camera_ids, columns_of, slice_columns, to_batch
from timeseries.ingest.record import BATCH_SIZE
from timeseries.model.relations import OCCUPANCY
from timeseries.settings import Settings

COPY = f"COPY occupancy_events ({', '.join(OCCUPANCY.columns)}) FROM STDIN (FORMAT BINARY)"
LEVELS = ("quarter_hourly", "hourly", "weekday")
LATE = timedelta(days=2)
SINGLE_SECONDS = 5.0  # of each count of single events
QUIET, BESIDE_JOBS, BESIDE_REFRESH, BESIDE_LOOP = "quiet", "beside jobs", "beside a refresh", "beside a loop"
# How single events are stored: by so many processes, beside what, and whether they are late. Those beside a loop say
# what the processors allow, because it takes one of them, takes no lock and writes nothing.
WAYS = {
    "live": (1, QUIET, False),
    "late": (1, QUIET, True),
    "late of four": (4, QUIET, True),
    "late of four beside a refresh": (4, BESIDE_REFRESH, True),
    "late of four beside a loop": (4, BESIDE_LOOP, True),
    "live of four": (4, QUIET, False),
    "live beside jobs": (1, BESIDE_JOBS, False),
    "live beside a loop": (1, BESIDE_LOOP, False),
}
RATES = {
    "single late events, of live ones": ("late", "live"),
    "late events of four processes, times one": ("late of four", "late"),
    "live events of four processes, times one": ("live of four", "live"),
    "late events of four processes beside a refresh, of without": ("late of four beside a refresh", "late of four"),
    "the same beside a loop that takes a processor": ("late of four beside a loop", "late of four"),
}
LOOP = (
    "DO $$ DECLARE done timestamptz := clock_timestamp() + interval '0.5 s';"
    " BEGIN WHILE clock_timestamp() < done LOOP END LOOP; END $$"
)


def midnight(days_ago: int) -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


def made_up_feed(cameras: int, events: int, step: timedelta, end: datetime) -> pa.Table:
    """Counts of many cameras, one each `step`, in order of time."""
    steps = events // cameras
    moments = np.datetime64(end.replace(tzinfo=None), "us") - np.arange(steps, 0, -1) * np.timedelta64(step)
    names = pa.DictionaryArray.from_arrays(
        np.tile(np.arange(cameras, dtype=np.int32), steps), [f"lot {i}" for i in range(cameras)]
    )
    counts = np.random.default_rng(7).integers(0, 90, steps * cameras, dtype=np.int32)
    return pa.table({
        "camera": names,
        "timestamp": pa.array(np.repeat(moments, cameras)).cast(pa.timestamp("us", "UTC")),
        "occupied_count": counts,
    })  # fmt: skip


@contextmanager
def fresh(server: RunningServer, feed: pa.Table, zones: dict[str, str]) -> Iterator[Store]:
    """A store in a database of its own, with the cameras of a feed."""
    with Store.open(server.copy(), settings=Settings()) as store:
        add_cameras(store, feed, zones)
        yield store


def add_cameras(store: Store, feed: pa.Table, zones: dict[str, str]) -> None:
    names = feed["camera"].unique().to_pylist()
    with psycopg.connect(store.url) as connection:
        connection.execute(
            "INSERT INTO cameras (name, timezone) SELECT * FROM unnest(%s::text[], %s::text[])",
            [names, [zones.get(name, "UTC") for name in names]],
        )


def copied(store: Store, feed: pa.Table) -> float:
    """Seconds of a bare COPY of the rows of a feed, ready in binary form, into the table of a fresh store."""
    ids, (columns, rows) = camera_ids(store.cameras), columns_of(feed)
    starts = range(0, rows, BATCH_SIZE)
    batches = [to_batch(slice_columns(columns, at, BATCH_SIZE), OCCUPANCY, ids)[0] for at in starts]
    payloads = [batch.copy_payload() for batch in batches]
    with psycopg.connect(store.url) as connection:
        connection.autocommit = True
        connection.execute("CHECKPOINT")

        def copy() -> None:
            for payload in payloads:
                with connection.cursor().copy(COPY) as target:
                    target.write(payload)

        return seconds(copy)


def refreshed(store: Store) -> float:
    """Seconds to compute the three aggregates natively, each over all of time."""
    with psycopg.connect(store.url, autocommit=True) as connection:

        def refresh() -> None:
            for level in LEVELS:
                connection.execute(
                    f"CALL refresh_continuous_aggregate('occupancy_{level}', NULL, now(), force => true)"
                )

        return seconds(refresh)


def checked(store: Store, feed: pa.Table) -> None:
    """Every event is in every aggregate."""
    with psycopg.connect(store.url) as connection:
        for level in LEVELS:
            found = connection.execute(f"SELECT sum(samples) FROM occupancy_{level}").fetchone()
            assert found is not None
            assert found[0] >= feed.num_rows, (level, found)


def feeds(
    server: RunningServer, rounds: int, feed: pa.Table, path: Path, zones: dict[str, str]
) -> Iterator[dict[str, Any]]:
    imports, refreshes, again = [], [], []
    for _ in range(rounds):
        with fresh(server, feed, zones) as store:
            limit = copied(store, feed)
            refreshes.append(refreshed(store) / limit)
            again.append(refreshed(store) / limit)
            checked(store, feed)
        with fresh(server, feed, zones) as store:
            imports.append((limit, seconds(lambda store=store: store.import_file(path))))  # type: ignore[misc]
            checked(store, feed)
        server.drop(keep=1)
    yield figure("import of a feed with all averages, of a bare COPY", [limit / own for limit, own in imports])
    yield figure("native refresh of it, times the COPY", refreshes)
    yield figure("the same once more, over materialized history", again)
    ages = []
    for _ in range(rounds):
        with fresh(server, feed, zones) as store:
            young = seconds(lambda store=store: store.import_file(path))  # type: ignore[misc]
        with fresh(server, feed, zones) as store:
            grow_old(store)
            ages.append(seconds(lambda store=store: store.import_file(path)) / young)  # type: ignore[misc]
        server.drop(keep=1)
    yield figure("import into a database five years old, times the first", ages)


def grow_old(store: Store) -> None:
    """Five years of twenty cameras, an event an hour, of which the last 90 days have raw rows left."""
    old = made_up_feed(20, 5 * 365 * 24 * 20, timedelta(hours=1), midnight(0))
    old = old.set_column(0, "camera", pa.array([f"old {name}" for name in old["camera"].to_pylist()]))
    add_cameras(store, old, {})
    store.record_frame(old)
    store.prune()


def many_cameras(server: RunningServer, rounds: int, events: int) -> Iterator[dict[str, Any]]:
    ratios: dict[int, list[float]] = {200: [], 5000: []}
    rates: dict[int, list[float]] = {200: [], 5000: []}
    for _ in range(rounds):
        for number in ratios:
            feed = made_up_feed(number, events, timedelta(minutes=1), midnight(2))
            with fresh(server, feed, {}) as store:
                limit = copied(store, feed)
            with fresh(server, feed, {}) as store:
                own = seconds(lambda store=store, feed=feed: store.record_frame(feed))  # type: ignore[misc]
                checked(store, feed)
            ratios[number].append(limit / own)
            rates[number].append(feed.num_rows / own)
            server.drop(keep=1)
    for number, of_limit in ratios.items():
        what = f"minutes of {number:,} cameras in order of time, of a bare COPY"
        yield figure(what, of_limit) | {"seconds": round(statistics.median(rates[number]))}
    yield figure("200 cameras, times 5,000", [few / many for few, many in zip(rates[200], rates[5000], strict=True)])


def single(store: Store, processes: int, beside: str, late: bool) -> list[float]:
    """Seconds of each of the events that so many processes store one by one, each for cameras of its own."""
    load = Load(SINGLE_SECONDS, late=float(late), age=LATE.total_seconds(), spread=86_400)
    with repeated(*work_of(store, beside)):
        return [taken for done in ingest(store, processes, load) for taken in done.latencies]


def work_of(store: Store, beside: str) -> list[Callable[[], object]]:
    """What the server does meanwhile, again and again."""
    if beside == BESIDE_JOBS:
        return [partial(run_jobs, store.url)]
    if beside == BESIDE_LOOP:
        return [partial(run_loop, store.url)]
    return [partial(refresh_days, store.url)] if beside == BESIDE_REFRESH else []


def run_loop(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(LOOP)


def refresh_days(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for level in LEVELS:
            window = "now() - interval '6 days', now(), force => true"
            connection.execute(f"CALL refresh_continuous_aggregate('occupancy_{level}', {window})")


def singles(server: RunningServer, rounds: int) -> Iterator[dict[str, Any]]:
    feed = made_up_feed(200, 200 * 8 * 144, timedelta(minutes=10), midnight(0))
    found: dict[str, list[float]] = {}

    def note(what: str, value: float) -> None:
        found.setdefault(what, []).append(value)

    with fresh(server, feed, {}) as store:
        store.record_frame(feed)
        for _ in range(rounds):
            taken = {name: single(store, *way) for name, way in WAYS.items()}
            for what, (own, reference) in RATES.items():
                note(what, len(taken[own]) / len(taken[reference]))
            for share, name in ((0.5, "median"), (0.99, "slowest hundredth")):
                without = np.quantile(taken["live"], share)
                for beside in ("jobs", "a loop"):
                    times = np.quantile(taken[f"live beside {beside}"], share) / without
                    note(f"{name} of a live event beside {beside}, times without", float(times))
            for name, latencies in taken.items():
                note(f"events a second: {name}", len(latencies) / SINGLE_SECONDS)
    yield from (figure(what, values) for what, values in found.items())


def figure(what: str, ratios: list[float]) -> dict[str, Any]:
    return {
        "what": what,
        "ratio": round(float(statistics.median(ratios)), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


@contextmanager
def feed_of(path: Path | None, cameras: Path | None) -> Iterator[tuple[pa.Table, Path, dict[str, str]]]:
    """A feed, its file, and the time zones of its cameras; made up where no file is given."""
    if path is not None:
        zones = {}
        if cameras is not None:
            with cameras.open() as lines:
                zones = {row["camera"]: row["timezone"] for row in csv.DictReader(lines)}
        yield pc.read_csv(path), path, zones
        return
    with tempfile.TemporaryDirectory() as folder:
        made_up = made_up_feed(180, 1_000_000, timedelta(minutes=20), midnight(0))
        pq.write_table(made_up, Path(folder) / "feed.parquet")
        yield made_up, Path(folder) / "feed.parquet", {}


def rows(
    server: RunningServer, rounds: int, events: int, path: Path | None, cameras: Path | None
) -> Iterator[dict[str, Any]]:
    """Rows of the table, as they are found."""
    yield from singles(server, rounds)
    yield from many_cameras(server, rounds, events)
    with feed_of(path, cameras) as (feed, file, zones):
        yield from feeds(server, rounds, feed, file, zones)
