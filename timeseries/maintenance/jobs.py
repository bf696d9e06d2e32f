"""Background jobs, TimescaleDB's or the store's own retention: which there are, pausing and resuming them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import psycopg

from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.rows import value
from timeseries.errors import InvalidInputError
from timeseries.maintenance.refresh import refresh_view
from timeseries.model.relations import AGGREGATES, RAW_TABLES

# Jobs below 1000 are TimescaleDB's own housekeeping, of a server rather than of a store, and are in no backup.
SELECT_JOBS = """
    SELECT j.job_id, j.proc_name::text, coalesce(m.name, hypertable_name), j.scheduled
    FROM timescaledb_information.jobs AS j
    LEFT JOIN timeseries.materializations AS m USING (hypertable_schema, hypertable_name)
    WHERE j.job_id >= 1000
    ORDER BY j.job_id
"""
# Where TimescaleDB runs no policies, or an archive holds them back, the store prunes by itself, which shows as one job
# with the number 0.
SELECT_RETENTION = """
    SELECT 0, 'retention', NULL, coalesce((SELECT scheduled FROM timeseries.retention_run), false)
    WHERE timeseries.built_for() <> 'community' OR EXISTS (SELECT FROM timeseries.archive)
"""
SELECT_ARCHIVED = "SELECT EXISTS (SELECT FROM timeseries.archive)"
PAUSE_RETENTION = "UPDATE timeseries.retention_run SET scheduled = false"
RESUME_RETENTION = """
    INSERT INTO timeseries.retention_run DEFAULT VALUES
    ON CONFLICT (only_row) DO UPDATE SET scheduled = true, since = now(), error = NULL
"""
SCHEDULE_JOBS = "SELECT public.alter_job(job_id, scheduled => %s) FROM unnest(%s::integer[]) AS job_id"
POSTPONE_RETENTION = """
    SELECT public.alter_job(job_id, next_start => greatest(next_start, now() + %s))
    FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_retention' AND scheduled
"""
# Aggregates whose watermark is below the start of their policy's window: no job would refresh the gap between. The jobs
# view names the aggregate of a job, or in older releases of TimescaleDB the hypertable that keeps it.
SELECT_BEHIND = """
    SELECT format('%%I.%%I', m.view_schema, m.name), m.watermark, now() - (j.config ->> 'end_offset')::interval
    FROM timescaledb_information.jobs AS j
    JOIN timeseries.materializations AS m
        ON (j.hypertable_schema, j.hypertable_name)
        IN ((m.view_schema, m.name), (m.hypertable_schema, m.hypertable_name))
    WHERE j.job_id = ANY (%s) AND m.watermark < now() - (j.config ->> 'start_offset')::interval
    ORDER BY m.bucket, m.name
"""

# Background jobs run as their owner with that role's settings. lock_timeout is bounded, because writers queue behind a
# job that waits for a lock, retention above all.
BOUND_LOCKS = """
    DO $$
    BEGIN
        IF current_setting('lock_timeout') = '0'
           AND EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
            EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET lock_timeout = %L', current_database(), '3s');
        END IF;
    END
    $$
"""


@dataclass(frozen=True, slots=True)
class Job:
    """A background job: what it does to which relation, and whether it is scheduled or paused."""

    job_id: int
    name: str
    relation: str | None
    scheduled: bool


def list_jobs(connection: Connection) -> tuple[Job, ...]:
    """The jobs of this database."""
    found = connection.execute(SELECT_RETENTION).fetchall()
    if value(connection, "SELECT to_regclass('timescaledb_information.jobs') IS NOT NULL"):
        found += connection.execute(SELECT_JOBS).fetchall()
    return tuple(Job(*row) for row in found)


def pause(connection: Connection, job_ids: Collection[int] | None = None) -> tuple[Job, ...]:
    """`Jobs.pause` in the caller's transaction."""
    found = [job for job in _chosen(connection, job_ids, scheduled=False) if job.scheduled]
    _schedule(connection, found, scheduled=False)
    return tuple(found)


def resume(connection: Connection, job_ids: Collection[int] | None = None) -> tuple[Job, ...]:
    """`Jobs.resume`; commits.

    A refresh policy looks back as far as its `start_offset`. Where the watermark is older, because jobs were paused for
    long or an old backup was restored, the gap is refreshed first, because no job would. Its raw rows are there,
    because retention was paused as well.
    """
    chosen = _chosen(connection, job_ids, scheduled=True)
    held = held_back(connection, chosen)
    if held and job_ids is not None:
        raise InvalidInputError(
            f"job {held[0].job_id} ({held[0].name} of {held[0].relation}) is held back, because it would not ask the"
            " archive; timeseries archive removes raw rows in its place, and job 0 pauses and resumes that"
        )
    found = [job for job in chosen if not job.scheduled and job not in held]
    ids = [job.job_id for job in found if job.job_id]
    behind = connection.execute(SELECT_BEHIND, [ids]).fetchall() if ids else []
    connection.commit()
    connection.autocommit = True  # a refresh has transactions of its own
    try:
        for view, watermark, end in behind:
            refresh_view(connection, view, watermark, end)
        _schedule(connection, found, scheduled=True)
    finally:
        connection.autocommit = False
    return tuple(found)


