"""A city on one server: thousands of cameras at an event a minute, its jobs, dashboards and notebooks all at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from subprocess import PIPE
from typing import Any

import numpy as np
import psycopg

import analytics
from tests.bench.history import add_cameras, made_up_feed, midnight
from tests.bench.life import JOBS, seconds
from tests.support.grafana_queries import DASHBOARDS, expand
from tests.support.servers import RunningServer
from timeseries import Store
from timeseries.settings import Settings

PROCESSES = 4
SHOWN = 20  # lots that a dashboard shows at once
MINUTES_A_YEAR = 60 * 24 * 365
KEPT = 90 / 365  # of a year's raw rows
BUCKETS = {"quarter_hourly": MINUTES_A_YEAR / 15, "hourly": MINUTES_A_YEAR / 60, "weekday": 365}
BUSY = 0.5  # of the processors, at most, that a server which is sized well spends on what never stops
RAW = "occupancy_events"
SHRUNK = """
    SELECT after_compression_total_bytes
    FROM hypertable_columnstore_stats('occupancy_events')
"""
SIZES = """
    SELECT 'occupancy_events', hypertable_size('occupancy_events')
    UNION ALL
    SELECT family || '_' || level, hypertable_size(relation) FROM timeseries.materializations WHERE family = 'occupancy'
