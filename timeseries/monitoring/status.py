"""What is in the store, and how it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from timeseries.access import roles
from timeseries.database.connections import Pool, connected
from timeseries.database.server import Server, ServerKind, inspect_server
from timeseries.maintenance.policies import LivePolicies, read_policies
from timeseries.maintenance.policy_rules import RAW, SOURCES, RelationPolicies
from timeseries.maintenance.retention_record import Record, read_record
from timeseries.monitoring import checks


@dataclass(frozen=True, slots=True)
class TableStatus:
    """Rows (about: the samples of their days, or by the planner's statistics), bytes on disk with indexes, oldest and
    newest timestamp; of the chunks in the columnstore the bytes before and after.
    """

    name: str
    rows: int
    bytes: int
    bytes_before_columnstore: int
    bytes_in_columnstore: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class AggregateStatus:
    """How the aggregate is kept, its bytes on disk, its watermark and the age of it in seconds (a view has none)."""

    name: str
    kept_as: str
    bytes: int
    watermark: datetime | None
    lag_seconds: float | None


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
    """Who removes old raw rows: "policy" (TimescaleDB's own jobs), "pg_cron", "store" (its processes) or "nobody". When
    that last ended well (None: never yet); where no policy does it, by whom, how many rows went, what failed since, and
    how long rows are kept.
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
    silent: tuple[SilentCamera, ...]
    tables: tuple[TableStatus, ...]
    aggregates: tuple[AggregateStatus, ...]
    counts: tuple[DayCount, ...]
    policies: tuple[RelationPolicies, ...]
    retention: RetentionStatus
    problems: tuple[str, ...]


def read_status(pool: Pool, keep: timedelta | None = None) -> Status:
    """Look at the store; all moments are in UTC. `keep` is what this process was set up with: where it is not what the
    database records, that is a problem.

    Raises ServerUnavailableError or NotMigratedError.
    """
    with connected(pool) as connection:
        connection.execute("SET LOCAL timezone = 'UTC'")
        server = inspect_server(connection)
        live = read_policies(connection) if server.kind is ServerKind.COMMUNITY else None
        record = read_record(connection)
        aggregates = _aggregates(connection, server.kind)
        counts = tuple(_count(connection, name) for name in RAW)
        silent = tuple(SilentCamera(*row) for row in connection.execute(SILENT).fetchall())
        return Status(
            server,
            _value(connection, "SELECT version_num FROM public.alembic_version"),
            _value(connection, "SELECT count(*) FROM public.cameras"),
            silent,
            tuple(_table(connection, server, name) for name in RAW),
            aggregates,
            counts,
            tuple(live.relations.values()) if live else (),
            _policy_retention(connection, live) if live else _store_retention(record),
            (
                *checks.server_problems(connection, server),
                *(live.problems() if live else ()),
                *(checks.overdue(connection, live) if live else checks.retention_problems(connection, record, keep)),
                *roles.audit(connection),
                *(
                    f"{count.table}: {count.rows:,} rows on {count.day}, but the quarters have {count.samples:,}"
                    for count in counts
                    if count.rows > count.samples
                ),
                *_silence(silent),
            ),
        )


def _silence(silent: tuple[SilentCamera, ...]) -> Iterator[str]:
    """One sentence, however many cameras are silent: it names those that reported once and stopped first, because a
    camera that never reported may not be mounted yet.
    """
    if len(silent) == 1:
        yield f"camera {silent[0].name!r} is silent, last seen {silent[0].last_seen or 'never'}"
    elif silent:
        never = sum(camera.last_seen is None for camera in silent)
        named = sorted(silent, key=lambda camera: camera.last_seen is None)[:NAMED]
        yield (
            f"{len(silent):,} cameras are silent"
            + (f", of which {never:,} never reported" if never else "")
            + "; longest: "
            + ", ".join(f"{camera.name!r} {_since(camera)}" for camera in named)
            + ("; timeseries status --json lists them all" if len(silent) > NAMED else "")
        )


def _since(camera: SilentCamera) -> str:
    return f"since {camera.last_seen:%Y-%m-%d %H:%M}" if camera.last_seen else "never"


NAMED = 5  # of the silent cameras, in a line for people


def _policy_retention(connection: psycopg.Connection[Any], live: LivePolicies) -> RetentionStatus:
    """Both tables must have been seen to: what counts is the earlier moment."""
    runs = all(live.relations[name].drop_after is not None for name in RAW)
    return RetentionStatus("policy" if runs else "nobody", _value(connection, POLICY_RUNS))


def _store_retention(record: Record) -> RetentionStatus:
    idle = not record.scheduled or record.idle is None or record.idle > checks.GRACE
    by = "nobody" if idle else "pg_cron" if record.cron_job else "store"
    return RetentionStatus(by, record.finished_at, record.done_by, record.removed, record.error, record.keep)


POLICY_RUNS = """
    SELECT CASE WHEN count(at) = 2 THEN min(at) END
    FROM (SELECT CASE WHEN isfinite(s.last_successful_finish) THEN s.last_successful_finish END AS at
          FROM timescaledb_information.jobs AS j
          JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
          WHERE j.proc_name = 'policy_retention' AND j.hypertable_schema = 'public'
            AND j.hypertable_name IN ('occupancy_events', 'health_logs') AND j.scheduled) AS runs
"""
SILENT = """
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
CONTINUOUS = """
    SELECT m.name, m.watermark, date_part('epoch', now() - m.watermark), public.hypertable_size(m.relation)
    FROM timeseries.materializations AS m
    WHERE m.family IS NOT NULL
"""
TABLE = """
    SELECT {rows}, {size}, span.oldest, span.newest
    FROM (SELECT min("timestamp") AS oldest, max("timestamp") AS newest FROM {events}) AS span
"""
# The planner knows nothing of chunks that went into the columnstore, and TimescaleDB's own estimate counts them twice.
ROWS = {
    ServerKind.COMMUNITY: """(
        SELECT coalesce(sum(d.samples), 0)::bigint FROM {days} AS d
        WHERE d.bucket >= date_trunc('day', span.oldest, 'UTC'))""",
    ServerKind.APACHE: "public.approximate_row_count({name})",
    ServerKind.POSTGRESQL: "(SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = {name}::regclass)",
}
KEPT = "SELECT coalesce(pg_total_relation_size(to_regclass(%s)), 0)"
COLUMNSTORE = """
    SELECT coalesce(sum(before_compression_total_bytes), 0)::bigint,
           coalesce(sum(after_compression_total_bytes), 0)::bigint
    FROM public.hypertable_columnstore_stats(%s::regclass)
"""
# One statement, so one snapshot: what is stored meanwhile is in both or in neither.
COUNT = """
    SELECT (day AT TIME ZONE 'UTC')::date,
           (SELECT count(*) FROM public.{events} WHERE "timestamp" >= day AND "timestamp" < day + interval '24 hours'),
           (SELECT coalesce(sum(samples), 0) FROM public.{quarters}
            WHERE bucket >= day AND bucket < day + interval '24 hours')::bigint
    FROM (SELECT date_trunc('day', now(), 'UTC') - interval '24 hours' AS day) AS yesterday
"""


def _value(connection: psycopg.Connection[Any], query: LiteralString, parameters: list[Any] | None = None) -> Any:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None


def _table(connection: psycopg.Connection[Any], server: Server, name: str) -> TableStatus:
    names = {
        "events": sql.Identifier("public", name),
        "days": sql.Identifier("public", f"{name.partition('_')[0]}_weekday"),
        "name": sql.Literal(f"public.{name}"),
    }
    size = "public.hypertable_size({name})" if server.timescaledb else "pg_total_relation_size({name})"
    parts = {part: sql.SQL(text).format(**names) for part, text in (("rows", ROWS[server.kind]), ("size", size))}
    row = connection.execute(sql.SQL(TABLE).format(**names, **parts)).fetchone()
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    before = after = 0
    if server.kind is ServerKind.COMMUNITY:
        before, after = connection.execute(COLUMNSTORE, [f"public.{name}"]).fetchone() or (0, 0)
    estimated, size_, oldest, newest = row
    return TableStatus(name, estimated, size_, before, after, oldest, newest)


def _count(connection: psycopg.Connection[Any], name: str) -> DayCount:
    quarters = next(aggregate for aggregate, source in SOURCES.items() if source == name)
    names = {"events": sql.Identifier(name), "quarters": sql.Identifier(quarters)}
    row = connection.execute(sql.SQL(COUNT).format(**names)).fetchone()
    assert row is not None  # noqa: S101 - a query without FROM a table has one row
    return DayCount(name, *row)


def _aggregates(connection: psycopg.Connection[Any], kind: ServerKind) -> tuple[AggregateStatus, ...]:
    found = {}
    if kind is ServerKind.COMMUNITY:
        found = {row[0]: AggregateStatus(row[0], "continuous aggregate", row[3], row[1], row[2])
                 for row in connection.execute(CONTINUOUS).fetchall()}  # fmt: skip

    def view(name: str) -> AggregateStatus:
        kept = f"timeseries.{name.partition('_')[0]}_kept" if name.endswith("quarter_hourly") else None
        return AggregateStatus(name, "view", _value(connection, KEPT, [kept]), None, None)

    return tuple(found.get(name) or view(name) for name in SOURCES)
