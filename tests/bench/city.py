"""A city on one server: thousands of cameras at an event a minute, its jobs, dashboards and notebooks all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import psycopg

import analytics
from tests.bench.history import add_cameras, made_up_feed, midnight
from tests.bench.ingest_process import Ingest, Load, ingest
from tests.bench.life import COLUMNSTORE, REFRESH, run_jobs, seconds
from tests.bench.server_processes import ServerProcesses
from tests.support.faults import repeated
from tests.support.grafana_queries import DASHBOARDS, expand
from tests.support.servers import RunningServer
from timeseries import Store
from timeseries.settings import Settings

PROCESSES = 4
AT_LEAST = 500_000  # events of a frame, because processors are counted in hundredths of a second
SHOWN = 20  # lots that a dashboard shows at once
MINUTES_A_YEAR = 60 * 24 * 365
KEPT = 90 / 365  # of a year's raw rows
LOOSE = 7 / 90  # of those, which are not in the columnstore yet
BUCKETS = {"quarter_hourly": MINUTES_A_YEAR / 15, "hourly": MINUTES_A_YEAR / 60, "weekday": 365}
BUSY = 0.5  # of the processors, at most, that a server which is sized well spends on what never stops
SERVERS = (2, 8, 32)  # processors
BY_RECORD, IN_FRAME = "an event by record", "an event in a frame"
RAW = "occupancy_events"
SELECT_BELOW_WATERMARK = """
    SELECT count(*) FROM occupancy_events WHERE "timestamp" < (
        SELECT watermark FROM timeseries.materializations WHERE family = 'occupancy' AND level = 'quarter_hourly')
"""
SELECT_COMPRESSED = """
    SELECT count(*) FROM occupancy_events WHERE "timestamp" < (
        SELECT max(range_end) FROM timescaledb_information.chunks
        WHERE hypertable_name = 'occupancy_events' AND is_compressed)
"""
SHRUNK = """
    SELECT after_compression_total_bytes
    FROM hypertable_columnstore_stats('occupancy_events')
"""
SIZES = """
    SELECT 'occupancy_events', hypertable_size('occupancy_events')
    UNION ALL
    SELECT family || '_' || level, hypertable_size(relation) FROM timeseries.materializations WHERE family = 'occupancy'
