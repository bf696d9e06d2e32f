"""Which errors are the fault of the data, judged by SQLSTATE, and how long to wait before another try."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg

# Data exceptions, integrity constraints, and limits that a value exceeds. Source: PostgreSQL, appendix A, error codes.
DATA_CLASSES = frozenset({"22", "23", "54"})


def blames_data(error: BaseException) -> bool:
    """Whether it is the fault of the data, so that no try can help. All else passes, or an operator mends it."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, ValueError)  # as InvalidInputError is
    if error.sqlstate is None:
        return isinstance(error, psycopg.DataError)  # the driver's own, before anything was sent
    return error.sqlstate[:2] in DATA_CLASSES


def delays(first: float = 0.1, longest: float = 15.0) -> Iterator[float]:
    """Seconds to wait: exponential backoff with full jitter, for ever."""
    limit = first
    while True:
        yield random.uniform(limit / 2, limit)  # noqa: S311 - not a secret
        limit = min(limit * 2, longest)
