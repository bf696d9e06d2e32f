"""Restore: all or nothing, checked by counts, and refused where it cannot be right."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import run
from zipfile import ZipFile

import psycopg
import pytest

from tests.support.backups import everything, filled, rewritten
from tests.support.servers import RunningServer
from timeseries import (
    BackupError,
    ConfigurationError,
    ServerKind,
    Store,
    restore,
)
from timeseries.backup.archive import Manifest, open_backup, write_dump, write_manifest
from timeseries.backup.programs import find_program
from timeseries.settings import Settings

__all__ = ["filled"]


def test_a_restore_that_misses_rows_says_how_many(filled: Store, server: RunningServer, tmp_path: Path) -> None:
    made = filled.backup(tmp_path / "store.backup")
    claim = rewritten(made.path, lambda m: replace(m, counts=m.counts | {"occupancy_events": 601}))
    with pytest.raises(BackupError, match=r"occupancy_events 600 of 601.*drop it"):
        restore(server.empty(), claim)


def test_a_backup_can_be_restored_without_this_package(filled: Store, server: RunningServer, tmp_path: Path) -> None:
    """By the commands of the documentation."""
    made = filled.backup(tmp_path / "store.backup")
    run([sys.executable, "-m", "zipfile", "-e", made.path, tmp_path], check=True)
    target = server.empty()
    timescale = server.kind is not ServerKind.POSTGRESQL
    if timescale:
        with psycopg.connect(target, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION timescaledb")
            connection.execute("SELECT timescaledb_pre_restore()")
    program, _ = find_program("pg_restore", 18, Settings())
    words = [program, "--exit-on-error", "--no-owner", "--dbname", target, tmp_path / "database.dump"]
    run(words, check=True, capture_output=True)  # type: ignore[arg-type]
    if timescale:
        with psycopg.connect(target) as connection:
            connection.execute("SELECT timescaledb_post_restore()")
            connection.execute("""
                SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs WHERE job_id >= 1000
            """)
    assert everything(target) == everything(filled.url)


def test_a_dump_of_the_tables_alone_is_found_out(filled: Store, server: RunningServer, tmp_path: Path) -> None:
    """Of a hypertable, `pg_dump --table` gives the definition and no rows."""
    made = filled.backup(tmp_path / "store.backup")
    program, _ = find_program("pg_dump", 18, Settings())
    words = [program, "-Fc", "-t", "public.occupancy_events", "-f", tmp_path / "partial.dump", filled.url]
    run(words, check=True, capture_output=True)  # type: ignore[arg-type]
    partial = tmp_path / "partial.backup"
    with (
        open_backup(made.path) as (manifest, _),
        ZipFile(partial, "w") as file,
        (tmp_path / "partial.dump").open("rb") as dump,
    ):
        write_dump(file, dump)
        write_manifest(file, manifest)
    with pytest.raises(BackupError, match="is not complete: drop it"):
        restore(server.empty(), partial)


def test_a_database_that_is_not_empty_is_left_alone(filled: Store, server: RunningServer, tmp_path: Path) -> None:
    made = filled.backup(tmp_path / "store.backup")
    before = everything(filled.url)
    with pytest.raises(BackupError, match=r"is not empty, it holds public\.\w+"):
        restore(filled.url, made.path)
    assert everything(filled.url) == before
    for thing in ("CREATE TABLE mine (a integer)", "CREATE SCHEMA mine", "CREATE TYPE mine AS ENUM ('a')",
                  "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'"):  # fmt: skip
        target = server.empty()
        with psycopg.connect(target) as connection:
            connection.execute(thing)
        with pytest.raises(BackupError, match="mine"):
            restore(target, made.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: replace(m, server=replace(m.server, timescaledb="1.7.0")), "same version of TimescaleDB"),
        (lambda m: replace(m, server=replace(m.server, postgresql="99.1")), "PostgreSQL 99 or newer"),
        (lambda m: replace(m, roles=("dashboard of another server",)), "CREATE ROLE"),
        (lambda m: replace(m, pg_dump=99), "no pg_restore of PostgreSQL 99"),
    ],
    ids=["timescaledb", "postgresql", "roles", "pg_restore"],
)
def test_a_server_that_will_not_do_is_told_apart_before_anything_is_written(
    store: Store, server: RunningServer, tmp_path: Path, change: Callable[[Manifest], Manifest], message: str
) -> None:
    other = rewritten(store.backup(tmp_path / "store.backup").path, change)
    target = server.empty()
    with pytest.raises(ConfigurationError, match=message):
        restore(target, other)
    restore(target, tmp_path / "store.backup")


def test_rights_of_other_roles_come_back(store: Store, server: RunningServer, tmp_path: Path) -> None:
    target = server.empty()
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute("CREATE ROLE backup_reader")
        try:
            with psycopg.connect(store.url) as connection:
                connection.execute("GRANT SELECT ON occupancy_hourly TO backup_reader")
            made = store.backup(tmp_path / "store.backup")
            with open_backup(made.path) as (manifest, _):
                assert "backup_reader" in manifest.roles
            restore(target, made.path)
            with psycopg.connect(target) as connection:
                allowed = "SELECT has_table_privilege('backup_reader', 'occupancy_hourly', 'SELECT')"
                assert connection.execute(allowed).fetchone() == (True,)
        finally:
            server.drop()  # what the role has rights in
            admin.execute("DROP ROLE backup_reader")


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.APACHE)
def test_a_backup_of_another_licence_is_refused(store: Store, server: RunningServer, tmp_path: Path) -> None:
    kind = ServerKind.APACHE if server.kind is ServerKind.COMMUNITY else ServerKind.COMMUNITY
    made = store.backup(tmp_path / "store.backup")
    other = rewritten(made.path, lambda m: replace(m, server=replace(m.server, kind=kind)))
    target = server.empty()
    with pytest.raises(ConfigurationError, match="licences"):
        restore(target, other)
    restore(target, made.path)


def test_a_file_that_was_cut_off_or_changed_is_refused_before_anything_is_written(
    store: Store, server: RunningServer, tmp_path: Path
) -> None:
    path = store.backup(tmp_path / "store.backup").path
    whole = path.read_bytes()
    target = server.empty()
    broken = tmp_path / "broken.backup"
    changed = whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:]
    for content in (b"", b"text", whole[:700], whole[: len(whole) // 2], whole[:-4000], changed):
        broken.write_bytes(content)
        with pytest.raises(BackupError, match=r"broken\.backup is"):
            restore(target, broken)
    with pytest.raises(BackupError, match="check the path"):
        restore(target, tmp_path / "missing.backup")
    restore(target, path)
