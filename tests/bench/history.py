"""What history costs: whole feeds, thousands of cameras, and native refreshes."""

from __future__ import annotations

import csv
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from tests.bench.life import seconds
from tests.support.servers import RunningServer
from timeseries import Store
from timeseries.ingest.frames import camera_ids, columns_of, slice_columns, to_batch
from timeseries.ingest.record import BATCH_SIZE
from timeseries.model.relations import OCCUPANCY
from timeseries.settings import Settings

COPY = f"COPY occupancy_events ({', '.join(OCCUPANCY.columns)}) FROM STDIN (FORMAT BINARY)"
LEVELS = ("quarter_hourly", "hourly", "weekday")


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
    yield from many_cameras(server, rounds, events)
    with feed_of(path, cameras) as (feed, file, zones):
        yield from feeds(server, rounds, feed, file, zones)
