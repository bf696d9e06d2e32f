"""Which errors pass by themselves, judged by SQLSTATE, and how long to wait before another try."""

from __future__ import annotations

import random
from collections.abc import Iterator

import psycopg

from timeseries.errors import ConfigurationError, NotAllowedError, NotMigratedError, ServerUnavailableError

# Connection exceptions, rollbacks (deadlocks), resources (disk, memory, connections), locks, operator intervention,
# system errors. Source: PostgreSQL, appendix A, error code classes.
PASSING_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
READ_ONLY = "25006"  # a standby, before it is promoted
# An operator can mend these; the events are not at fault.
MENDABLE = (ServerUnavailableError, NotMigratedError, NotAllowedError, ConfigurationError)


def passes(error: BaseException) -> bool:
    """Whether trying again can help; without a SQLSTATE the connection itself failed."""
    if isinstance(error, MENDABLE):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate[:2] in PASSING_CLASSES or error.sqlstate == READ_ONLY


def delays(first: float = 0.1, longest: float = 15.0) -> Iterator[float]:
    """Seconds to wait: exponential backoff with full jitter, for ever."""
    limit = first
    while True:
        yield random.uniform(limit / 2, limit)  # noqa: S311 - not a secret
        limit = min(limit * 2, longest)
