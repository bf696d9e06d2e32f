"""Backups of the whole database, by pg_dump, with the counts of the very snapshot that was dumped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from subprocess import PIPE
from zipfile import ZipFile

import psycopg
from psycopg import sql

from timeseries.atomic_file import atomic_write
from timeseries.backup.archive import Manifest, write_dump, write_manifest
from timeseries.backup.programs import find_program, running, target
from timeseries.database.connections import NO_LIMIT, Connection, connect, translated_errors
from timeseries.database.failures import said
from timeseries.database.rows import row, value
from timeseries.database.server import Server, inspect_server
from timeseries.database.silence import same_server
from timeseries.errors import ServerUnavailableError
from timeseries.maintenance.jobs import list_jobs, postpone_retention
from timeseries.progress import Progress
from timeseries.settings import Settings

log = logging.getLogger(__name__)
# Taken before the snapshot, because retention and compression cannot drop or rewrite chunks of a locked hypertable.
LOCK_TABLES = "LOCK TABLE public.cameras, public.occupancy_events, public.health_logs IN ACCESS SHARE MODE"
SET_SNAPSHOT_LIMITS = """
    SET LOCAL timezone = 'UTC';
    SET LOCAL lock_timeout = '60s';
    SET LOCAL statement_timeout = 0;
    SET LOCAL idle_in_transaction_session_timeout = 0
"""
POSTPONED = timedelta(hours=1)
POSTPONE_EVERY = timedelta(minutes=10)

# Tables by their public names, hypertables as a whole. `retention_run` is in no backup, because retention is paused
# where its row is missing, and `backups` is not, because they are of the original.
SELECT_RELATIONS = """
    SELECT CASE n.nspname WHEN 'public' THEN c.relname::text ELSE n.nspname || '.' || c.relname END,
           n.nspname::text, c.relname::text
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'timeseries')
      AND (n.nspname, c.relname) NOT IN (('timeseries', 'retention_run'), ('timeseries', 'backups'))
    ORDER BY 1
"""
MATERIALIZATIONS = """
    SELECT name, hypertable_schema, hypertable_name FROM timeseries.materializations ORDER BY name
"""
COUNT_DUMPED_TABLES = """
    SELECT count(*) FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""
RECORD_BACKUP = "SELECT timeseries.record_backup('timeseries backup')"
SELECT_ROLES = """
    SELECT DISTINCT r.rolname::text
    FROM (SELECT nspacl FROM pg_catalog.pg_namespace WHERE nspname IN ('public', 'timeseries')
          UNION ALL SELECT relacl FROM pg_catalog.pg_class
          WHERE relnamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname IN ('public', 'timeseries'))
          UNION ALL SELECT proacl FROM pg_catalog.pg_proc
          WHERE pronamespace IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname IN ('public', 'timeseries'))
         ) AS rights (acl)
    CROSS JOIN LATERAL aclexplode(rights.acl) AS granted
    JOIN pg_catalog.pg_roles AS r ON r.oid = granted.grantee
    WHERE granted.grantee <> granted.grantor
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A backup that was made: the file and its size, the moment that it shows, and the rows of each relation."""

    path: Path
    bytes: int
    created_at: datetime
    server: Server
    counts: dict[str, int]


