"""Exponential backoff between retries."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays(first: float = 0.1, longest: float = 15.0) -> Iterator[float]:
    """Seconds to wait, doubled each time up to `longest`, with jitter down to half; endless."""
    limit = first
    while True:
        yield random.uniform(limit / 2, limit)  # noqa: S311 - not a secret
        limit = min(limit * 2, longest)
