"""The events of a soak: a camera's n-th is the same in every process."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from uuid import UUID

from timeseries import OccupancyEvent

SPAN = timedelta(days=12)  # most events are of these days before the end
LATE = timedelta(days=80)  # some are older, and none so old that retention removes it
MICROSECOND = timedelta(microseconds=1)


def event_at(camera: UUID, seed: int, number: int, end: datetime) -> OccupancyEvent:
    chance = random.Random(f"{seed} {camera} {number}")
    span = LATE if chance.random() < 0.05 else SPAN
    back = chance.randrange(1, span // MICROSECOND)
    return OccupancyEvent(camera, end - back * MICROSECOND, chance.randrange(90))
