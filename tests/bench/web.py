"""The web rows of `make bench`: many answers at once in one process, and scrapes of its exporter."""

from __future__ import annotations

import asyncio
import urllib.request
from datetime import timedelta
from typing import Any

import analytics
from analytics import aio
from analytics.query import Ranged
from tests.bench.answers import ZONE, alternate, feed, figure
from tests.support.peak_memory import peak_memory
from tests.support.servers import RunningServer
from timeseries import Store, StoreCollector
from timeseries.monitoring.exposition import served
from timeseries.monitoring.store_metrics import read_metrics
from timeseries.settings import Settings

AT_ONCE = 64
EVENTS = """
import asyncio
from analytics import aio
from analytics.query import Ranged

async def ask():
    return len(await aio.aggregate_rows("occupancy_hourly", url={url!r}))

async def asked(number):
    await asyncio.gather(*(ask() for _ in range(number)))

asyncio.run(asked({number}))
"""


def answers(store: Store, rounds: int) -> list[dict[str, Any]]:
    """Weekday averages of a quarter of a year, each of another camera."""
    names = [f"lot {i}" for i in range(AT_ONCE)]
    for name in names:
        store.cameras.add(name, timezone=ZONE)
    start, end = feed(store, names, 90, timedelta(minutes=30))
    asked: Ranged = {"start": start, "end": end, "url": store.url}

    def one_by_one() -> list[Any]:
        return [analytics.weekday_averages(name, **asked) for name in names]

    def at_once() -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*(aio.weekday_averages(name, **asked) for name in names))

        return asyncio.run(together())

    for expected, found in zip(one_by_one(), at_once(), strict=True):
        assert expected.equals(found)
    own, reference = alternate(rounds, at_once, one_by_one)
    return [figure(f"{AT_ONCE} answers at once, against one after another", own, reference)]


def memory(store: Store) -> dict[str, Any]:
    """The peak of a process that asks for the same 140,000 rows many times at once, against asking by fours."""
    peaks = [peak_memory(EVENTS.format(url=store.url, number=number)) for number in (4, AT_ONCE)]
    what = f"memory of {AT_ONCE} answers at once, in MB, against 4"
    return {"what": what, "seconds": peaks[1] / 1000, "ratio": round(peaks[1] / peaks[0], 2)}


def scrapes(store: Store, rounds: int) -> list[dict[str, Any]]:
    """A scrape of the exporter among 5,000 cameras, against reading the store for it; kilobytes, against 100."""
    with store.pool.connection() as connection:
        connection.execute("INSERT INTO cameras (name) SELECT 'many ' || i FROM generate_series(1, 5000) AS i")
    with StoreCollector(store.url) as collector, served(collector, "127.0.0.1", 0) as port:

        def scrape() -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                return bytes(answer.read())

        size = len(scrape()) / 1000
        own, reference = alternate(rounds, scrape, lambda: read_metrics(store.url))
    return [
        figure("a scrape, 5,000 cameras, against a reading of the store", own, reference),
        {"what": "its kilobytes, of 100", "seconds": size, "ratio": round(size / 100, 2)},
    ]


def rows(server: RunningServer, rounds: int) -> list[dict[str, Any]]:
    url = server.copy()
    with Store.open(url, settings=Settings()) as store:
        found = [*answers(store, rounds), memory(store), *scrapes(store, rounds)]
    server.drop()
    return found