"""


@dataclass(frozen=True)
class Ingest:
    """What a process did: the seconds of each event from the moment it was due to its commit, and its peak memory."""

    latencies: list[float]
    peak_bytes: int


def ingest(store: Store, span: float, rate: float) -> tuple[list[Ingest], float]:
    """What the processes did, each with cameras of its own, and the seconds from the first event to the last."""
    cameras = [str(camera.id) for camera in store.cameras.list()]
    command = [sys.executable, "-m", "tests.bench.ingest_process"]
    workers = [subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) for _ in range(PROCESSES)]
    for i, worker in enumerate(workers):
        orders = {"url": store.url, "cameras": cameras[i::PROCESSES], "span": span, "rate": rate / PROCESSES}
        tell(worker, json.dumps(orders))
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    begin = time.perf_counter()
    for worker in workers:
        tell(worker, "begin")
    done = [Ingest(**json.loads(worker.communicate()[0])) for worker in workers]
    return done, time.perf_counter() - begin


def tell(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()


@contextmanager
def meanwhile(*works: Callable[[], object]) -> Iterator[None]:
    """Each of these in a thread of its own, again and again."""
    stop = threading.Event()
    failures: SimpleQueue[Exception] = SimpleQueue()

    def again(work: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                work()
        except Exception as error:
            failures.put(error)

    threads = [threading.Thread(target=again, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if not failures.empty():
        raise failures.get()


def run_jobs(url: str) -> None:
    """Every refresh, retention and columnstore job, one after the other."""
    with psycopg.connect(url, autocommit=True) as connection:
        for (job,) in connection.execute(JOBS).fetchall():
            connection.execute("CALL run_job(%s)", [job])


def panels(url: str) -> dict[str, Callable[[], object]]:
    """Every panel of every dashboard, with the first lots selected."""
    found: dict[str, Callable[[], object]] = {}

    def ask(query: str) -> list[Any]:
        with psycopg.connect(url) as connection:
            return connection.execute(query).fetchall()

    for dashboard in DASHBOARDS.values():
        variables = {}
        for variable in dashboard["templating"]["list"]:
            values = [variable["current"]["value"]] if variable["type"] == "custom" else []
            values = values or [row[1] for row in ask(expand(variable["query"], {}))[:SHOWN]]
            variables[variable["name"]] = values if variable.get("multi") else values[0]
        for panel in dashboard["panels"]:
            query = expand(panel["targets"][0]["rawSql"], variables)
            found[f"{dashboard['title']}: {panel['title']}"] = partial(ask, query)
    return found


def questions(url: str, name: str) -> dict[str, Callable[[], object]]:
    """Ten questions of notebooks: of one lot, and of the whole city."""
    day, week = timedelta(days=1), timedelta(days=7)
    now = datetime.now(UTC)
    return {
        "weekday_averages of a lot": partial(analytics.weekday_averages, name, url=url),
        "weekday_profile of a lot": partial(analytics.weekday_profile, name, url=url),
        "hourly_averages of a lot, a week": partial(
            analytics.hourly_averages, name, start=now - week, end=now, url=url
        ),
        "daily_averages of a lot": partial(analytics.daily_averages, name, url=url),
        "events of a lot, a day": lambda: list(analytics.events(name, start=now - day, end=now, url=url)),
        "peaks of a lot": partial(analytics.peaks, name, url=url),
        "uptime of all": partial(analytics.uptime, start=now - week, end=now, url=url),
        "latest of all": partial(analytics.latest, url=url),
        "weekday_averages of all": partial(analytics.weekday_averages, url=url),
        "hourly_averages of all, a day": partial(analytics.hourly_averages, start=now - day, end=now, url=url),
    }


def timed(asked: dict[str, Callable[[], object]], taken: dict[str, list[float]]) -> None:
    for what, question in asked.items():
        taken.setdefault(what, []).append(seconds(question))


class ServerProcesses:
    """The processes of a server on this machine, by Linux's /proc; nothing is known of a server elsewhere."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            backend = Path(f"/proc/{connection.info.backend_pid}/stat")
            local = backend.exists() and "postgres" in backend.read_text()
            self.postmaster = int(self._fields(backend)[1]) if local else None

    @staticmethod
    def _fields(stat: Path) -> list[str]:
        """What follows the program's name: state, parent, …"""
        return stat.read_text().rpartition(")")[2].split()

    def _children(self) -> Iterator[Path]:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if int(self._fields(folder / "stat")[1]) == self.postmaster:
                    yield folder
            except OSError:
                continue  # it has just ended

    def cpu_seconds(self) -> float | None:
        """Used so far by all of them, those that have ended included."""
        if self.postmaster is None:
            return None
        ticks = sum(map(int, self._fields(Path(f"/proc/{self.postmaster}/stat"))[11:15]))
        for folder in self._children():
            try:
                ticks += sum(map(int, self._fields(folder / "stat")[11:13]))
            except OSError:
                continue
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int | None:
        """Bytes, of which pages that several of them share count once (PSS)."""
        if self.postmaster is None:
            return None
        found = 0
        for folder in (Path(f"/proc/{self.postmaster}"), *self._children()):
            try:
                found += int((folder / "smaps_rollup").read_text().partition("\nPss:")[2].split()[0]) * 1024
            except (OSError, IndexError):
                continue
        return found


def found_city(server: RunningServer, cameras: int, hours: int) -> Store:
    """A store with so many cameras and two stretches of their minutes: until now, and eight days old."""
    store = Store.open(server.copy(), settings=Settings())
    recent = datetime.now(UTC).replace(second=0, microsecond=0)
    feeds = [
        made_up_feed(cameras, cameras * hours * 60, timedelta(minutes=1), end)
        for end in (midnight(8) + timedelta(hours=12), recent)
    ]
    add_cameras(store, feeds[0], {})
    for feed in feeds:
        store.record_frame(feed)
    return store


