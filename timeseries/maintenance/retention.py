"""Pruning of raw rows on request: what the retention jobs do, or what the store does where there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

from psycopg import sql

from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.retries import LOCKED, retried
from timeseries.database.rows import value
from timeseries.database.server import ServerKind, inspect_server
from timeseries.errors import ConfigurationError, InvalidInputError, ServerUnavailableError
from timeseries.maintenance.retention_record import check_keep, read_record, record_run, say_keep
from timeseries.model.parsing import interval_text
from timeseries.model.relations import FAMILIES, Family
from timeseries.progress import Progress, track

SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '3s'"
SELECT_ARCHIVED = "SELECT timeseries.is_archived(%s, %s)"
# An archive holds TimescaleDB's jobs back; whether retention is paused, the record says then.
SELECT_RETENTION_JOBS = """
    SELECT j.job_id, j.hypertable_name::text,
           CASE WHEN EXISTS (SELECT FROM timeseries.archive) THEN EXISTS (SELECT FROM timeseries.retention_run AS r
                                                                          WHERE r.scheduled)
                ELSE j.scheduled END
    FROM timescaledb_information.jobs AS j
    WHERE j.proc_name = 'policy_retention' AND j.hypertable_schema = 'public'
      AND j.hypertable_name IN ('occupancy_events', 'health_logs')
    ORDER BY j.job_id
"""
# A chunk that has rows above the watermark is not dropped, because they are in no aggregate yet. The watermark is
# passed as a value and not as a subquery, so that the planner excludes chunks: it locks each chunk that it plans for.
SELECT_WATERMARK = """
    SELECT watermark FROM timeseries.materializations
    WHERE family = split_part(%s, '_', 1) AND level = 'quarter_hourly'
"""
SELECT_UNSUMMED = """
    SELECT coalesce(min("timestamp"), 'infinity')::text FROM public.{events} WHERE "timestamp" >= %s
"""
SELECT_DROPPABLE = """
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
PRUNE_DAY = "SELECT timeseries.prune_day(%s, %s)"
# The archive is asked under the lock of drop_chunks, which writers take first: nothing is stored between the two.
LOCK_CAMERAS = "LOCK TABLE public.cameras IN ACCESS EXCLUSIVE MODE"
LET_GO = "SELECT timeseries.let_go({family}, %(start)s, %(end)s, %(count)s)"
DROP_CHUNK = "SELECT public.drop_chunks({name}::regclass, older_than => %(end)s, newer_than => %(start)s)"


@dataclass(frozen=True, slots=True)
class PruneResult:
    """How many raw rows were removed, and before which moment (None where the server's own jobs decide); `held` days
    stayed because the archive does not have them.
    """

    removed: int
    before: datetime | None
    held: int = 0


def prune(
    pool: Pool, keep: timedelta | None = None, *, default: timedelta | None = None, progress: Progress = None
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
            return _drop_chunks(connection, progress)
        before, started_at = _begin(connection, keep or default)
        days = [(family, day) for family in FAMILIES for day in _days(connection, family, before)]
        archived = [(family, day) for family, day in days if value(connection, SELECT_ARCHIVED, [family.name, day])]
        connection.commit()
        removed = 0
        for family, day in track(archived, progress):
            removed += _patiently(connection, day, partial(value, connection, PRUNE_DAY, [family.name, day]))
        record_run(connection, started_at, removed)
    return PruneResult(removed, before, len(days) - len(archived))


def _begin(connection: Connection, keep: timedelta | None) -> tuple[datetime, datetime]:
    """The moment before which raw rows are removed, and now; both by the server's clock, because ours may be wrong."""
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
    """).format(events=sql.Identifier("public", family.table))
    return [row[0] for row in connection.execute(query, [before]).fetchall()]


def _drop_chunks(connection: Connection, progress: Progress) -> PruneResult:
    """Drop old chunks, each in a transaction of its own: the job drops all of them in one, for which years of chunks
    need more locks than the server has, and it does not compare them with the watermark.
    """
    jobs = connection.execute(SELECT_RETENTION_JOBS).fetchall()
    paused = [f"{job} ({events})" for job, events, scheduled in jobs if not scheduled]
    if paused:
        raise ConfigurationError(
            f"retention is paused, job {', '.join(paused)}; to let it go on, run: timeseries jobs resume"
        )
    started_at = value(connection, "SELECT now()")
    families = {family.table: family for family in FAMILIES}
    old = [(families[events], *chunk) for job, events, _ in jobs for chunk in _droppable(connection, job, events)]
    archived = [chunk for chunk in old if value(connection, SELECT_ARCHIVED, [chunk[0].name, chunk[1]])]
    connection.commit()
    removed = 0
    for family, start, end in track(archived, progress):
        removed += _patiently(connection, start, partial(_drop_chunk, connection, family, start=start, end=end))
    record_run(connection, started_at, removed)
    return PruneResult(removed, None, len(old) - len(archived))


def _drop_chunk(connection: Connection, family: Family, **span: datetime) -> int:
    names = {
        "events": sql.Identifier(family.table), "name": sql.Literal(f"public.{family.table}"),
        "family": sql.Literal(family.name),
    }  # fmt: skip
    removed: int = value(connection, sql.SQL(COUNT_CHUNK).format(**names), span)
    connection.execute(LOCK_CAMERAS)
    connection.execute(sql.SQL(LET_GO).format(**names), {**span, "count": removed})
    connection.execute(sql.SQL(DROP_CHUNK).format(**names), span)
    return removed


def _droppable(connection: Connection, job: int, events: str) -> list[tuple[Any, ...]]:
    watermark = value(connection, SELECT_WATERMARK, [events])
    unsummed = value(connection, sql.SQL(SELECT_UNSUMMED).format(events=sql.Identifier(events)), [watermark])
    return connection.execute(SELECT_DROPPABLE, [job, unsummed]).fetchall()


def _patiently(connection: Connection, day: datetime, remove: Callable[[], int]) -> int:
    """Remove a day's rows in a transaction; how many. It gives up a lock that it waits for after three seconds, because
    writers queue behind it.
    """

    def run() -> int:
        with connection.transaction():
            connection.execute(SET_LOCK_TIMEOUT)
            return remove()

    try:
        return retried(run, pause=1)
    except LOCKED as error:
        raise ServerUnavailableError(
            f"the raw rows of {day.astimezone(UTC):%Y-%m-%d} are locked: end the transactions that read them"
            " or the cameras, and prune again"
        ) from error
