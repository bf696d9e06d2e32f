"""What single events cost: live and late, of one process and of four, alone and beside work of the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import numpy as np
import psycopg

from tests.bench.history import LEVELS, figure, fresh, made_up_feed, midnight
from tests.bench.ingest_process import Load, ingest
from tests.bench.life import run_jobs
from tests.support.faults import repeated
from tests.support.servers import RunningServer
from timeseries import Store

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


def rows(server: RunningServer, rounds: int) -> Iterator[dict[str, Any]]:
    """Rows of the table. Each round stores events in every way, one way after the other."""
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
