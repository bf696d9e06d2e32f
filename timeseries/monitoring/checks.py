"""What needs an operator, judged by the effects of jobs, because a job may report success and have done nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

from timeseries.database import releases
from timeseries.database.connections import Connection
from timeseries.database.rows import value
from timeseries.database.server import Server, ServerKind
from timeseries.maintenance.policies import LivePolicies
from timeseries.maintenance.retention_record import Record
from timeseries.model.parsing import interval_text

GRACE = timedelta(days=2)

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
                        WHERE setting LIKE 'lock\\_timeout=%' AND setting <> 'lock_timeout=0'))
"""
# The oldest chunk that a policy should have compressed. A chunk that was created within the grace, by an import of
# history, is not overdue, because the job has not run since.
SELECT_UNCOMPRESSED_CHUNK = """
    SELECT min(c.range_start)
    FROM timescaledb_information.chunks AS c
    LEFT JOIN timeseries.materializations AS m USING (hypertable_schema, hypertable_name)
    WHERE coalesce(m.view_schema, hypertable_schema) = 'public' AND coalesce(m.name, hypertable_name) = %(relation)s
      AND NOT c.is_compressed
      AND c.range_end < now() - %(after)s::interval - %(grace)s::interval
      AND c.chunk_creation_time < now() - %(grace)s::interval
"""
SELECT_JOBS = (
    "SELECT relation, job, job_id, scheduled, last_run_status, last_start, last_success FROM public.store_jobs()"
)
SELECT_ERROR = """
    SELECT err_message FROM timescaledb_information.job_errors WHERE job_id = %s ORDER BY finish_time DESC LIMIT 1
"""
SELECT_ARCHIVE_LAG = """
    SELECT name, archived_until, days_missing FROM public.store_archive() WHERE lag_seconds > allowed_seconds
    ORDER BY name
"""
SELECT_ARCHIVE_ERROR = "SELECT error FROM timeseries.archive"


class JobRun(NamedTuple):
    """The last run of a background job of TimescaleDB."""

    job_id: int
    scheduled: bool
    last_run_status: str | None
    last_start: datetime | None
    last_success: datetime | None


Jobs: TypeAlias = Mapping[tuple[str, str], JobRun]  # by relation and what the job does
Overdue: TypeAlias = Mapping[str, datetime]  # by raw table: where the rows begin that retention should have removed


def read_jobs(connection: Connection) -> Jobs:
    return {(relation, job): JobRun(*run) for relation, job, *run in connection.execute(SELECT_JOBS)}


def server_problems(connection: Connection, server: Server) -> Iterator[str]:
    """Releases that are too old, have known faults or do not go together, an unfinished update of the extension, jobs
    without lock_timeout.
    """
    if server.timescaledb is None:
        return
    yield from releases.find_faults(server)
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


def retention_problems(record: Record, keep: timedelta | None, overdue: Overdue) -> Iterator[str]:
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
        return
    why = _why_not_pruned(record)
    for table, begin in overdue.items():
        yield f"{table}: raw rows from {begin:%Y-%m-%d} are still there: {why}; run: timeseries prune"


def _why_not_pruned(record: Record) -> str:
    if record.error is not None:
        return f"the last run failed ({record.error})"
    whose = f"the job {record.cron_job!r} of pg_cron" if record.cron_job else "a writer, or whoever opens the store,"
    return f"{whose} has not pruned for {record.idle.days if record.idle else 0} days"


def archive_problems(connection: Connection) -> Iterator[str]:
    """Days that should be in the archive and are not, and a run that failed."""
    for events, until, days in connection.execute(SELECT_ARCHIVE_LAG).fetchall():
        yield (
            f"{events}: {days:,} days from {until:%Y-%m-%d} on are not in the archive; retention waits for them, so the"
            " disk fills; run: timeseries archive"
        )
    error = value(connection, SELECT_ARCHIVE_ERROR)
    if error is not None:
        yield f"the last run of the archive failed: {error}"


def policy_problems(connection: Connection, live: LivePolicies, jobs: Jobs, overdue: Overdue) -> Iterator[str]:
    """Chunks that the policies should have dropped or compressed by now and have not.

    Days and times are written as the session's zone has them, which must be UTC.
    """
    for relation, policy in live.relations.items():
        if policy.drop_after is not None and relation in overdue:
            yield (
                f"{relation}: chunks from {overdue[relation]:%Y-%m-%d} are still there though retention keeps"
                f" {interval_text(policy.drop_after)}" + _last_run(connection, jobs.get((relation, "retention")))
            )
        if policy.columnstore_after is not None:
            values = {"relation": relation, "after": policy.columnstore_after, "grace": GRACE}
            oldest = value(connection, SELECT_UNCOMPRESSED_CHUNK, values)
            if oldest is not None:
                yield (
                    f"{relation}: the chunk of {oldest:%Y-%m-%d} is not in the columnstore"
                    + _last_run(connection, jobs.get((relation, "compression")))
                )


def stale(connection: Connection, aggregate: str, watermark: datetime | None, jobs: Jobs) -> str:
    """The problem of an aggregate that its policy has not refreshed."""
    run = _last_run(connection, jobs.get((aggregate, "refresh_continuous_aggregate")))
    return f"{aggregate}: materialized up to {watermark:%Y-%m-%d %H:%M} UTC only, with newer events there{run}"


def _last_run(connection: Connection, job: JobRun | None) -> str:
    if job is None:
        return "; it has no such job"
    if job.last_run_status is None:
        return "; its job never ran: are there background workers left (timescaledb.max_background_workers)?"
    message = value(connection, SELECT_ERROR, [job.job_id]) if job.last_run_status == "Failed" else None
    why = f": {message}" if message else ""
    return f"; its job last ran at {job.last_start:%Y-%m-%d %H:%M} UTC ({job.last_run_status}{why})"
