"""What a writer counts: rejected events by kind, and how long batches took."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter

from timeseries.model.events import RejectionKind

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, math.inf)  # seconds


class Tally:
    """Rejections by kind; stored batches by the seconds that they took. One thread counts, others read."""

    def __init__(self) -> None:
        self.rejected = Counter[RejectionKind]()
        self.batches = [0] * len(BOUNDS)
        self.seconds = 0.0

    def batch(self, seconds: float) -> None:
        self.batches[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
