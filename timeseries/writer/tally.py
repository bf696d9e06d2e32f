"""What a writer counts: why events were rejected, in few kinds, and how long batches took."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter

# A kind of rejection, and a part of its reasons. The order counts: the first that fits.
REASONS = (
    ("unknown_camera", "no camera has the id"),
    ("camera_id", "is not a UUID"),
    ("future", "ahead of the clock"),
    ("finalized", "removed by retention"),
    ("timestamp", "timestamp"),
    ("occupied_count", "occupied_count"),
    ("raw_data", "raw_data"),
    ("status", "status"),
    ("message", "message"),
    ("server", "refused"),
)
OTHER = "other"
KINDS = (*(kind for kind, _ in REASONS), OTHER)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, math.inf)  # seconds


def kind_of(reason: str) -> str:
    """The kind of a rejection: so many there are, whatever the values in the reasons."""
    return next((kind for kind, part in REASONS if part in reason), OTHER)


class Tally:
    """Rejections by kind; stored batches by the seconds that they took. One thread counts, others read."""

    def __init__(self) -> None:
        self.rejected = Counter[str]()
        self.batches = [0] * len(BOUNDS)
        self.seconds = 0.0

    def batch(self, seconds: float) -> None:
        self.batches[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
