"""The status of a store: what it holds, and what needs an operator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg import sql

from timeseries.access import roles
from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.internals import find_wrong_internals
from timeseries.database.rows import row, value
from timeseries.database.server import Server, ServerKind, inspect_server
from timeseries.maintenance.policies import read_policies
from timeseries.maintenance.policy_rules import RelationPolicies
from timeseries.maintenance.retention_record import Record, read_record
from timeseries.model.relations import FAMILIES, RAW_TABLES, Family
from timeseries.monitoring import checks
from timeseries.monitoring.backups import BackupStatus, backup_problems, read_backups


@dataclass(frozen=True, slots=True)
class TableStatus:
    """Estimated rows (the samples of their days, or the planner's statistics), bytes on disk with indexes, oldest and
    newest timestamp; of the chunks in the columnstore the bytes before and after. `overdue_from` is where the oldest
    rows begin that retention should have removed (None: it is not overdue).
    """

    name: str
    rows: int
    bytes: int
    bytes_before_columnstore: int
    bytes_in_columnstore: int
    oldest: datetime | None
    newest: datetime | None
    overdue_from: datetime | None


@dataclass(frozen=True, slots=True)
class AggregateStatus:
    """How an aggregate is kept, its bytes on disk, its watermark, and the seconds from there to the newest event (both
    None for a view). It is stale where an event above the watermark is older than its policy allows.
    """

    name: str
    kept_as: str
    bytes: int
    watermark: datetime | None
    lag_seconds: float | None
    stale: bool


@dataclass(frozen=True, slots=True)
class SilentCamera:
    """A camera that should run and was last heard of longer ago than its hold (None: never)."""

    name: str
    last_seen: datetime | None


@dataclass(frozen=True, slots=True)
class DayCount:
    """Raw rows of the last whole UTC day that is in the aggregates, and the samples that the quarters have of it."""

    table: str
    day: date
    rows: int
    samples: int


@dataclass(frozen=True, slots=True)
class RetentionStatus:
    """Who removes old raw rows: "policy" (TimescaleDB's own jobs), "archive" (its runs, in place of those), "pg_cron",
    "store" (its processes) or "nobody". When that last ended well (None: never yet); where no policy does it, by whom,
    how many rows went, what failed since, and how long rows are kept.
    """

    by: str
    last: datetime | None
    done_by: str | None = None
    removed: int | None = None
    error: str | None = None
    keep: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of the store; `problems` says what needs an operator, and is empty when all is well. Of the `silent`
    cameras, which are all here, it names a few in one sentence.
    """

    server: Server
    revision: str | None
    cameras: int
    retention: RetentionStatus
    backups: BackupStatus
    problems: tuple[str, ...]
    silent: tuple[SilentCamera, ...] = ()
    tables: tuple[TableStatus, ...] = ()
    aggregates: tuple[AggregateStatus, ...] = ()
    counts: tuple[DayCount, ...] = ()
    policies: tuple[RelationPolicies, ...] = ()


def read_status(pool: Pool, keep: timedelta | None = None) -> Status:
    """Look at the store; all moments are in UTC. `keep` is what this process was set up with: where it is not what the
    database records, that is a problem.

    Raises ServerUnavailableError or NotMigratedError.
    """
    with connected(pool) as connection:
        connection.execute("SET LOCAL timezone = 'UTC'")
        server = inspect_server(connection)
        if wrong := find_wrong_internals(connection, server):
            return _what_can_be_told(connection, server, wrong)
        live = read_policies(connection) if server.kind is ServerKind.COMMUNITY else None
        record = read_record(connection)
        tables = tuple(TableStatus(*row) for row in connection.execute(SELECT_TABLES))
        overdue = {table.name: table.overdue_from for table in tables if table.overdue_from is not None}
        aggregates = tuple(AggregateStatus(*row) for row in connection.execute(SELECT_AGGREGATES))
        counts = tuple(_count(connection, family) for family in FAMILIES)
        silent = tuple(SilentCamera(*row) for row in connection.execute(SELECT_SILENT))
        jobs = checks.read_jobs(connection)
        backups = read_backups(connection)
        return Status(
            server,
            value(connection, "SELECT version_num FROM public.alembic_version"),
            value(connection, "SELECT count(*) FROM public.cameras"),
            _policy_retention(connection, jobs, record) if live else _store_retention(record),
            backups,
            (
                *checks.server_problems(connection, server),
                *(live.problems() if live else ()),
                *(
                    checks.policy_problems(connection, live, jobs, overdue)
                    if live
                    else checks.retention_problems(record, keep, overdue)
                ),
                *(checks.stale(connection, a.name, a.watermark, jobs) for a in aggregates if a.stale),
                *checks.archive_problems(connection),
                *roles.find_deviations(connection),
                *backup_problems(backups),
                *(
                    f"{count.table}: {count.rows:,} rows on {count.day}, but the quarters have {count.samples:,}"
                    for count in counts
                    if count.rows > count.samples
                ),
                *_silence(silent),
            ),
            silent,
            tables,
            aggregates,
            counts,
            tuple(live.relations.values()) if live else (),
        )


def _what_can_be_told(connection: Connection, server: Server, wrong: str) -> Status:
    """Where TimescaleDB's internals are not as expected: nothing about aggregates and what depends on them."""
    return Status(
        server,
        value(connection, "SELECT version_num FROM public.alembic_version"),
        value(connection, "SELECT count(*) FROM public.cameras"),
        RetentionStatus("policy", None),
        read_backups(connection),
        (wrong, *checks.server_problems(connection, server)),
    )


def _silence(silent: tuple[SilentCamera, ...]) -> Iterator[str]:
    """One sentence, however many cameras are silent: it names those that reported once and stopped first, because a
    camera that never reported may not be mounted yet.
    """
    if len(silent) == 1:
        yield f"camera {silent[0].name!r} is silent, last seen {silent[0].last_seen or 'never'}"
    elif silent:
        never = sum(camera.last_seen is None for camera in silent)
        named = sorted(silent, key=lambda camera: camera.last_seen is None)[:NAMED_AT_MOST]
        yield (
            f"{len(silent):,} cameras are silent"
            + (f", of which {never:,} never reported" if never else "")
            + "; longest: "
            + ", ".join(f"{camera.name!r} {_since(camera)}" for camera in named)
            + ("; timeseries status --json lists them all" if len(silent) > NAMED_AT_MOST else "")
        )


def _since(camera: SilentCamera) -> str:
    return f"since {camera.last_seen:%Y-%m-%d %H:%M}" if camera.last_seen else "never"


NAMED_AT_MOST = 5  # of the silent cameras, in a line for people


def _policy_retention(connection: Connection, jobs: checks.Jobs, record: Record) -> RetentionStatus:
    """Both tables must have been pruned, so the earlier of the two runs counts. An archive prunes in their place."""
    if value(connection, "SELECT EXISTS (SELECT FROM timeseries.archive)"):
        return RetentionStatus(
            "archive" if record.scheduled else "nobody", record.finished_at, record.done_by, record.removed
        )
    found = [jobs.get((table, "retention")) for table in RAW_TABLES]
    runs = [job.last_success for job in found if job and job.scheduled and job.last_success]
    by = "policy" if all(found) else "nobody"
    return RetentionStatus(by, min(runs) if len(runs) == len(found) else None)


def _store_retention(record: Record) -> RetentionStatus:
    idle = not record.scheduled or record.idle is None or record.idle > checks.GRACE
    by = "nobody" if idle else "pg_cron" if record.cron_job else "store"
    return RetentionStatus(by, record.finished_at, record.done_by, record.removed, record.error, record.keep)


SELECT_TABLES = """
    SELECT name, rows_about, bytes, bytes_before_columnstore, bytes_in_columnstore, oldest, newest,
           CASE WHEN overdue_seconds > allowed_seconds THEN overdue_from END
    FROM public.store_tables()
"""
SELECT_AGGREGATES = """
    SELECT name, kept_as, coalesce(bytes, 0), watermark, CASE WHEN watermark IS NOT NULL THEN lag_seconds END, stale
    FROM public.store_lag()
"""
SELECT_SILENT = """
    WITH running AS MATERIALIZED (
        SELECT array_agg(c.id) AS ids FROM public.cameras AS c WHERE c.desired_state = 'running'
    ),
    heard AS MATERIALIZED (
        SELECT f.camera_id, max(f.seen_at) AS last_seen
        FROM running AS r
        CROSS JOIN unnest(ARRAY['occupancy', 'health']) AS family
        CROSS JOIN timeseries.last_events(family, coalesce(r.ids, '{}')) AS f
        GROUP BY f.camera_id
    )
    SELECT c.name, h.last_seen
    FROM public.cameras AS c
    LEFT JOIN heard AS h ON h.camera_id = c.id
    WHERE c.desired_state = 'running' AND coalesce(h.last_seen, c.created_at) < now() - c.hold
    ORDER BY h.last_seen NULLS FIRST, c.name
"""
# One statement and so one snapshot, in which an event that is stored meanwhile is in both counts or in neither.
COUNT_YESTERDAY = """
    SELECT (day AT TIME ZONE 'UTC')::date,
           (SELECT count(*) FROM public.{events} WHERE "timestamp" >= day AND "timestamp" < day + interval '24 hours'),
           (SELECT coalesce(sum(samples), 0) FROM public.{quarters}
            WHERE bucket >= day AND bucket < day + interval '24 hours')::bigint
    FROM (SELECT date_trunc('day', now(), 'UTC') - interval '24 hours' AS day) AS yesterday
"""


def _count(connection: Connection, family: Family) -> DayCount:
    names = {"events": sql.Identifier(family.table), "quarters": sql.Identifier(family.quarters)}
    return DayCount(family.table, *row(connection, sql.SQL(COUNT_YESTERDAY).format(**names)))
