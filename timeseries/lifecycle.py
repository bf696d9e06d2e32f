"""The end of raw rows: retention by the server's own job, or by pruning where the server has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import get_args

import psycopg
from psycopg import sql

from timeseries.batches import TABLES, Family
from timeseries.connections import Pool, connected
from timeseries.errors import InvalidInputError, ServerUnavailableError
from timeseries.server import ServerKind, inspect_server

RETENTION = timedelta(days=90)
SHORTEST = timedelta(days=2)
DAY = timedelta(days=1)
ATTEMPTS = 5
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '3s'"
RETENTION_JOBS = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' ORDER BY job_id"


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
    if keep < SHORTEST:
        raise InvalidInputError(f"cannot keep raw rows for {keep} only: the shortest retention is {SHORTEST}")
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


def _days(connection: psycopg.Connection[tuple[object, ...]], family: Family, before: datetime) -> list[datetime]:
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
    return [row[0] for row in connection.execute(query, {"before": before}).fetchall()]  # type: ignore[misc]


def _prune_day(connection: psycopg.Connection[tuple[object, ...]], family: Family, day: datetime) -> int:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connection.transaction():
                connection.execute(LOCK_TIMEOUT)
                row = connection.execute("SELECT timeseries.prune_day(%s, %s)", [family, day]).fetchone()
                return int(row[0]) if row else 0  # type: ignore[call-overload]
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if attempt == ATTEMPTS:
                raise ServerUnavailableError(
                    f"the raw rows of {day:%Y-%m-%d} are locked: end the transactions that read them, and prune again"
                ) from error
            time.sleep(attempt)  # writers that queued behind us go first
    raise AssertionError("unreachable")


def _run_jobs(connection: psycopg.Connection[tuple[object, ...]]) -> PruneResult:
    count = "SELECT (SELECT count(*) FROM public.occupancy_events) + (SELECT count(*) FROM public.health_logs)"
    before = connection.execute(count).fetchone()
    jobs = connection.execute(RETENTION_JOBS).fetchall()
    connection.commit()
    connection.autocommit = True
    try:
        for (job,) in jobs:
            connection.execute("CALL public.run_job(%s)", [job])
        after = connection.execute(count).fetchone()
    finally:
        connection.autocommit = False
    assert before is not None  # noqa: S101 - one row each
    assert after is not None  # noqa: S101
    return PruneResult(int(before[0]) - int(after[0]), None)  # type: ignore[call-overload]
