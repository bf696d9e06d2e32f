"""The end of raw rows: retention by the server's own job, or by pruning where the server has none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast, get_args

import psycopg
from psycopg import sql

from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.server import ServerKind, inspect_server
from timeseries.errors import ConfigurationError, InvalidInputError, ServerUnavailableError
from timeseries.maintenance.retention_record import check_keep, read_record, record_run, say_keep
from timeseries.model.parsing import interval_text
from timeseries.model.relations import TABLES, Family

ATTEMPTS = 5
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '3s'"
RETENTION_JOBS = """
    SELECT j.job_id, j.hypertable_name::text, j.scheduled
    FROM timescaledb_information.jobs AS j
    WHERE j.proc_name = 'policy_retention' AND j.hypertable_schema = 'public'
      AND j.hypertable_name IN ('occupancy_events', 'health_logs')
    ORDER BY j.job_id
"""
# What is not in the quarters yet would be lost with its chunk: it stays, from the first such row on. The watermark is a
# value, not a subquery: so the planner leaves chunks out, each of which it would lock.
WATERMARK = """
    SELECT watermark FROM timeseries.materializations
    WHERE family = split_part(%s, '_', 1) AND level = 'quarter_hourly'
"""
UNSUMMED = """
    SELECT coalesce(min("timestamp"), 'infinity')::text FROM public.{events} WHERE "timestamp" >= %s
"""
DROPPABLE = """
    SELECT c.range_start, c.range_end
    FROM timescaledb_information.jobs AS j
    JOIN timescaledb_information.chunks AS c USING (hypertable_schema, hypertable_name)
    WHERE j.job_id = %s AND c.range_end < now() - (j.config ->> 'drop_after')::interval
      AND c.range_end <= %s::timestamptz
    ORDER BY c.range_start
"""
COUNT_CHUNK = """
    SELECT count(*) FROM public.{events} WHERE "timestamp" >= %(start)s AND "timestamp" < %(end)s
