"""Restoring a backup into an empty database: checked before, counted afterwards, with background jobs paused."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from subprocess import PIPE
from typing import IO
from zipfile import ZipFile

import psycopg
from psycopg import sql

from timeseries.backup.archive import BLOCK, DUMP, Manifest, open_backup
from timeseries.backup.dump import count_rows
from timeseries.backup.programs import find_program, running, target
from timeseries.database.connections import NO_LIMIT, Connection, connect, translated_errors
from timeseries.database.rows import row
from timeseries.database.server import Server, ServerKind, inspect_server
from timeseries.database.silence import same_server
from timeseries.errors import BackupError, ConfigurationError
from timeseries.maintenance.jobs import Job, bound_lock_waits, list_jobs, pause
from timeseries.progress import Progress
from timeseries.settings import Settings

# User objects: relations, functions, enums and schemas that belong to no extension.
SELECT_OCCUPANTS = """
    WITH schemas AS (
        SELECT oid, nspname FROM pg_catalog.pg_namespace
        WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
          AND nspname NOT LIKE '\\_timescaledb\\_%' AND nspname NOT LIKE 'timescaledb\\_%'
    ), objects AS (
        SELECT 'pg_class'::regclass AS class, c.oid, s.nspname || '.' || c.relname AS name
        FROM pg_catalog.pg_class AS c JOIN schemas AS s ON s.oid = c.relnamespace
        UNION ALL
        SELECT 'pg_proc'::regclass, p.oid, s.nspname || '.' || p.proname
        FROM pg_catalog.pg_proc AS p JOIN schemas AS s ON s.oid = p.pronamespace
        UNION ALL
        SELECT 'pg_type'::regclass, t.oid, s.nspname || '.' || t.typname
        FROM pg_catalog.pg_type AS t JOIN schemas AS s ON s.oid = t.typnamespace WHERE t.typtype IN ('e', 'd')
        UNION ALL
        SELECT 'pg_namespace'::regclass, oid, nspname FROM schemas WHERE nspname <> 'public'
    )
    SELECT name::text FROM objects AS o
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
                      WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype = 'e')
    ORDER BY 1 LIMIT 4
