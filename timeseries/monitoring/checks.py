"""What needs an operator, judged by the effects of jobs, because a job may report success and have done nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg

from timeseries.database.rows import row, value
from timeseries.database.server import Server, ServerKind
from timeseries.maintenance.policies import LivePolicies
from timeseries.maintenance.policy_rules import RelationPolicies
from timeseries.maintenance.retention_record import Record
from timeseries.model.parsing import interval_text
from timeseries.model.relations import AGGREGATES, RAW_TABLES, Aggregate

GRACE = timedelta(days=2)
# Continuous aggregates of these releases lose, repeat or cannot refresh rows; the release after each fixed it.
KNOWN_BAD = {"2.22.0", "2.28.0", "2.28.1", "2.28.2", "2.28.3"}

SELECT_VERSIONS = """
    SELECT e.extversion, a.default_version
    FROM pg_extension AS e
    JOIN pg_available_extensions AS a ON a.name = e.extname
    WHERE e.extname = 'timescaledb'
"""
SELECT_UNBOUNDED_OWNERS = """
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
# A chunk that was created within the grace, by an import of history, is not overdue: the job has not run since.
SELECT_UNDROPPED = """
    SELECT min(range_start) FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = %(relation)s
      AND range_end < now() - %(after)s::interval - %(grace)s::interval
      AND chunk_creation_time < now() - %(grace)s::interval
"""
SELECT_UNCOMPRESSED = """
    SELECT min(c.range_start)
    FROM timescaledb_information.chunks AS c
    LEFT JOIN timeseries.materializations AS m USING (hypertable_schema, hypertable_name)
    WHERE coalesce(m.view_schema, hypertable_schema) = 'public' AND coalesce(m.name, hypertable_name) = %(relation)s
      AND NOT c.is_compressed
      AND c.range_end < now() - %(after)s::interval - %(grace)s::interval
      AND c.chunk_creation_time < now() - %(grace)s::interval
"""
# A watermark may stand still; an event above it must not be older than the lag that the policy allows.
WATERMARK = """
    SELECT watermark FROM timeseries.materializations WHERE family IS NOT NULL AND name = %(relation)s
"""
# The watermark is passed as a value and not as a subquery, so that the planner can exclude chunks.
SELECT_STALE = """
    SELECT EXISTS (SELECT FROM public.{events}
                   WHERE "timestamp" >= %(watermark)s AND "timestamp" < now() - %(patience)s::interval)
"""
SELECT_LAST_RUN = """
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
SELECT_OLDEST = """
    SELECT min("timestamp") FROM public.{events} HAVING min("timestamp") < now() - %(keep)s::interval
"""
SELECT_ARCHIVE_LAG = """
    SELECT name, archived_until, days_missing FROM public.store_archive() WHERE lag_seconds > allowed_seconds
    ORDER BY name
"""
SELECT_ARCHIVE_ERROR = "SELECT error FROM timeseries.archive"


def server_problems(connection: psycopg.Connection[Any], server: Server) -> Iterator[str]:
    """A TimescaleDB release with known faults, an unfinished update of the extension, jobs without lock_timeout."""
    if server.timescaledb is None:
        return
    if server.timescaledb in KNOWN_BAD:
        yield f"TimescaleDB {server.timescaledb} has known faults in continuous aggregates; update to 2.29.2 or newer"
    for installed, available in connection.execute(SELECT_VERSIONS).fetchall():
        if installed != available:
            yield (
                f"the database has TimescaleDB {installed}, the server offers {available};"
                " as its owner run, first in a new session: ALTER EXTENSION timescaledb UPDATE"
            )
    if server.kind is ServerKind.COMMUNITY:
        for (owner,) in connection.execute(SELECT_UNBOUNDED_OWNERS).fetchall():
            yield (
                f"background jobs of {owner} wait for locks without end, and ingest behind them; as that role run:"
                " timeseries migrate"
            )


def retention_problems(connection: psycopg.Connection[Any], record: Record, keep: timedelta | None) -> Iterator[str]:
    """Raw rows that retention should have removed, where TimescaleDB runs no policies, and why they are there. `keep`
    is the setting of this process.
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
        # Retention removes whole days, so a day more than `keep` may be there. A failed run gets no further grace.
        yield from _left(connection, record.keep + timedelta(days=1), f"the last run failed ({record.error})")
    elif record.idle is not None and record.idle > GRACE:
        whose = (
            f"the job {record.cron_job!r} of pg_cron" if record.cron_job else "a writer, or whoever opens the store,"
        )
        yield from _left(connection, record.keep + GRACE, f"{whose} has not pruned for {record.idle.days} days")