def backup(url: str, path: Path, *, settings: Settings | None = None, progress: Progress = None) -> BackupResult:
    """Write the database as it is at one moment into a file, while writers go on.

    The rows are counted in the snapshot that pg_dump reads; `restore` compares. The file is there when it is whole; an
    older one of this name stays until then. `progress` is called with tables dumped and tables in all.

    Raises:
        ConfigurationError: there is no pg_dump that is not older than the server.
        ServerUnavailableError: the server is away, or something holds a lock on the tables.
        BackupError: pg_dump failed.
        InvalidInputError: the file cannot be written.
    """
    settings = settings or Settings.from_environment()
    with translated_errors(), atomic_write(path, private=True) as name, connect(url, deadline=NO_LIMIT) as connection:
        left_out, at_least = _left_out(connection)
        program, version = find_program("pg_dump", at_least, settings)
        postpone_retention(connection, POSTPONED)
        connection.commit()
        with _snapshot(connection) as (snapshot, created_at), ZipFile(name, "w") as file:
            tables = value(connection, COUNT_DUMPED_TABLES)
            database, environment = target(url, connection)
            words: list[str | Path] = [
                program, "--format=custom", "--verbose", "--no-password",
                f"--snapshot={snapshot}", "--lock-wait-timeout=60s", *left_out, database,
            ]  # fmt: skip
            server = same_server(connection.info)
            with running(words, environment, server, stdout=PIPE, on_line=_counting(progress, tables)) as process:
                assert process.stdout is not None  # noqa: S101 - for the type checker
                write_dump(file, process.stdout, _postponing(url))
            manifest = Manifest(
                created_at, inspect_server(connection),
                value(connection, "SELECT version_num FROM public.alembic_version"),
                count_rows(connection), tuple(role for (role,) in connection.execute(SELECT_ROLES).fetchall()),
                version,
            )  # fmt: skip
            write_manifest(file, manifest)
    _record(url)
    return BackupResult(path, path.stat().st_size, created_at, manifest.server, manifest.counts)


def _record(url: str) -> None:
    """Let `timeseries status` know. A backup is one also where the role has not the right, or this is a standby."""
    try:
        with connect(url) as connection:
            connection.execute(RECORD_BACKUP)
    except psycopg.Error as error:
        log.warning("the backup was taken, and is not recorded for timeseries status: %s", said(error))


def count_rows(connection: Connection) -> dict[str, int]:
    """Rows of every table, of what the continuous aggregates have materialized, and background jobs."""
    relations = connection.execute(SELECT_RELATIONS).fetchall() + connection.execute(MATERIALIZATIONS).fetchall()
    counts = {
        label: value(connection, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, name)))
        for label, schema, name in relations
        if label != "alembic_version"
    }
    return counts | {"background jobs": len(list_jobs(connection))}


def _left_out(connection: Connection) -> tuple[list[str], int]:
    """The exclusions for pg_dump, and the lowest major version that knows them. pg_cron is excluded, because a server
    has it in one database only: a copy could not be restored, and its jobs belong to the original.
    """
    options = [f"--exclude-table-data=timeseries.{table}" for table in ("retention_run", "backups")]
    major = connection.info.server_version // 10_000
    if value(connection, "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_cron')"):
        return [*options, "--exclude-extension=pg_cron"], max(major, 17)
    return options, major


@contextmanager
def _snapshot(connection: Connection) -> Iterator[tuple[str, datetime]]:
    """A transaction whose snapshot others may use while it lasts: its name, and when it was taken."""
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        try:
            connection.execute(SET_SNAPSHOT_LIMITS)
            connection.execute(LOCK_TABLES)
        except psycopg.errors.LockNotAvailable as error:
            raise ServerUnavailableError(
                "the tables are locked; end the transaction that locks them, and try again"
            ) from error
        yield row(connection, "SELECT pg_export_snapshot(), clock_timestamp()")


def _counting(progress: Progress, total: int) -> Callable[[str], None]:
    """A reader of pg_dump's lines that tells `progress` the number of the table that is dumped."""
    number = count(1)

    def read(line: str) -> None:
        if progress is not None and "dumping contents of table" in line:
            done = next(number)
            progress(done, max(total, done))

    return read


def _postponing(url: str) -> Callable[[], None]:
    """A function that, called for each block, keeps retention from starting for as long as the dump takes."""
    last = time.monotonic()

    def postpone() -> None:
        nonlocal last
        if time.monotonic() - last > POSTPONE_EVERY.total_seconds():
            last = time.monotonic()
            with connect(url) as connection:
                postpone_retention(connection, POSTPONED)

    return postpone