def sizes(store: Store) -> Iterator[dict[str, Any]]:
    """Megabytes of a camera and year in each relation; of raw rows as many as are kept for 90 days."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        held: dict[str, int] = dict(connection.execute(SIZES).fetchall())
        rows = {name: count(connection, name) for name in held}
        ((after,),) = connection.execute(SHRUNK).fetchall()
    dense, loose = (
        after / (rows[RAW] / 2),
        (held[RAW] - after) / (rows[RAW] / 2),
    )  # the older half is in the columnstore
    yield megabytes("raw rows of 90 days, as they come", loose * MINUTES_A_YEAR * KEPT)
    yield megabytes("raw rows of 90 days, in the columnstore", dense * MINUTES_A_YEAR * KEPT)
    for level, a_year in BUCKETS.items():
        name = f"occupancy_{level}"
        yield megabytes(f"{name}, a year, before its columnstore", held[name] / rows[name] * a_year)


def count(connection: psycopg.Connection[Any], relation: str) -> int:
    ((number,),) = connection.execute(f"SELECT count(*) FROM public.{relation}").fetchall()
    return int(number)


def megabytes(what: str, size: float) -> dict[str, Any]:
    return row(what, "MB", size / 1e6, 3)


def row(what: str, unit: str, value: float, digits: int = 2) -> dict[str, Any]:
    return {"what": what, "unit": unit, "value": round(float(value), digits)}


def latency(what: str, done: list[Ingest], taken: float) -> Iterator[dict[str, Any]]:
    times = [one for process in done for one in process.latencies]
    yield row(f"{what}: held", "events/s", len(times) / taken, 1)
    for share, name in ((0.5, "median"), (0.99, "slowest hundredth"), (1.0, "worst")):
        yield row(f"{what}: {name} of record", "ms", np.quantile(times, share) * 1e3)


def cost(what: str, processes: ServerProcesses, work: Callable[[], int]) -> Iterator[dict[str, Any]]:
    """Microseconds of the server's processors for each event, where they can be read."""
    before = processes.cpu_seconds()
    events = work()
    after = processes.cpu_seconds()
    if before is not None and after is not None:
        yield row(what, "µs/event", (after - before) / events * 1e6, 1)


def costs(store: Store, cameras: int, span: float, processes: ServerProcesses) -> Iterator[dict[str, Any]]:
    """What an event costs the server where it comes alone, and where it comes with others."""

    def alone() -> int:
        return sum(len(one.latencies) for one in ingest(store, span, 0)[0])

    def together() -> int:
        feed = made_up_feed(cameras, cameras * 10, timedelta(minutes=1), datetime.now(UTC))
        return store.record_frame(feed).inserted

    yield from cost("the server's work, an event by record", processes, alone)
    yield from cost("the server's work, an event in a frame", processes, together)


def held_by_a_processor(later: dict[str, Any], *each: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for how, own in zip(("by record", "in frames or by writers"), each, strict=True):
        microseconds = own["value"] + later["value"]
        yield row(f"cameras of a processor that is half busy, {how}", "cameras", 60e6 * BUSY / microseconds, 0)


def rows(server: RunningServer, cameras: int, hours: int, span: float) -> Iterator[dict[str, Any]]:
    """Rows of the table, as they are found."""
    rate = cameras / 60
    with found_city(server, cameras, hours) as store:
        processes = ServerProcesses(store.url)

        def jobs() -> int:
            run_jobs(store.url)
            return cameras * hours * 60

        later = list(cost("the server's work, an event in the jobs", processes, jobs))
        yield from later
        yield from sizes(store)
        yield from latency("paced, alone", *ingest(store, span, rate))
        taken: dict[str, list[float]] = {}
        works = [partial(run_jobs, store.url)]
        for asked in (panels(store.url), questions(store.url, store.cameras.list()[0].name)):
            works.append(partial(timed, asked, taken))
        with meanwhile(*works):
            yield from latency("paced, beside jobs and questions", *ingest(store, span, rate))
            done, fast = ingest(store, span, 0)
            memory = processes.memory()
        yield from latency("as fast as it goes, beside them", done, fast)
        yield row("memory of an ingest process, at its peak", "MB", max(one.peak_bytes for one in done) / 1e6, 0)
        if memory is not None:
            yield row("memory of the server", "MB", memory / 1e6, 0)
        yield from (row(what, "s", np.median(times), 3) for what, times in taken.items())
        each = list(costs(store, cameras, span, processes))
        yield from each
        if later:
            yield from held_by_a_processor(*later, *each)