"""
SELECT_EXTENSION = """
    SELECT (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'),
           ARRAY (SELECT version FROM pg_catalog.pg_available_extension_versions WHERE name = 'timescaledb')
"""
SELECT_MISSING_ROLES = """
    SELECT name FROM unnest(%s::text[]) AS name
    WHERE name NOT IN (SELECT rolname FROM pg_catalog.pg_roles)
"""


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What was restored: the moment that it shows, the revision of its schema, the rows of each relation (the same as
    in the backup), and the background jobs that are paused now and were not when the backup was made.
    """

    path: Path
    created_at: datetime
    revision: str
    counts: dict[str, int]
    paused: tuple[Job, ...]


def restore(url: str, path: Path, *, settings: Settings | None = None, progress: Progress = None) -> RestoreResult:
    """Restore a backup into an empty database on a server of the same kind, with the same version of TimescaleDB.

    Background jobs are paused before the first of them can run, until `timeseries jobs resume`, and so is pruning where
    there are none: retention would remove at once what an old backup holds. The rows of every relation are counted and
    compared with those that were dumped. A restore that is broken off leaves a database in which no job runs; drop it.
    `progress` is called with bytes read and bytes in all. A backup holds code: restore only what you trust.

    Raises:
        BackupError: the file is no whole backup, the database is not empty, or the rows are not those of the backup.
        ConfigurationError: the server is not one that this backup can be restored on; the message says why.
        ServerUnavailableError: the server is away.
    """
    settings = settings or Settings.from_environment()
    with translated_errors(), open_backup(path) as (manifest, file):
        with connect(url, deadline=NO_LIMIT) as connection:
            _check_target(connection, manifest)
            database, environment = target(url, connection)
            program, _ = find_program("pg_restore", manifest.pg_dump, settings)
            name, server = connection.info.dbname, same_server(connection.info)
        _prepare(url, manifest)
        words: list[str | Path] = [program, "--exit-on-error", "--no-owner", "--no-password", database]
        try:
            with running(words, environment, server, stdin=PIPE) as process:
                assert process.stdin is not None  # noqa: S101 - for the type checker
                _feed(process.stdin, file, progress)
            with connect(url, deadline=NO_LIMIT) as connection:
                paused = _finish(connection, manifest)
                counts = count_rows(connection)
                _compare(manifest.counts, counts)
                connection.execute("ANALYZE")
        except (BackupError, psycopg.Error) as error:
            raise BackupError(f"{error}; {name} is not complete: drop it, and restore into a new database") from error
    return RestoreResult(path, manifest.created_at, manifest.revision, counts, paused)


def _check_target(connection: Connection, manifest: Manifest) -> None:
    occupants = [name for (name,) in connection.execute(SELECT_OCCUPANTS).fetchall()]
    if occupants:
        raise BackupError(
            f"the database {connection.info.dbname} is not empty, it holds {', '.join(occupants[:3])}"
            f"{' and more' if len(occupants) > 3 else ''}; create a new one and restore into that"
        )
    made_on, here = int(manifest.server.postgresql.split(".")[0]), connection.info.server_version // 10_000
    if here < made_on:
        raise ConfigurationError(
            f"the backup is of {manifest.server} and this server is PostgreSQL {here}, which is older;"
            f" restore it on PostgreSQL {made_on} or newer"
        )
    _check_extension(connection, manifest.server)
    missing = [name for (name,) in connection.execute(SELECT_MISSING_ROLES, [list(manifest.roles)]).fetchall()]
    if missing:
        raise ConfigurationError(
            f"the backup gives rights to roles that this server does not have: {', '.join(missing)};"
            " create them first (CREATE ROLE), without login if need be"
        )


def _check_extension(connection: Connection, made_on: Server) -> None:
    installed, available = row(connection, SELECT_EXTENSION)
    if made_on.timescaledb == installed or (installed is None and made_on.timescaledb in available):
        return
    if made_on.timescaledb is None:
        raise ConfigurationError(
            f"the backup is of {made_on}, without TimescaleDB, and this database has it;"
            " drop the extension there first (DROP EXTENSION timescaledb)"
        )
    found = installed or ", ".join(sorted(available)) or "none"
    raise ConfigurationError(
        f"the backup is of {made_on}; it needs the same version of TimescaleDB, and this server has {found}."
        " Restore where it is the same, and update the extension afterwards"
    )


def _prepare(url: str, manifest: Manifest) -> None:
    """The extension, of the right kind, and its mode for restoring, in which it starts no job."""
    if manifest.server.timescaledb is None:
        return
    create = sql.SQL("CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA public VERSION {}")
    with connect(url, deadline=NO_LIMIT) as connection:
        connection.execute(create.format(manifest.server.timescaledb))
        found = inspect_server(connection)
        if found.kind is not manifest.server.kind:
            connection.rollback()
            raise ConfigurationError(
                f"the backup is of {manifest.server} and this server is {found}: their licences and so their"
                " aggregates differ; restore it on a server of its kind, or export and import the events"
            )
        connection.execute("SELECT public.timescaledb_pre_restore()")


def _feed(stdin: IO[bytes], file: ZipFile, progress: Progress) -> None:
    total = file.getinfo(DUMP).file_size
    with file.open(DUMP) as dump:
        while block := dump.read(BLOCK):
            stdin.write(block)
            if progress is not None:
                progress(dump.tell(), total)


def _finish(connection: Connection, manifest: Manifest) -> tuple[Job, ...]:
    """End TimescaleDB's restoring mode and pause all jobs in one transaction, because its scheduler waits for the
    commit. The store's own retention is paused already, because `retention_run` is in no backup.
    """
    if manifest.server.timescaledb is not None:
        connection.execute("SELECT public.timescaledb_post_restore()")
        paused = pause(connection)
        connection.commit()
        bound_lock_waits(connection)  # a setting of the database is not in its dump
        if manifest.server.kind is ServerKind.COMMUNITY:
            return paused
    return list_jobs(connection)


def _compare(wanted: dict[str, int], found: dict[str, int]) -> None:
    different = [
        f"{name} {found.get(name, 0):,} of {wanted.get(name, 0):,}"
        for name in {**wanted, **found}
        if found.get(name) != wanted.get(name)
    ]
    if different:
        raise BackupError(f"not all rows are there after the restore: {', '.join(different)}")
