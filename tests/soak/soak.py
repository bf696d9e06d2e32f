"""One soak on one server: life and faults for a while, then quiet, then the verdict."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from tests.soak import life as living
from tests.soak.faults import Faults
from tests.soak.life import Life, SpoolingProcess
from tests.soak.verdict import Verdict, judge
from tests.support.bouncer import Bouncer
from tests.support.clusters import Cluster
from tests.support.faults import opened, own_cluster, port_of, through
from tests.support.histories import HOLDS, ZONES, add_cameras, events_of
from tests.support.proxy import Proxy
from tests.support.servers import RunningServer
from timeseries import OccupancyEvent, ServerKind

HISTORY = timedelta(days=100)  # raw rows before the soak, of which retention removes the oldest
LONGEST = 3.0  # seconds that the network or the server is silent
WORKERS = {"timescaledb.max_background_workers": "16", "max_worker_processes": "32"}


@dataclass
class Soak:
    """What happened, and what came of it."""

    seed: int
    kind: ServerKind
    verdict: Verdict
    faults: dict[str, int]
    counts: dict[str, int]
    bugs: list[str]

    @property
    def good(self) -> bool:
        return self.verdict.good and not self.bugs and sum(self.faults.values()) > 0


def soak(server: RunningServer, seconds: float, seed: int, longest: float = LONGEST) -> Soak:
    """On a server of its own of this kind."""
    settings = WORKERS if server.kind is ServerKind.COMMUNITY else {}
    with own_cluster(server, log_statement="none", **settings) as cluster:
        return soak_cluster(cluster, server.kind, seconds, seed, longest)


def soak_cluster(cluster: Cluster, kind: ServerKind, seconds: float, seed: int, longest: float) -> Soak:
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    life = Life(seed, end, kind)
    with opened(cluster.url()) as store:
        cameras = [store.cameras.get(camera) for camera in add_cameras(store, min(len(ZONES), len(HOLDS)))]
        history = [
            event
            for camera in cameras
            for event in events_of(camera.id, end - HISTORY, end - timedelta(days=84), random.Random(seed))
            if isinstance(event, OccupancyEvent)
        ]
        store.record(history)
    for event in history:
        life.accept(event)
    with everybody(life, cluster, [camera.id for camera in cameras], longest) as faults:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not life.bugs:
            time.sleep(random.Random(f"{seed} {sum(faults.done.values())}").uniform(0.3, 3))
            faults.inject()
    return Soak(seed, kind, judge(life, cluster.url(), cameras, end - HISTORY), faults.done, life.counts, life.bugs)


@contextlib.contextmanager
def everybody(life: Life, cluster: Cluster, cameras: list[UUID], longest: float) -> Iterator[Faults]:
    """Writers, readers and jobs, until the end; then all that waits is stored."""
    chance = random.Random(f"{life.seed} faults")
    url, folder = cluster.url(), Path(tempfile.mkdtemp(prefix="soak-"))
    processes: list[SpoolingProcess] = []
    with contextlib.ExitStack() as cleaning:
        cleaning.callback(shutil.rmtree, folder)
        bouncer = None
        with contextlib.suppress(pytest.skip.Exception):  # it is not installed
            bouncer = cleaning.enter_context(Bouncer(port_of(url)))
        proxy = cleaning.enter_context(Proxy(port_of(url), lambda data: b"COMMIT" in data and chance.random() < 0.02))
        cleaning.callback(give_up, life, processes)
        life.begin(living.record, through(url, proxy.port), cameras[0])
        life.begin(living.write, url, cameras[1])
        processes.append(SpoolingProcess(life, url, cameras[2], folder / "one"))
        processes.append(
            SpoolingProcess(life, through(url, bouncer.port) if bouncer else url, cameras[3], folder / "two")
        )
        life.begin(living.read, url)
        life.begin(living.run_jobs, url)
        yield Faults(cluster, bouncer, processes, chance, longest)
        finishing = [threading.Thread(target=process.finish) for process in processes]
        for thread in finishing:
            thread.start()
        life.end_all()
        for thread in finishing:
            thread.join()
        life.counts["connections cut after COMMIT"] = proxy.cuts


def give_up(life: Life, processes: list[SpoolingProcess]) -> None:
    """What is still going on where the soak was interrupted."""
    life.stopping.set()
    for process in processes:
        process.kill()