"""
DROP_CHUNK = "SELECT public.drop_chunks({name}::regclass, older_than => %(end)s, newer_than => %(start)s)"


@dataclass(frozen=True, slots=True)
class PruneResult:
    """How many raw rows were removed, and before which moment (None where the server's own jobs decide)."""

    removed: int
    before: datetime | None


def prune(
    pool: Pool,
    keep: timedelta | None = None,
    *,
    default: timedelta | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PruneResult:
    """Remove raw rows older than `keep`, in whole UTC days; the averages stay.

    On TimescaleDB Community chunks are dropped that are older than the jobs' `drop_after` and in the quarters.
    Elsewhere each day is one transaction that keeps its quarters and then removes its rows: it can be interrupted,
    repeated, and run twice at once. It waits three seconds at most for a reader that holds a lock, lets writers
    pass and tries again. `keep`, else `default` where it is given, is recorded and rules from now on; without either
    the recorded length rules.

    Raises:
        InvalidInputError: `keep` is shorter than two days, or given on TimescaleDB Community, whose policies rule.
        ConfigurationError: retention is paused, as it is after a restore.
        ServerUnavailableError: the server is away, or a reader's open transaction held a lock at every attempt.
    """
    if keep is not None:
        check_keep(keep)
    with connected(pool) as connection:
        if inspect_server(connection).kind is ServerKind.COMMUNITY:
            if keep is not None:
                raise InvalidInputError(
                    f"prune cannot keep raw rows for {interval_text(keep)}: TimescaleDB has policies for that;"
                    f" run: timeseries policy set occupancy_events --drop-after '{interval_text(keep)}', and the same"
                    " for health_logs"
                )
            return PruneResult(_drop_chunks(connection, progress), None)
        before, started_at = _begin(connection, keep or default)
        days = [(family, day) for family in get_args(Family) for day in _days(connection, family, before)]
        connection.commit()
        removed = 0
        for done, (family, day) in enumerate(days, 1):
            removed += _prune_day(connection, family, day)
            if progress is not None:
                progress(done, len(days))
        record_run(connection, started_at, removed)
    return PruneResult(removed, before)


def _begin(connection: Connection, keep: timedelta | None) -> tuple[datetime, datetime]:
    """Before which moment raw rows go, and now, by the server's clock: that of the machine that prunes may be wrong."""
    if not read_record(connection).scheduled:
        raise ConfigurationError("retention is paused; to let it go on, run: timeseries jobs resume")
    if keep is not None:
        say_keep(connection, keep)
    keep = read_record(connection).keep
    ((before, now),) = connection.execute("SELECT date_trunc('day', now() - %s, 'UTC'), now()", [keep]).fetchall()
    return cast(datetime, before).astimezone(UTC), now


def _days(connection: Connection, family: Family, before: datetime) -> list[datetime]:
    """UTC days with raw rows before a moment."""
    query = sql.SQL("""
        SELECT DISTINCT date_trunc('day', "timestamp", 'UTC') AS day FROM {events} WHERE "timestamp" < %s ORDER BY day
    """).format(events=sql.Identifier("public", TABLES[family]))
    return [row[0] for row in connection.execute(query, [before]).fetchall()]


def _prune_day(connection: Connection, family: Family, day: datetime) -> int:
    statement = sql.SQL("SELECT timeseries.prune_day(%(family)s, %(day)s)")
    row = _patiently(connection, day, [statement], {"family": family, "day": day})
    return int(row[0]) if row else 0


def _drop_chunks(connection: Connection, progress: Callable[[int, int], None] | None) -> int:
    """Drop old chunks one by one. A job drops all of its chunks in one transaction, for which years of them need more
    locks than the server has, and does not ask whether they are in the quarters.
    """
    jobs = connection.execute(RETENTION_JOBS).fetchall()
    paused = [f"{job} ({events})" for job, events, scheduled in jobs if not scheduled]
    if paused:
        raise ConfigurationError(
            f"retention is paused, job {', '.join(paused)}; to let it go on, run: timeseries jobs resume"
        )
    old = [(events, *chunk) for job, events, _ in jobs for chunk in _droppable(connection, job, events)]
    connection.commit()
    removed = 0
    for done, (events, start, end) in enumerate(old, 1):
        names = {"events": sql.Identifier(events), "name": sql.Literal(f"public.{events}")}
        statements = [sql.SQL(text).format(**names) for text in (COUNT_CHUNK, DROP_CHUNK)]
        row = _patiently(connection, start, statements, {"start": start, "end": end})
        removed += int(row[0]) if row else 0
        if progress is not None:
            progress(done, len(old))
    return removed


def _droppable(connection: Connection, job: int, events: str) -> list[tuple[Any, ...]]:
    watermark = connection.execute(WATERMARK, [events]).fetchone() or (None,)
    unsummed = connection.execute(sql.SQL(UNSUMMED).format(events=sql.Identifier(events)), watermark).fetchone()
    return connection.execute(DROPPABLE, [job, *(unsummed or (None,))]).fetchall()


def _patiently(
    connection: Connection,
    day: datetime,
    statements: Sequence[sql.SQL | sql.Composed],
    parameters: dict[str, object],
) -> tuple[Any, ...] | None:
    """Run statements on a day's rows in a transaction of its own that gives way to whoever holds a lock for longer than
    a moment; the first row of the first one.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with connection.transaction():
                connection.execute(LOCK_TIMEOUT)
                first, *_ = [connection.execute(statement, parameters) for statement in statements]
                return first.fetchone()
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            if attempt == ATTEMPTS:
                raise ServerUnavailableError(
                    f"the raw rows of {day.astimezone(UTC):%Y-%m-%d} are locked: end the transactions that read them"
                    " or the cameras, and prune again"
                ) from error
            time.sleep(attempt)  # writers that queued behind us go first
    raise AssertionError("unreachable")
