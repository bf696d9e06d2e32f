"""Plausible sample data: a handful of lots in different zones, each with a feed of its own kind."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from timeseries.model.events import HealthLog, OccupancyEvent

NAMESPACE = uuid.UUID("6f1c9f2e-6c1b-4c39-9a55-3d9d0e6f2f4a")
HEALTH_INTERVAL = timedelta(hours=6)
Feed = Literal["periodic", "changes", "outages"]


@dataclass(frozen=True, slots=True)
class SampleLot:
    """A lot of the demonstration and how its camera reports."""

    name: str
    timezone: str
    capacity: int
    feed: Feed
    busiest_hour: float
    weekend: float

    @property
    def id(self) -> uuid.UUID:
        return uuid.uuid5(NAMESPACE, self.name)


LOTS = (
    SampleLot("North Lot", "America/New_York", 180, "periodic", 13.0, 0.35),
    SampleLot("Harbour Garage", "Europe/Berlin", 420, "changes", 15.0, 1.15),
    SampleLot("Station Deck", "Asia/Kolkata", 260, "outages", 11.0, 0.8),
    SampleLot("Beach Road", "Australia/Lord_Howe", 60, "changes", 12.0, 1.6),
)


def occupancy(lot: SampleLot, at: datetime, noise: float) -> int:
    """Cars in the lot: a bell over the local day, another level at the weekend, some noise."""
    local = at.astimezone(ZoneInfo(lot.timezone))
    hour = local.hour + local.minute / 60
    bell = math.exp(-(((hour - lot.busiest_hour) / 3.6) ** 2))
    level = lot.weekend if local.isoweekday() > 5 else 1.0
    return max(0, min(lot.capacity, round(lot.capacity * (0.08 + 0.75 * bell * level) + noise * lot.capacity * 0.03)))


def events(lot: SampleLot, start: datetime, end: datetime) -> Iterator[OccupancyEvent | HealthLog]:
    """Events of [start, end), about in order of time; the same for the same arguments. The last outage is over some
    hours before the end, because a lot that is silent on arrival would look like a fault of the demonstration.
    """
    return (event for event in _reports(lot, start, end) if event.timestamp < end)


def _reports(lot: SampleLot, start: datetime, end: datetime) -> Iterator[OccupancyEvent | HealthLog]:
    chance = random.Random(f"{lot.name} {start.isoformat()}")  # noqa: S311 - not a secret
    noise, last = 0.0, -1
    down_until, last_outage = start, end - HEALTH_INTERVAL
    yield HealthLog(lot.id, start.astimezone(UTC), "healthy")
    at = start
    while at < end:
        noise = 0.9 * noise + chance.gauss(0, 0.4)
        number = occupancy(lot, at, noise)
        if lot.feed == "outages" and down_until <= at < last_outage and chance.random() < 0.0008:
            down_until = min(at + timedelta(hours=chance.uniform(2, 60)), last_outage)
            yield HealthLog(lot.id, at + timedelta(seconds=20), "disconnected", "RTSP timeout")
            yield HealthLog(lot.id, down_until, "healthy", "reconnected")
        if start < at >= down_until and (at - start) % HEALTH_INTERVAL < timedelta(minutes=5):
            yield HealthLog(lot.id, at, "healthy")
        if at >= down_until and (lot.feed != "changes" or abs(number - last) > lot.capacity * 0.02):
            yield OccupancyEvent(lot.id, at + timedelta(seconds=chance.randrange(20)), number)
            last = number
        at += timedelta(minutes=5)
