"""What age and background work cost: a refresh after one late event, and ingest while every job runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa

from tests.support.faults import repeated
from timeseries import OccupancyEvent, Store

CAMERAS = 20
PROCEDURES = REFRESH, COLUMNSTORE, RETENTION = (
    "policy_refresh_continuous_aggregate", "policy_compression", "policy_retention",
)  # fmt: skip
JOBS = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = ANY (%s) ORDER BY job_id"


def fill(store: Store, first: datetime, last: datetime) -> None:
    """An event of every camera each ten minutes."""
    times = pd.date_range(first, last, freq="10min", inclusive="left")
    for name in (camera.name for camera in store.cameras.list() if camera.name.startswith("garage ")):
        counts = np.random.default_rng(7).integers(0, 90, len(times), dtype=np.int32)
        store.record_frame(
            pa.table({"camera": pa.array([name] * len(times)), "timestamp": times, "occupied_count": counts})
        )


def seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def late_event(store: Store, rounds: int) -> list[float]:
    """Seconds to store one event of twenty days ago, with all its aggregates, and to refresh that day."""
    camera = store.cameras.get("garage 3").id
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=20)
    found = []
    for i in range(rounds):
        event = OccupancyEvent(camera, day + timedelta(hours=12, seconds=i + time.time() % 1), i)
        found.append(seconds(lambda event=event: store.record([event])))  # type: ignore[misc]
        found[-1] += seconds(lambda: store.refresh(day, day + timedelta(days=1)))
    return found


def latencies(store: Store, number: int) -> list[float]:
    """Seconds of each small batch of fresh events."""
    cameras = [camera.id for camera in store.cameras.list() if camera.name.startswith("garage ")]
    found = []
    for i in range(number):
        now = datetime.now(UTC)
        found.append(seconds(lambda now=now, i=i: store.record([OccupancyEvent(c, now, i) for c in cameras])))  # type: ignore[misc]
    return found


def run_jobs(url: str, procedures: tuple[str, ...] = PROCEDURES) -> None:
    """Run every refresh, columnstore and retention job, or those of some procedures, one after the other."""
    with psycopg.connect(url, autocommit=True) as connection:
        for (job,) in connection.execute(JOBS, [list(procedures)]).fetchall():
            connection.execute("CALL run_job(%s)", [job])


def beside_jobs(store: Store, number: int) -> tuple[list[float], int]:
    """The same while the jobs run again and again; and how often all of them ran."""
    with repeated(lambda: run_jobs(store.url)) as times:
        return latencies(store, number), times[0]


def life(store: Store, rounds: int) -> list[dict[str, Any]]:
    """Rows of the table: what, seconds, and the ratio to its reference."""
    for i in range(CAMERAS):
        store.cameras.add(f"garage {i}")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    fill(store, today - timedelta(days=60), today)
    young = statistics.median(late_event(store, 5 * rounds))
    fill(store, today - timedelta(days=2 * 365), today - timedelta(days=60))
    old = statistics.median(late_event(store, 5 * rounds))
    alone, beside, runs = [], [], 0
    for _ in range(rounds):
        alone += latencies(store, 50)
        found, times = beside_jobs(store, 50)
        beside += found
        runs += times
    return [
        {"what": "late event and refresh, 2 years old against 60 days", "seconds": old, "ratio": old / young},
        {"what": f"median latency of ingest while all jobs ran {runs} times, against none",
         "seconds": statistics.median(beside), "ratio": statistics.median(beside) / statistics.median(alone)},
        {"what": "the slowest twentieth of it", "seconds": float(np.quantile(beside, 0.95)),
         "ratio": float(np.quantile(beside, 0.95) / np.quantile(alone, 0.95))},
    ]  # fmt: skip
