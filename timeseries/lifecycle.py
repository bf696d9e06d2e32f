"""The end of raw rows: retention by the server's own job, or by pruning where the server has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, get_args

import psycopg
from psycopg import sql

from timeseries.batches import TABLES, Family
from timeseries.connections import Connection, Pool, connected
from timeseries.errors import InvalidInputError, ServerUnavailableError
from timeseries.policy_rules import SHORTEST_RETENTION
from timeseries.server import ServerKind, inspect_server

RETENTION = timedelta(days=90)
DAY = timedelta(days=1)
ATTEMPTS = 5
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '3s'"
COUNT = "SELECT (SELECT count(*) FROM public.occupancy_events) + (SELECT count(*) FROM public.health_logs)"
RETENTION_JOBS = """
    SELECT job_id FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_retention' AND hypertable_name IN ('occupancy_events', 'health_logs') ORDER BY job_id
"""


@dataclass(frozen=True, slots=True)
class PruneResult:
    """How many raw rows were removed, and before which moment (None where the server's own jobs decide)."""

    removed: int
    before: datetime | None


def prune(
    pool: Pool, keep: timedelta = RETENTION, *, progress: Callable[[int, int], None] | None = None
) -> PruneResult:
    """Remove raw rows older than `keep`, in whole UTC days; the averages stay.

    On TimescaleDB Community the retention jobs run, with their own `drop_after`. Elsewhere each day is one transaction
    that keeps its quarters and then removes its rows: it can be interrupted, repeated, and run twice at once. It waits
    three seconds at most for a reader that holds a lock, lets writers pass and tries again.

    Raises:
        InvalidInputError: `keep` is shorter than two days.
        ServerUnavailableError: the server is away, or a reader's open transaction held a lock at every attempt.
    """
    if keep < SHORTEST_RETENTION:
        raise InvalidInputError(f"cannot keep raw rows for {keep} only: the shortest retention is {SHORTEST_RETENTION}")
    with connected(pool) as connection:
        if inspect_server(connection).kind is ServerKind.COMMUNITY:
            return _run_jobs(connection)
        before = (datetime.now(UTC) - keep).replace(hour=0, minute=0, second=0, microsecond=0)
        days = [(family, day) for family in get_args(Family) for day in _days(connection, family, before)]
        connection.commit()
        removed = 0
        for done, (family, day) in enumerate(days, 1):
            removed += _prune_day(connection, family, day)
            if progress is not None:
                progress(done, len(days))
    return PruneResult(removed, before)


def _days(connection: Connection, family: Family, before: datetime) -> list[datetime]:
    """UTC days with raw rows before a moment; each is found by one step along an index, not by reading all rows."""
    query = sql.SQL("""
        WITH RECURSIVE days AS (
            SELECT date_trunc('day', min("timestamp"), 'UTC') AS day FROM {events}
            UNION ALL
            SELECT (SELECT date_trunc('day', min("timestamp"), 'UTC') FROM {events}
                    WHERE "timestamp" >= d.day + interval '24 hours' AND "timestamp" < %(before)s)
            FROM days AS d WHERE d.day IS NOT NULL
        )
        SELECT day FROM days WHERE day < %(before)s
    """).format(events=sql.Identifier("public", TABLES[family]))
    return [row[0] for row in connection.execute(query, {"before": before}).fetchall()]


def _prune_day(connection: Connection, family: Family, day: datetime) -> int:
    statement = "SELECT timeseries.prune_day(%s, %s)"
    row = _patiently(connection, f"the raw rows of {day:%Y-%m-%d}", statement, [family, day])
    return int(row[0]) if row else 0


def _run_jobs(connection: Connection) -> PruneResult:
    jobs = connection.execute(RETENTION_JOBS).fetchall()
    before = connection.execute(COUNT).fetchone()
    connection.commit()
    for (job,) in jobs:
        _patiently(connection, "raw rows", "CALL public.run_job(%s)", [job])
    after = connection.execute(COUNT).fetchone()
    assert before is not None  # noqa: S101 - one row each
    assert after is not None  # noqa: S101
    return PruneResult(int(before[0]) - int(after[0]), None)


def _patiently(
    connection: Connection, what: str, statement: LiteralString, parameters: list[object]
) -> tuple[Any, ...] | None:
    """Run a statement in a transaction of its own that gives way to whoever holds a lock for longer than a moment."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connection.transaction():
                connection.execute(LOCK_TIMEOUT)
                cursor = connection.execute(statement, parameters)
                return cursor.fetchone() if cursor.description else None
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if attempt == ATTEMPTS:
                raise ServerUnavailableError(
                    f"{what} are locked: end the transactions that read them or the cameras, and prune again"
                ) from error
            time.sleep(attempt)  # writers that queued behind us go first
    raise AssertionError("unreachable")
