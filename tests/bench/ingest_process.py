"""Processes that store single events, as those beside cameras do: they load `timeseries` and nothing else of weight."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from uuid import UUID

from timeseries import OccupancyEvent, Store
from timeseries.settings import Settings


@dataclass(frozen=True)
class Load:
    """For how many seconds events are stored, how many a second of all processes (0: as many as go), and the share of
    them that is late, by `age` to `age + spread` seconds.
    """

    seconds: float
    rate: float = 0.0
    late: float = 0.0
    age: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True)
class Ingest:
    """What a process did: the seconds of each event from the moment it was due to its commit, and of all together, and
    the peak of its memory.
    """

    latencies: list[float]
    seconds: float
    peak_bytes: int


def ingest(store: Store, processes: int, load: Load) -> list[Ingest]:
    """What so many processes did that began together, each with cameras of its own."""
    cameras = [str(camera.id) for camera in store.cameras.list()]
    command = [sys.executable, "-m", __name__]
    workers = [subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) for _ in range(processes)]
    share = {**asdict(load), "rate": load.rate / processes}
    for i, worker in enumerate(workers):
        _tell(worker, json.dumps({"url": store.url, "cameras": cameras[i::processes], "load": share}))
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        _tell(worker, "begin")
    return [Ingest(**json.loads(worker.communicate()[0])) for worker in workers]


def _tell(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()


def store_events(store: Store, cameras: list[UUID], load: Load) -> list[float]:
    """Seconds of each event from the moment it is due to its commit."""
    latencies: list[float] = []
    begin = time.perf_counter()
    while True:
        due = begin + len(latencies) / load.rate if load.rate else time.perf_counter()
        if due >= begin + load.seconds:
            return latencies
        time.sleep(max(0.0, due - time.perf_counter()))
        store.record([made_up(cameras[len(latencies) % len(cameras)], load)])
        latencies.append(time.perf_counter() - due)


def made_up(camera: UUID, load: Load) -> OccupancyEvent:
    age = load.age + random.random() * load.spread if random.random() < load.late else 0.0
    return OccupancyEvent(camera, datetime.now(UTC) - timedelta(seconds=age), random.randrange(90))


def peak_bytes() -> int:
    """Memory at its peak: VmHWM, because ru_maxrss begins with the peak of the process that forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Take orders from the first line of the standard input, say that it is ready, and begin with the second. It is
    ready when it has stored an event, because the first one takes a connection and the planning of every query.
    """
    orders = json.loads(sys.stdin.readline())
    cameras, load = [UUID(one) for one in orders["cameras"]], Load(**orders["load"])
    with Store.open(orders["url"], settings=Settings()) as store:
        store.record([made_up(cameras[0], load)])
        print("ready", flush=True)
        sys.stdin.readline()
        begin = time.perf_counter()
        latencies = store_events(store, cameras, load)
        taken = time.perf_counter() - begin
    print(json.dumps(asdict(Ingest(latencies, taken, peak_bytes()))))


if __name__ == "__main__":
    main()