def archive_problems(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Days that should be in the archive and are not, and a run that failed."""
    for events, until, days in connection.execute(SELECT_ARCHIVE_LAG).fetchall():
        yield (
            f"{events}: {days:,} days from {until:%Y-%m-%d} on are not in the archive; retention waits for them, so the"
            " disk fills; run: timeseries archive"
        )
    error = value(connection, SELECT_ARCHIVE_ERROR)
    if error is not None:
        yield f"the last run of the archive failed: {error}"


def _left(connection: psycopg.Connection[Any], keep: timedelta, why: str) -> Iterator[str]:
    for events in RAW_TABLES:
        oldest = value(connection, SELECT_OLDEST.format(events=events), {"keep": keep})
        if oldest is not None:
            yield f"{events}: raw rows from {oldest:%Y-%m-%d} are still there: {why}; run: timeseries prune"


def overdue(connection: psycopg.Connection[Any], live: LivePolicies) -> Iterator[str]:
    """Work that the policies should have done by now and have not.

    Days and times are written as the session's zone has them, which must be UTC.
    """
    for relation, policy in live.relations.items():
        work = {"relation": relation, "grace": GRACE}
        if policy.drop_after is not None and relation in RAW_TABLES:
            failed = value(connection, SELECT_LAST_RUN, {"relation": relation, "job": "policy_retention"}) == "Failed"
            grace = timedelta(0) if failed else GRACE  # a failed run gets none
            oldest = value(connection, SELECT_UNDROPPED, {**work, "after": policy.drop_after, "grace": grace})
            if oldest is not None:
                yield (
                    f"{relation}: chunks from {oldest:%Y-%m-%d} are still there though retention keeps"
                    f" {interval_text(policy.drop_after)}" + _last_run(connection, relation, "policy_retention")
                )
        if policy.columnstore_after is not None:
            oldest = value(connection, SELECT_UNCOMPRESSED, {**work, "after": policy.columnstore_after})
            if oldest is not None:
                yield (
                    f"{relation}: the chunk of {oldest:%Y-%m-%d} is not in the columnstore"
                    + _last_run(connection, relation, "policy_compression")
                )
        if aggregate := AGGREGATES.get(relation):
            yield from _stale(connection, live, aggregate)


def allowed_lag(aggregate: Aggregate, policy: RelationPolicies) -> timedelta | None:
    """How old an event above the watermark may become, None without a refresh policy: the end of the window, a bucket
    (an hour at least), and three turns of the job. `store_lag()` gives dashboards and alerts the same.
    """
    if policy.schedule_interval is None:
        return None
    bucket = max(aggregate.bucket, timedelta(hours=1))
    return (policy.end_offset or timedelta(0)) + bucket + 3 * policy.schedule_interval


def _stale(connection: psycopg.Connection[Any], live: LivePolicies, aggregate: Aggregate) -> Iterator[str]:
    relation = aggregate.name
    allowed = allowed_lag(aggregate, live.relations[relation])
    if allowed is None:
        return
    watermark = value(connection, WATERMARK, {"relation": relation})
    values = {"watermark": watermark, "patience": allowed}
    if value(connection, SELECT_STALE.format(events=aggregate.family.table), values):
        yield (
            f"{relation}: materialized up to {watermark:%Y-%m-%d %H:%M} UTC only, with newer events there"
            + _last_run(connection, relation, "policy_refresh_continuous_aggregate")
        )


def _last_run(connection: psycopg.Connection[Any], relation: str, job: str) -> str:
    found = row(connection, SELECT_LAST_RUN, {"relation": relation, "job": job})
    if found is None:
        return "; it has no such job"
    outcome, started, message = found
    if outcome is None:
        return "; its job never ran: are there background workers left (timescaledb.max_background_workers)?"
    return f"; its job last ran at {started:%Y-%m-%d %H:%M} UTC ({outcome}{': ' + message if message else ''})"
