"""What needs an operator: judged by what the background jobs left behind, since what they say of themselves may lie."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg

from timeseries.database.server import Server, ServerKind
from timeseries.maintenance.policies import LivePolicies
from timeseries.maintenance.policy_rules import RAW, SOURCES
from timeseries.maintenance.retention_record import Record
from timeseries.model.parsing import interval_text

GRACE = timedelta(days=2)
# Continuous aggregates of these releases lose, repeat or cannot refresh rows; each was mended by the next release.
KNOWN_BAD = {"2.22.0", "2.28.0", "2.28.1", "2.28.2", "2.28.3"}

VERSIONS = """
    SELECT e.extversion, a.default_version
    FROM pg_extension AS e
    JOIN pg_available_extensions AS a ON a.name = e.extname
    WHERE e.extname = 'timescaledb'
"""
UNBOUNDED_OWNERS = """
    SELECT DISTINCT j.owner::regrole::text
    FROM timescaledb_information.jobs AS j
    WHERE j.proc_name = 'policy_retention'
      AND NOT EXISTS (
          SELECT FROM pg_db_role_setting AS s
          WHERE (s.setrole = 0 OR s.setrole = j.owner::regrole)
            AND (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
            AND EXISTS (SELECT FROM unnest(s.setconfig) AS setting
                        WHERE setting LIKE 'lock\\_timeout=%%' AND setting <> 'lock_timeout=0'))
"""
# Chunks that were made lately, by an import of history, have not met the job yet.
DROPPABLE = """
    SELECT min(range_start) FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = %(relation)s
      AND range_end < now() - %(after)s::interval - %(grace)s::interval
      AND chunk_creation_time < now() - %(grace)s::interval
"""
COMPRESSIBLE = """
    SELECT min(c.range_start)
    FROM timescaledb_information.chunks AS c
    LEFT JOIN timeseries.materializations AS m USING (hypertable_schema, hypertable_name)
    WHERE coalesce(m.view_schema, hypertable_schema) = 'public' AND coalesce(m.name, hypertable_name) = %(relation)s
      AND NOT c.is_compressed
      AND c.range_end < now() - %(after)s::interval - %(grace)s::interval
      AND c.chunk_creation_time < now() - %(grace)s::interval
"""
# Behind a watermark that stands still nothing may wait for longer than the window's end and some turns of the job.
WATERMARK = """
    SELECT watermark FROM timeseries.materializations WHERE family IS NOT NULL AND name = %(relation)s
"""
# The watermark is a value and not a subquery, because the planner would open every chunk for the latter.
IS_STALE = """
    SELECT EXISTS (SELECT FROM public.{events}
                   WHERE "timestamp" >= %(watermark)s AND "timestamp" < now() - %(patience)s::interval)
"""
LAST_RUN = """
    SELECT s.last_run_status, s.last_run_started_at, e.err_message
    FROM timescaledb_information.jobs AS j
    LEFT JOIN timeseries.materializations AS m USING (hypertable_schema, hypertable_name)
    LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
    LEFT JOIN LATERAL (
        SELECT err_message FROM timescaledb_information.job_errors WHERE job_id = j.job_id
        ORDER BY finish_time DESC LIMIT 1
    ) AS e ON s.last_run_status = 'Failed'
    WHERE coalesce(m.name, j.hypertable_name) = %(relation)s AND j.proc_name = %(job)s
"""
OLDEST = """
    SELECT min("timestamp") FROM public.{events} HAVING min("timestamp") < now() - %(keep)s::interval
"""


def server_problems(connection: psycopg.Connection[Any], server: Server) -> Iterator[str]:
    """Versions that are known to be bad, an update that was left halfway, a server that could do more."""
    if server.timescaledb is None:
        return
    if server.timescaledb in KNOWN_BAD:
        yield f"TimescaleDB {server.timescaledb} has known faults in continuous aggregates; update to 2.29.2 or newer"
    for installed, available in connection.execute(VERSIONS).fetchall():
        if installed != available:
            yield (
                f"the database has TimescaleDB {installed}, the server offers {available};"
                " as its owner run, first in a new session: ALTER EXTENSION timescaledb UPDATE"
            )
    if server.kind is ServerKind.COMMUNITY:
        for (owner,) in connection.execute(UNBOUNDED_OWNERS).fetchall():
            yield (
                f"background jobs of {owner} wait for locks without end, and ingest behind them; as that role run:"
                " timeseries migrate"
            )


def retention_problems(connection: psycopg.Connection[Any], record: Record, keep: timedelta | None) -> Iterator[str]:
    """Raw rows that should be gone where TimescaleDB runs no policies, and why they are not. `keep` is what this
    process was set up with.
    """
    if keep is not None and keep != record.keep:
        yield (
            f"TIMESERIES_KEEP is {interval_text(keep)} here, but the database keeps raw rows for"
            f" {interval_text(record.keep)}; to change that, as the owner run:"
            f" timeseries prune --keep '{interval_text(keep)}'"
        )
    if not record.scheduled:
        yield "retention is paused, so the disk will fill; run: timeseries jobs resume"
    elif record.error is not None:
        # Whole days go, so that a day more than `keep` may be there; what a failed run left behind shows at once.
        yield from _left(connection, record.keep + timedelta(days=1), f"the last run failed ({record.error})")
    elif record.idle is not None and record.idle > GRACE:
        whose = (
            f"the job {record.cron_job!r} of pg_cron" if record.cron_job else "a writer, or whoever opens the store,"
        )
        yield from _left(connection, record.keep + GRACE, f"{whose} has not pruned for {record.idle.days} days")


def _left(connection: psycopg.Connection[Any], keep: timedelta, why: str) -> Iterator[str]:
    for events in RAW:
        oldest = _value(connection, OLDEST.format(events=events), {"keep": keep})
        if oldest is not None:
            yield f"{events}: raw rows from {oldest:%Y-%m-%d} are still there: {why}; run: timeseries prune"


def overdue(connection: psycopg.Connection[Any], live: LivePolicies) -> Iterator[str]:
    """Work that the policies should have done by now and have not.

    Days and times are written as the session's zone has them, which must be UTC.
    """
    for relation, policy in live.relations.items():
        work = {"relation": relation, "grace": GRACE}
        if policy.drop_after is not None and relation in RAW:
            failed = _value(connection, LAST_RUN, {"relation": relation, "job": "policy_retention"}) == "Failed"
            grace = timedelta(0) if failed else GRACE  # what a failed run left behind shows at once
            oldest = _value(connection, DROPPABLE, {**work, "after": policy.drop_after, "grace": grace})
            if oldest is not None:
                yield (
                    f"{relation}: chunks from {oldest:%Y-%m-%d} are still there though retention keeps"
                    f" {interval_text(policy.drop_after)}" + _last_run(connection, relation, "policy_retention")
                )
        if policy.columnstore_after is not None:
            oldest = _value(connection, COMPRESSIBLE, {**work, "after": policy.columnstore_after})
            if oldest is not None:
                yield (
                    f"{relation}: the chunk of {oldest:%Y-%m-%d} is not in the columnstore"
                    + _last_run(connection, relation, "policy_compression")
                )
        if relation in SOURCES and policy.bucket and policy.schedule_interval:
            yield from _stale(connection, live, relation)


def _stale(connection: psycopg.Connection[Any], live: LivePolicies, relation: str) -> Iterator[str]:
    policy = live.relations[relation]
    bucket, every, end = policy.bucket, policy.schedule_interval, policy.end_offset
    if bucket is None or every is None:
        return
    events = SOURCES[relation] if SOURCES[relation] in RAW else SOURCES[SOURCES[relation]]
    watermark = _value(connection, WATERMARK, {"relation": relation})
    values = {"watermark": watermark, "patience": (end or timedelta(0)) + 2 * bucket + 3 * every}
    if _value(connection, IS_STALE.format(events=events), values):
        yield (
            f"{relation}: materialized up to {watermark:%Y-%m-%d %H:%M} UTC only, with newer events there"
            + _last_run(connection, relation, "policy_refresh_continuous_aggregate")
        )


def _last_run(connection: psycopg.Connection[Any], relation: str, job: str) -> str:
    row = connection.execute(LAST_RUN, {"relation": relation, "job": job}).fetchone()
    if row is None:
        return "; it has no such job"
    outcome, started, message = row
    if outcome is None:
        return "; its job never ran: are there background workers left (timescaledb.max_background_workers)?"
    return f"; its job last ran at {started:%Y-%m-%d %H:%M} UTC ({outcome}{': ' + message if message else ''})"


def _value(connection: psycopg.Connection[Any], query: str, parameters: dict[str, Any]) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None
