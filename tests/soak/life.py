"""What goes on in a soak: writers, readers and jobs, each a thread that remembers what it was promised."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import psycopg

from tests.soak.events import LATE, event_at
from tests.support.faults import Key, opened
from timeseries import OccupancyEvent, ServerKind, Store, TimeseriesError
from timeseries.ingest.record import OnConflict

PAUSE = 0.02  # seconds between events, or batches of them
JOBS = "SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY random() LIMIT 1"
HOURS = "SELECT count(*), sum(samples) FROM occupancy_hours(NULL, %s, %s)"


@dataclass
class Life:
    """One soak: its seed, its end, and what was accepted so far, by key."""

    seed: int
    end: datetime
    kind: ServerKind
    accepted: dict[Key, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    bugs: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def accept(self, event: OccupancyEvent) -> None:
        assert isinstance(event.camera_id, UUID)
        self.accepted[event.camera_id, event.timestamp] = event.occupied_count

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def begin(self, work: Callable[..., None], *values: object) -> None:
        """Run in a thread; an error that no fault explains is a bug."""

        def run() -> None:
            try:
                work(self, *values)
            except Exception as error:
                self.bugs.append(f"{work.__name__}: {type(error).__name__}: {error}")

        # Not waited for where the soak is interrupted, because it may wait for a server that is gone.
        thread = threading.Thread(target=run, name=work.__name__, daemon=True)
        self.threads.append(thread)
        thread.start()

    def end_all(self) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join(300)
        self.bugs += [f"{thread.name} does not end" for thread in self.threads if thread.is_alive()]


def record(life: Life, url: str, camera: UUID) -> None:
    """Batches by `store.record`: new events, duplicates, and now and then a correction; again until it succeeds."""
    chance = random.Random(f"{life.seed} record")
    own: list[datetime] = []
    with opened(url) as store:
        for number in count():
            events = [event_at(camera, life.seed, 20 * number + i, life.end) for i in range(20)]
            own += [event.timestamp for event in events]
            replace = number % 5 == 4
            if replace:
                events += [OccupancyEvent(camera, at, chance.randrange(90)) for at in chance.sample(own[:-20], 5)]
            else:
                events += events[:3]
            life.count("corrected" if replace else "repeated", len(events) - 20)
            stored(life, store, events, "replace" if replace else "ignore")
            if life.stopping.wait(5 * PAUSE):
                return


def stored(life: Life, store: Store, events: list[OccupancyEvent], on_conflict: OnConflict) -> None:
    """Try until it succeeds; how often it did not is counted."""
    for _ in range(600):
        try:
            rejected = store.record(events, on_conflict=on_conflict).rejected
        except TimeseriesError:
            life.count("failed calls")
            time.sleep(0.2)
            continue
        assert rejected == ()
        for event in events:
            life.accept(event)
        return
    raise AssertionError("no success in two minutes")


def write(life: Life, url: str, camera: UUID) -> None:
    """Events one by one into a writer without a spool, whose process lives on."""
    with opened(url) as store, store.writer(batch_size=100, flush_interval=0.1, close_timeout=120) as writer:
        for number in count():
            event = event_at(camera, life.seed, number, life.end)
            writer.record(event)
            life.accept(event)
            if life.stopping.wait(PAUSE):
                break
    life.count("retries", writer.state.retries)
    if writer.state.rejected:
        life.bugs.append(f"a writer's {writer.state.rejected} events were rejected")


class SpoolingProcess:
    """A writer with a spool, in a process that is killed and begun again."""

    def __init__(self, life: Life, url: str, camera: UUID, spool: Path) -> None:
        self.life, self.camera, self.number = life, camera, 0
        self._words = [sys.executable, "-m", "tests.soak.spooling", url, str(spool), str(camera), str(life.seed)]
        self.begin()

    def begin(self) -> None:
        """From the first event that was not said to be accepted: it may have been all the same."""
        words = [*self._words, self.life.end.isoformat(), str(self.number)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):
                self.number = int(line) + 1
                self.life.accept(event_at(self.camera, self.life.seed, int(line), self.life.end))

    def kill(self) -> None:
        self._process.kill()
        self._wait(10)

    def finish(self) -> None:
        """Let it store all that waits."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._wait(180) != 0:
            self.life.bugs.append(f"a writer with a spool ended with {self._process.returncode}")

    def _wait(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        if self._process.poll() is not None:
            self._reader.join()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
        return self._process.poll()


def read(life: Life, url: str) -> None:
    """Answers for a few days, as a dashboard asks; faults end some."""
    chance = random.Random(f"{life.seed} read")
    while not life.stopping.wait(5 * PAUSE):
        start = life.end - timedelta(days=chance.randrange(1, LATE.days))
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5) as connection:
            connection.execute(HOURS, [start, start + timedelta(days=3)]).fetchall()
            life.count("answers")


def run_jobs(life: Life, url: str) -> None:
    """Refresh, columnstore and retention by hand, beside TimescaleDB's scheduler; elsewhere pruning."""
    while not life.stopping.wait(10 * PAUSE):
        with contextlib.suppress(psycopg.Error, TimeseriesError):  # a job gives way to faults, and to writers
            if life.kind is ServerKind.COMMUNITY:
                with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                    for (job,) in connection.execute(JOBS).fetchall():
                        connection.execute("CALL run_job(%s)", [job])
            else:
                with opened(url) as store:
                    store.prune()
            life.count("jobs")