def held_back(connection: Connection, jobs: Collection[Job]) -> list[Job]:
    """Of these jobs TimescaleDB's retention of raw rows, where an archive is configured: it cannot be made to ask."""
    if not value(connection, SELECT_ARCHIVED):
        return []
    return [job for job in jobs if job.name == "policy_retention" and job.relation in RAW_TABLES]


def hold_retention(connection: Connection) -> None:
    """Pause the retention that would not ask the archive, in the caller's transaction; `timeseries archive` does it."""
    held = [job for job in held_back(connection, list_jobs(connection)) if job.scheduled]
    _schedule(connection, held, scheduled=False)


def release_retention(connection: Connection) -> None:
    """Schedule it again, where retention is not paused, in the transaction that ends the archive."""
    found = list_jobs(connection)
    if any(job.job_id == 0 and job.scheduled for job in found):
        _schedule(connection, held_back(connection, found), scheduled=True)


def _schedule(connection: Connection, jobs: Collection[Job], *, scheduled: bool) -> None:
    if ids := [job.job_id for job in jobs if job.job_id]:
        connection.execute(SCHEDULE_JOBS, [scheduled, ids])
    if len(ids) < len(jobs):
        connection.execute(RESUME_RETENTION if scheduled else PAUSE_RETENTION)


class Jobs:
    """The background jobs of a store: TimescaleDB's, or as job 0 the store's own retention, where no policy runs."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def list(self) -> tuple[Job, ...]:
        """The jobs, by number."""
        with connected(self._pool) as connection:
            return list_jobs(connection)

    def pause(self, job_ids: Collection[int] | None = None) -> tuple[Job, ...]:
        """Pause these jobs, or all; which of them were scheduled until now.

        Raises InvalidInputError where there is no such job, or where retention would go on without the refresh that
        reads the rows first.
        """
        with connected(self._pool) as connection:
            return pause(connection, job_ids)

    def resume(self, job_ids: Collection[int] | None = None) -> tuple[Job, ...]:
        """Schedule these paused jobs again, or all; which ones were paused until now. Aggregates that lag behind the
        window of their policy are refreshed first.

        Raises InvalidInputError where there is no such job, where the archive holds it back, or where retention would
        run without the refresh that reads the rows first; ServerUnavailableError where another refresh does not end.
        """
        with connected(self._pool) as connection:
            return resume(connection, job_ids)


def postpone_retention(connection: Connection, by: timedelta) -> None:
    """Postpone the retention jobs for long readers, because a job that waits for one makes every writer queue behind
    it.

    They are not paused, so that they run later although this process dies.
    """
    if any(job.name == "policy_retention" for job in list_jobs(connection)):
        # A standby runs no job; a role that may not alter jobs reads all the same.
        with suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction):
            connection.execute(POSTPONE_RETENTION, [by])


def unread(jobs: Collection[Job]) -> dict[str, str]:
    """Relations whose retention runs while the refresh that reads them is paused, each with what is to be done: their
    rows may go before they are in any average.
    """
    found = {}
    retention = {job.relation: job for job in jobs if job.name == "policy_retention" and job.scheduled}
    for name, aggregate in AGGREGATES.items():
        source = aggregate.source
        refreshes = [j for j in jobs if (j.name, j.relation) == ("policy_refresh_continuous_aggregate", name)]
        if source in retention and refreshes and not any(job.scheduled for job in refreshes):
            found[source] = (
                f"retention of {source} (job {retention[source].job_id}) runs while the refresh of {name}"
                f" (job {refreshes[0].job_id}) is paused, and removes rows that are in no average: pause both"
                f" or let both run (timeseries jobs pause {retention[source].job_id},"
                f" or timeseries jobs resume {refreshes[0].job_id})"
            )
    return found


def _chosen(connection: Connection, job_ids: Collection[int] | None, *, scheduled: bool) -> list[Job]:
    """The jobs that are to be paused or scheduled, where that makes sense for all of them together."""
    jobs = list_jobs(connection)
    if job_ids is None:
        return list(jobs)
    unknown = set(job_ids) - {job.job_id for job in jobs}
    if unknown:
        raise InvalidInputError(
            f"there is no job {', '.join(map(str, sorted(unknown)))}; timeseries jobs list shows them all"
        )
    after = [replace(job, scheduled=scheduled) if job.job_id in job_ids else job for job in jobs]
    known = unread(jobs)
    if new := [problem for relation, problem in unread(after).items() if relation not in known]:
        raise InvalidInputError("not done, since then " + "; ".join(new))
    return [job for job in jobs if job.job_id in job_ids]


def bound_lock_waits(connection: Connection) -> None:
    """Let background jobs of this role in this database wait three seconds for a lock, where nothing else is set."""
    connection.execute(BOUND_LOCKS)
    connection.commit()
