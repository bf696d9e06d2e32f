"""A process that stores single events, as one beside cameras does: it loads `timeseries` and nothing else of weight."""

from __future__ import annotations

import random
import resource
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from timeseries import OccupancyEvent, Store
from timeseries.settings import Settings

LATE = 0.01  # of the events, by an hour


@dataclass(frozen=True)
class Ingest:
    """What a process did: the seconds of each event from the moment it was due to its commit, and its peak memory."""

    latencies: list[float]
    peak_bytes: int


def store_events(url: str, cameras: list[Any], span: float, rate: float, ready: Any, found: Any) -> None:
    """Store events for so many seconds, at a rate a second; as fast as it goes where the rate is 0."""
    latencies: list[float] = []
    with Store.open(url, settings=Settings()) as store:
        store.server()
        ready.wait()
        begin = time.perf_counter()
        while True:
            due = begin + len(latencies) / rate if rate else time.perf_counter()
            if due >= begin + span:
                break
            time.sleep(max(0.0, due - time.perf_counter()))
            age = timedelta(hours=1) if random.random() < LATE else timedelta(0)
            camera = cameras[len(latencies) % len(cameras)]
            store.record([OccupancyEvent(camera, datetime.now(UTC) - age, random.randrange(90))])
            latencies.append(time.perf_counter() - due)
    found.put(Ingest(latencies, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
