"""How long to wait before another try."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays(first: float = 0.1, longest: float = 15.0) -> Iterator[float]:
    """Seconds to wait: exponential backoff with full jitter, for ever."""
    limit = first
    while True:
        yield random.uniform(limit / 2, limit)  # noqa: S311 - not a secret
        limit = min(limit * 2, longest)
