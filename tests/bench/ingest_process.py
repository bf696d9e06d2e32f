"""A process that stores single events, as one beside cameras does: it loads `timeseries` and nothing else of weight."""

from __future__ import annotations

import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from timeseries import OccupancyEvent, Store
from timeseries.settings import Settings

LATE = 0.01  # of the events, by an hour


def store_events(store: Store, cameras: list[UUID], span: float, rate: float) -> list[float]:
    """Seconds of each event from the moment it is due to its commit: so many a second, or where the rate is 0 as many
    as go.
    """
    latencies: list[float] = []
    begin = time.perf_counter()
    while True:
        due = begin + len(latencies) / rate if rate else time.perf_counter()
        if due >= begin + span:
            return latencies
        time.sleep(max(0.0, due - time.perf_counter()))
        age = timedelta(hours=1) if random.random() < LATE else timedelta(0)
        camera = cameras[len(latencies) % len(cameras)]
        store.record([OccupancyEvent(camera, datetime.now(UTC) - age, random.randrange(90))])
        latencies.append(time.perf_counter() - due)


def peak_bytes() -> int:
    """Memory at its peak: VmHWM, because ru_maxrss begins with the peak of the process that forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Take orders from the first line of the standard input, say that it is ready, and begin with the second."""
    orders = json.loads(sys.stdin.readline())
    with Store.open(orders["url"], settings=Settings()) as store:
        store.server()
        print("ready", flush=True)
        sys.stdin.readline()
        latencies = store_events(store, [UUID(one) for one in orders["cameras"]], orders["span"], orders["rate"])
    print(json.dumps({"latencies": latencies, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