"""


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


def first_year(disk: list[dict[str, Any]]) -> float:
    """Megabytes of a camera after a year: raw rows of a week as they come, of 83 days compressed, and aggregates."""
    loose, dense, *aggregates = (found["value"] for found in disk)
    return float(loose * LOOSE + dense * (1 - LOOSE) + sum(aggregates))


def count(connection: psycopg.Connection[Any], relation: str) -> int:
    ((number,),) = connection.execute(f"SELECT count(*) FROM public.{relation}").fetchall()
    return int(number)


def megabytes(what: str, size: float) -> dict[str, Any]:
    return row(what, "MB", size / 1e6, 3)


def row(what: str, unit: str, value: float, digits: int = 2) -> dict[str, Any]:
    return {"what": what, "unit": unit, "value": round(float(value), digits)}


def latency(what: str, done: list[Ingest]) -> Iterator[dict[str, Any]]:
    times = [one for process in done for one in process.latencies]
    yield row(f"{what}: held", "events/s", len(times) / max(process.seconds for process in done), 1)
    for share, name in ((0.5, "median"), (0.99, "slowest hundredth"), (1.0, "worst")):
        yield row(f"{what}: {name} of record", "ms", np.quantile(times, share) * 1e3)


@dataclass(frozen=True)
class Cost:
    """What an event costs the server: microseconds of its processors, and bytes of WAL."""

    what: str
    microseconds: float
    wal: float

    def rows(self) -> Iterator[dict[str, Any]]:
        yield row(f"the server's work, {self.what}", "µs/event", self.microseconds, 1)
        yield row(f"WAL, {self.what}", "bytes/event", self.wal, 0)


def costs(store: Store, processes: ServerProcesses, works: dict[str, Callable[[], int]]) -> list[Cost]:
    """What an event of each work costs, which returns how many it had; nothing where the server is elsewhere."""
    found = []
    for what, work in works.items():
        before, wal = processes.cpu_seconds(), wal_bytes(store)
        events = work()
        after = processes.cpu_seconds()
        if before is not None and after is not None:
            found.append(Cost(what, (after - before) / events * 1e6, (wal_bytes(store) - wal) / events))
    return found


def wal_bytes(store: Store) -> int:
    """Written so far."""
    with psycopg.connect(store.url) as connection:
        ((written,),) = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchall()
    return int(written)


def arriving(store: Store, cameras: int, fast: Load) -> dict[str, Callable[[], int]]:
    """Two ways in which an event arrives: alone, or with others."""

    def alone() -> int:
        return sum(len(one.latencies) for one in ingest(store, PROCESSES, fast))

    def together() -> int:
        minutes = max(10, AT_LEAST // cameras)
        feed = made_up_feed(cameras, cameras * minutes, timedelta(minutes=1), datetime.now(UTC))
        return store.record_frame(feed).inserted

    return {BY_RECORD: alone, IN_FRAME: together}


def refreshed(store: Store, materialized: int) -> int:
    """Run the refresh jobs; how many events they have materialized beside those that were so before."""
    run_jobs(store.url, (REFRESH,))
    with psycopg.connect(store.url) as connection:
        ((below,),) = connection.execute(SELECT_BELOW_WATERMARK).fetchall()
    return int(below) - materialized


def compressed(store: Store) -> int:
    """Run the columnstore jobs; how many events are in the columnstore."""
    run_jobs(store.url, (COLUMNSTORE,))
    with psycopg.connect(store.url) as connection:
        ((rows,),) = connection.execute(SELECT_COMPRESSED).fetchall()
    return int(rows)


def held(later: list[Cost], each: list[Cost], disk: float, panels: float) -> Iterator[dict[str, Any]]:
    """What servers hold whose processors are half busy with events, and answer with the other half: linear, from what
    this one measured. `disk` is in megabytes of a camera, `panels` the mean seconds of one.
    """
    for own in each:
        work = [own, *later]
        minutely = 60e6 * BUSY / sum(part.microseconds for part in work)
        for number in SERVERS:
            cameras = number * minutely
            name = f"{number} processors, {own.what}"
            yield row(f"{name}: cameras", "cameras", cameras, 0)
            yield row(f"{name}: disk of the first year", "TB", cameras * disk / 1e6, 1)
            yield row(f"{name}: WAL", "MB/s", cameras / 60 * sum(part.wal for part in work) / 1e6, 1)
    yield row("a panel of a dashboard, in the mean", "s", panels, 3)
    for number in SERVERS:
        yield row(f"{number} processors: panels of dashboards", "panels/s", number * (1 - BUSY) / panels, 0)


def rows(server: RunningServer, cameras: int, hours: int, span: float) -> Iterator[dict[str, Any]]:
    """Rows of the table, as they are found."""
    paced = Load(span, cameras / 60, late=0.01, age=3600)
    fast = replace(paced, rate=0)
    with found_city(server, cameras, hours) as store:
        processes = ServerProcesses(store.url)
        jobs: dict[str, Callable[[], int]] = {
            "an event in a refresh": partial(refreshed, store, cameras * hours * 60),
            "an event into the columnstore": partial(compressed, store),
        }
        later = costs(store, processes, jobs)
        disk = list(sizes(store))
        yield from disk
        yield from latency("paced, alone", ingest(store, PROCESSES, paced))
        taken: dict[str, list[float]] = {}
        works: list[Callable[[], object]] = [partial(run_jobs, store.url)]
        for asked in (panels(store.url), questions(store.url, store.cameras.list()[0].name)):
            works.append(partial(timed, asked, taken))
        with repeated(*works):
            yield from latency("paced, beside jobs and questions", ingest(store, PROCESSES, paced))
            done = ingest(store, PROCESSES, fast)
            memory = processes.memory()
        yield from latency("as fast as it goes, beside them", done)
        yield row("memory of an ingest process, at its peak", "MB", max(one.peak_bytes for one in done) / 1e6, 0)
        if memory is not None:
            yield row("memory of the server", "MB", memory / 1e6, 0)
        yield from (row(what, "s", np.median(times), 3) for what, times in taken.items())
        each = costs(store, processes, arriving(store, cameras, fast))
        for one in (*later, *each):
            yield from one.rows()
        if each:
            shown = [time for what, times in taken.items() if ": " in what for time in times]
            yield from held(later, each, first_year(disk), float(np.mean(shown)))
