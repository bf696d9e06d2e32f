"""Six lots with irregular events of a year, and what the server took for now in its latest answer."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
import pytest

from analytics import arrow_client, query
from analytics.session import Fetch
from tests.support.brute_force import QUARTER
from tests.support.keys import SECRET_KEY
from tests.support.servers import RunningServer
from timeseries import Camera, HealthLog, OccupancyEvent, ServerKind, Store
from timeseries.model.relations import HEALTH_STATUSES
from timeseries.settings import Settings

ZONES = (
    "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns",
)  # fmt: skip
YEAR = (datetime(2025, 11, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))


@dataclass(repr=False)
class Lot:
    """A camera and what it saw."""

    camera: Camera
    counts: list[tuple[datetime, int]]
    logs: list[tuple[datetime, str, str | None]]

    @property
    def zone(self) -> ZoneInfo:
        return self.camera.zone


@dataclass(repr=False)
class Year:
    """Six lots with irregular events of a year and a lot of today, in a database of one kind of server."""

    store: Store
    now: datetime  # when the last lot was built
    asked_at: datetime  # now() in the transaction of the latest answer
    lots: list[Lot] = field(default_factory=list, repr=False)

    def asking(self, work: Callable[[Fetch], Any], url: str | None = None) -> Any:
        """What `work` makes of the rows; notes now of the same transaction, up to which an observation stands."""

        def timed(fetch: Fetch) -> Any:
            self.asked_at = fetch("SELECT now() AS at", {})["at"][0].as_py()
            return work(fetch)

        return arrow_client.ask(timed, url)

    def ask(self, question: Callable[..., Any], lot: Lot, start: datetime, end: datetime, **more: Any) -> pd.DataFrame:
        found: pd.DataFrame = question(lot.camera, start=start, end=end, url=self.store.url, **more)
        return found

    def forget_raw_rows(self) -> None:
        """Remove the raw rows of the first months, as retention does on this kind of server."""
        if self.store.server().kind is not ServerKind.COMMUNITY:
            assert self.store.prune(timedelta(days=100)).removed > 0
            return
        with psycopg.connect(self.store.url, autocommit=True) as connection:
            for events in ("occupancy_events", "health_logs"):
                connection.execute(
                    "SELECT public.drop_chunks(format('public.%%I', %s::text)::regclass, %s::timestamptz)",
                    [events, YEAR[0] + timedelta(days=200)],
                )


def irregular(chance: random.Random, start: datetime, end: datetime, mean: timedelta) -> list[datetime]:
    """Moments with gaps from a second to many times the mean; now and then exactly on a quarter of an hour."""
    times = [start]
    while (at := times[-1] + timedelta(seconds=1 + chance.expovariate(1 / mean.total_seconds()))) < end:
        if chance.random() < 0.1:
            at = datetime.fromtimestamp(-(-at.timestamp() // 900) * 900, UTC)
        times.append(max(at, times[-1] + timedelta(seconds=1)))
    return times[1:]


def add_lot(year: Year, name: str, zone: str, hold: timedelta, start: datetime, end: datetime, mean: timedelta) -> None:
    chance = random.Random(name)
    camera = year.store.cameras.add(name, timezone=zone, hold=hold, capacity=200)
    counts = [(at, chance.randrange(200)) for at in irregular(chance, start, end, mean)]
    logs = [
        (at, chance.choice(HEALTH_STATUSES), chance.choice([None, f"message {i}"]))
        for i, at in enumerate(irregular(chance, start, end, mean * 20))
    ]
    year.lots.append(Lot(camera, counts, logs))
    events = [OccupancyEvent(camera.id, *count) for count in counts] + [HealthLog(camera.id, *log) for log in logs]
    assert year.store.record(events).rejected == ()


@contextmanager
def opened(url: str) -> Iterator[Year]:
    with Store.open(url, settings=Settings(secret_key=SECRET_KEY)) as store, pytest.MonkeyPatch.context() as patch:
        now = datetime.now(UTC)
        built = Year(store, now, now)
        patch.setattr(query, "ask", built.asking)
        for number, zone in enumerate(ZONES):
            hold = timedelta(days=1) if number % 2 else timedelta(hours=5)
            add_lot(built, zone, zone, hold, *YEAR, timedelta(hours=6))
        add_lot(built, "today", "Europe/Berlin", timedelta(hours=2), now - timedelta(days=4), now, timedelta(minutes=9))
        yield built


@pytest.fixture(scope="module")
def year(server: RunningServer) -> Iterator[Year]:
    with opened(server.copy()) as built:
        yield built
    server.drop()


def ranges(lot: Lot, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Any quarter to any quarter; from before the first event; into the future; only the future."""
    chance = random.Random(lot.camera.name)
    first = datetime.fromtimestamp(lot.counts[0][0].timestamp() // 900 * 900, UTC)
    length = lot.counts[-1][0] - first
    for quarters in (1, 5, 97, 4000):
        start = first + chance.randrange(length // QUARTER) * QUARTER
        yield start, start + quarters * QUARTER
    yield first - timedelta(days=40), first + timedelta(days=2, minutes=45)
    tomorrow = datetime.fromtimestamp(now.timestamp() // 900 * 900, UTC) + timedelta(days=1)
    yield tomorrow - timedelta(days=3), tomorrow
    yield tomorrow, tomorrow + timedelta(days=2)
