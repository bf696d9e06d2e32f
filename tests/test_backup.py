"""Backups: everything comes back, nothing is lost on the way, and nothing that was restored is dropped at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import run
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from conftest import SECRET_KEY, RunningServer

from timeseries import (
    BackupError,
    ConfigurationError,
    HealthLog,
    InvalidInputError,
    OccupancyEvent,
    ServerKind,
    Store,
    jobs,
)
from timeseries.archive import Manifest, opened, write_dump, write_manifest
from timeseries.cli import main
from timeseries.connections import connected, parse_url
from timeseries.programs import find_program
from timeseries.restore import restore
from timeseries.settings import Settings

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
AGGREGATES = [f"{f}_{level}" for f in ("occupancy", "health") for level in ("quarter_hourly", "hourly", "weekday")]
CATALOG = """
    SELECT 'function', p.oid::regprocedure::text, md5(p.prosrc) FROM pg_proc AS p
    WHERE p.pronamespace = 'timeseries'::regnamespace OR p.proname ~ '^(occupancy|health)_'
    UNION ALL
    SELECT 'trigger', tgrelid::regclass::text || '.' || tgname, tgenabled::text FROM pg_trigger
    WHERE tgrelid = 'cameras'::regclass AND NOT tgisinternal
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text IN ('cameras', 'occupancy_events', 'health_logs')
"""
POLICIES = "SELECT job_id, proc_name, hypertable_name, config, schedule_interval FROM timescaledb_information.jobs"


def fill(store: Store) -> None:
    """Two cameras: one whose oldest raw rows are gone and only averages are kept, one with everything."""
    old = store.cameras.add("old", timezone="Asia/Kolkata", connection_string="rtsp://admin:hunter2@camera/1")
    new = store.cameras.add("new", capacity=90, hold=timedelta(hours=2), zone_config={"zones": [[0, 1]]})
    start = MIDNIGHT - timedelta(days=100)
    store.record(OccupancyEvent(old.id, start + timedelta(hours=i), i % 50, {"i": i}) for i in range(72))
    store.record([HealthLog(old.id, start, "degraded", "RTSP timeout")])
    store.prune()
    recent = MIDNIGHT - timedelta(days=9)
    store.record(OccupancyEvent(new.id, recent + timedelta(minutes=20 * i), i % 90) for i in range(600))
    store.record([HealthLog(new.id, recent + timedelta(days=1), "healthy")])
    if store.server().kind is ServerKind.COMMUNITY:
        with store.pool.connection() as connection:
            connection.autocommit = True
            connection.execute("SELECT compress_chunk(c) FROM show_chunks('occupancy_events') AS c LIMIT 3")
            connection.autocommit = False


def everything(url: str) -> dict[str, Any]:
    """All rows, all averages, and what the database is made of."""
    with psycopg.connect(url) as connection:

        def rows(query: str) -> set[str]:
            return {str(row) for row in connection.execute(query).fetchall()}  # type: ignore[arg-type]

        connection.execute("SET timezone = 'UTC'")
        found = {name: rows(f"SELECT * FROM {name}") for name in ["cameras", "occupancy_events", "health_logs"]}
        found |= {name: rows(f"SELECT * FROM {name}") for name in AGGREGATES}
        span = f"NULL, '{MIDNIGHT - timedelta(days=110)}', '{MIDNIGHT}'"
        for name in ("occupancy_hours", "occupancy_weekdays", "health_hours", "health_weekdays"):
            found[name] = rows(f"SELECT * FROM {name}({span})")
        found["catalog"] = rows(CATALOG)
        if connection.execute("SELECT to_regclass('timescaledb_information.jobs')").fetchone() != (None,):
            found["policies"] = rows(POLICIES)
    return found


@pytest.fixture
def filled(store: Store) -> Store:
    fill(store)
    return store


def rewritten(path: Path, change: Callable[[Manifest], Manifest]) -> Path:
    """The same backup with another manifest."""
    other = path.with_name("other.backup")
    with opened(path) as (manifest, dump), other.open("w+b") as file:
        write_dump(file, dump, lambda: None)
        write_manifest(file, change(manifest))
    return other


def test_everything_is_the_same_after_a_restore(filled: Store, server: RunningServer, tmp_path: Path) -> None:
    before = everything(filled.url)
    made = filled.backup(tmp_path / "store.backup")
    target = server.empty()
    result = restore(target, made.path)
    assert everything(target) == before
    assert result.counts == made.counts
    assert result.counts["occupancy_events"] == 600
    assert result.created_at == made.created_at
    with Store.open(target, settings=Settings(secret_key=SECRET_KEY)) as copy:
        assert copy.cameras.connection_string("old") == "rtsp://admin:hunter2@camera/1"
        late = OccupancyEvent(copy.cameras.get("old").id, MIDNIGHT - timedelta(days=100), 3)
        now = OccupancyEvent(late.camera_id, datetime.now(UTC), 4)
        recorded = copy.record([now, late])
        assert (recorded.inserted, [r.index for r in recorded.rejected]) == (1, [1])
        copy.prune()
    assert everything(target)["occupancy_weekday"] >= before["occupancy_weekday"]


def test_what_is_written_during_a_backup_is_in_it_or_after_it_but_never_miscounted(
    filled: Store, server: RunningServer, tmp_path: Path
) -> None:
    camera, written = filled.cameras.get("new").id, 0

    def write(done: int, total: int) -> None:
        nonlocal written
        assert 0 < done <= total
        event = OccupancyEvent(camera, MIDNIGHT - timedelta(days=8, seconds=done), 1)
        written += filled.record([event]).inserted

    made = filled.backup(tmp_path / "store.backup", progress=write)
    assert written > 3
    assert made.counts["occupancy_events"] == 600
    assert restore(server.empty(), made.path).counts == made.counts


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_nothing_takes_rows_away_from_under_a_backup_and_retention_waits_its_turn(
    filled: Store, tmp_path: Path
) -> None:
    refused: list[str | None] = []
    next_starts: list[datetime] = []

    def disturb(done: int, _: int) -> None:
        if refused:
            return
        with psycopg.connect(filled.url, autocommit=True) as other:
            next_starts.extend(
                row[0]
                for row in other.execute(
                    "SELECT next_start FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
                ).fetchall()
            )
            other.execute("SET lock_timeout = '200ms'")
            for action in ("compress_chunk(c) FROM show_chunks('occupancy_events') AS c WHERE NOT is_compressed(c)",
                           "drop_chunks('occupancy_events', older_than => now())"):  # fmt: skip
                with pytest.raises(psycopg.Error) as caught:
                    other.execute(f"SELECT {action.replace(' WHERE NOT is_compressed(c)', ' OFFSET 5')}")
                refused.append(caught.value.sqlstate)

    filled.backup(tmp_path / "store.backup", progress=disturb)
    assert refused == ["55P03", "55P03"]
    assert min(next_starts) > datetime.now(UTC) + timedelta(minutes=30)


def test_a_restore_that_misses_rows_says_how_many(filled: Store, server: RunningServer, tmp_path: Path) -> None:
    made = filled.backup(tmp_path / "store.backup")
    claim = rewritten(made.path, lambda m: replace(m, counts=m.counts | {"occupancy_events": 601}))
    with pytest.raises(BackupError, match=r"occupancy_events 600 of 601.*drop it"):
        restore(server.empty(), claim)


def test_a_backup_can_be_restored_without_this_package(filled: Store, server: RunningServer, tmp_path: Path) -> None:
    """By the commands of the documentation."""
    made = filled.backup(tmp_path / "store.backup")
    run(["tar", "xf", made.path, "-C", tmp_path], check=True)
    target = server.empty()
    timescale = server.kind is not ServerKind.POSTGRESQL
    if timescale:
        with psycopg.connect(target, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION timescaledb")
            connection.execute("SELECT timescaledb_pre_restore()")
    program, _ = find_program("pg_restore", 18, Settings())
    words = [program, "--exit-on-error", "--no-owner", "--dbname", target, tmp_path / "database.dump"]
    run(words, check=True, capture_output=True)
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
    run(words, check=True, capture_output=True)
    partial = tmp_path / "partial.backup"
    with (
        opened(made.path) as (manifest, _),
        partial.open("w+b") as file,
        (tmp_path / "partial.dump").open("rb") as dump,
    ):
        size, digest = write_dump(file, dump, lambda: None)
        write_manifest(file, replace(manifest, bytes=size, sha256=digest))
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
            connection.execute(thing)  # type: ignore[arg-type]
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
            with opened(made.path) as (manifest, _):
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


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """An installation whose programs write down how they were called, and then do as the real ones; `fail` stops it."""
    folder = tmp_path / "watched" / "bin"
    folder.mkdir(parents=True)
    for name in ("pg_dump", "pg_restore"):
        program, _ = find_program(name, 18, Settings())
        script = folder / name
        script.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] || echo "$0 $* / $PGPASSWORD" >> {tmp_path}/calls\n'
            f'if [ -e {tmp_path}/fail ] && [ "$1" != --version ]; then\n'
            f'  head -c 5000 /dev/zero; echo "{name}: error: no more" >&2; exit 1\nfi\nexec {program} "$@"\n'
        )
        script.chmod(0o755)
    return folder.parent


def test_the_password_is_on_no_command_line_and_in_no_error(
    store: Store, server: RunningServer, tmp_path: Path, watched: Path
) -> None:
    from timeseries.backup import backup

    settings, target = Settings(postgres=watched), server.empty()

    def with_password(url: str) -> str:
        return parse_url(url).set(drivername="postgresql", password="hunter2").render_as_string(hide_password=False)

    backup(with_password(store.url), tmp_path / "store.backup", settings=settings)
    restore(with_password(target), tmp_path / "store.backup", settings=settings)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [Path(call.split()[0]).name for call in calls] == ["pg_dump", "pg_restore"]
    for call in calls:
        words, password = call.rsplit(" / ", 1)
        assert password == "hunter2"
        assert "hunter2" not in words
    (tmp_path / "fail").touch()
    with pytest.raises(BackupError, match="pg_dump failed: pg_dump: error: no more") as caught:
        backup(with_password(store.url), tmp_path / "next.backup", settings=settings)
    assert "hunter2" not in str(caught.value)


def test_a_backup_that_fails_leaves_the_older_one_and_nothing_else(store: Store, tmp_path: Path, watched: Path) -> None:
    from timeseries.backup import backup

    folder = tmp_path / "backups"
    folder.mkdir()
    path = backup(store.url, folder / "store.backup", settings=Settings(postgres=watched)).path
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    (tmp_path / "fail").touch()
    with pytest.raises(BackupError):
        backup(store.url, path, settings=Settings(postgres=watched))
    assert path.read_bytes() == before
    assert list(folder.iterdir()) == [path]
    with pytest.raises(InvalidInputError, match="check the path"):
        backup(store.url, tmp_path / "nowhere" / "store.backup")


def test_an_error_of_the_progress_ends_the_backup(store: Store, tmp_path: Path) -> None:
    def fail(*_: int) -> None:
        raise RuntimeError("the terminal is gone")

    with pytest.raises(RuntimeError, match="the terminal is gone"):
        store.backup(tmp_path / "store.backup", progress=fail)
    assert list(tmp_path.iterdir()) == []


def test_of_the_programs_the_oldest_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    for name, version in (("old", 16), ("new", 97), ("newest", 98)):
        program = tmp_path / name / "bin" / "pg_dump"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}.1 (Debian)'\n")
        program.chmod(0o755)
    assert find_program("pg_dump", 97, Settings(postgres=tmp_path / "new"))[1] == 97
    assert find_program("pg_dump", 97, Settings(postgres=tmp_path / "newest"))[1] == 98
    with pytest.raises(ConfigurationError, match=r"no pg_dump of PostgreSQL 97 .*old/bin/pg_dump \(16\)"):
        find_program("pg_dump", 97, Settings(postgres=tmp_path / "old"))


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_an_old_backup_keeps_its_rows_until_the_operator_resumes_the_jobs(
    filled: Store, server: RunningServer, tmp_path: Path
) -> None:
    """On a server whose scheduler is awake."""
    if server.found.cluster is None:
        pytest.skip("needs a server of the test's own")
    old = MIDNIGHT - timedelta(days=95)
    camera = filled.cameras.get("new").id
    filled.record(OccupancyEvent(camera, old + timedelta(hours=i), i) for i in range(24))
    made = filled.backup(tmp_path / "store.backup")
    count = f"SELECT count(*) FROM occupancy_events WHERE \"timestamp\" < '{old + timedelta(days=1)}'"
    cluster = server.found.cluster(**{"timescaledb.max_background_workers": "8", "max_worker_processes": "24"})
    try:
        cluster.start()
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            admin.execute("CREATE DATABASE old")
        result = restore(cluster.url("old"), made.path)
        assert len(result.paused) == made.counts["background jobs"] > 0
        with Store.open(cluster.url("old"), settings=Settings()) as store:

            def old_rows() -> int:
                with connected(store.pool) as connection:
                    return int(connection.execute(count).fetchone()[0])  # type: ignore[arg-type,index]

            with connected(store.pool) as connection:  # the scheduler is at work: a job of our own runs at once
                connection.execute("CREATE TABLE ran (at timestamptz)")
                connection.execute("""
                    CREATE PROCEDURE note(job_id integer, config jsonb) LANGUAGE sql AS 'INSERT INTO ran VALUES (now())'
                """)
                connection.execute("SELECT add_job('note', interval '1 second')")
            wait_for(store, "SELECT count(*) >= 3 FROM ran")
            assert old_rows() == 24
            jobs.resume(store.pool, [job.job_id for job in result.paused])
            wait_for(store, count.replace("count(*)", "count(*) = 0"))
    finally:
        cluster.remove()


def wait_for(store: Store, question: str) -> None:
    for _ in range(600):
        with connected(store.pool) as connection:
            if connection.execute(question).fetchone() == (True,):  # type: ignore[arg-type]
                return
        time.sleep(0.1)
    raise AssertionError(question)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_resuming_brings_into_the_averages_what_no_refresh_would_look_back_for(
    store: Store, server: RunningServer, tmp_path: Path
) -> None:
    """A backup of ten days ago: its last hours are behind every policy's start_offset."""
    camera = store.cameras.add("lot").id
    watermark = MIDNIGHT - timedelta(days=20)
    with connected(store.pool) as connection:
        micros = int(watermark.timestamp() * 1_000_000)
        for relation, column in (
            ("continuous_aggs_watermark", "watermark"),
            ("continuous_aggs_invalidation_threshold", "watermark"),
            ("continuous_aggs_materialization_invalidation_log", "lowest_modified_value"),
        ):
            connection.execute(
                f"UPDATE _timescaledb_catalog.{relation} SET {column} = %s WHERE {column} > %s",  # type: ignore[arg-type]
                [micros, micros],
            )
    store.record(OccupancyEvent(camera, watermark + timedelta(hours=i), i % 40) for i in range(240))
    before = everything(store.url)
    assert before["occupancy_hourly"]
    target = server.empty()
    restore(target, store.backup(tmp_path / "store.backup").path)
    with Store.open(target, settings=Settings()) as copy:
        jobs.resume(copy.pool)
        copy.record([OccupancyEvent(camera, datetime.now(UTC) - timedelta(hours=30), 5)])
        with psycopg.connect(target, autocommit=True) as connection:
            for job in jobs.list_jobs(connection):
                if job.name.startswith("policy_refresh"):
                    connection.execute("CALL run_job(%s)", [job.job_id])
    after = everything(target)
    for name in AGGREGATES:
        assert after[name] >= before[name], name


def test_jobs_are_paused_and_resumed_by_number_or_all(store: Store) -> None:
    with connected(store.pool) as connection:
        found = jobs.list_jobs(connection)
        assert bool(found) == (store.server().kind is ServerKind.COMMUNITY)
        assert jobs.pause(connection, [job.job_id for job in found[:2]]) == found[:2]
        assert jobs.pause(connection) == found[2:]
        assert {job.scheduled for job in jobs.list_jobs(connection)} <= {False}
        with pytest.raises(InvalidInputError, match="there is no job 7"):
            jobs.pause(connection, [7])
    assert [job.job_id for job in jobs.resume(store.pool, [job.job_id for job in found[:1]])] == [
        job.job_id for job in found[:1]
    ]
    assert len(jobs.resume(store.pool)) == max(len(found) - 1, 0)
    with connected(store.pool) as connection:
        assert jobs.list_jobs(connection) == found


def test_the_command_line_backs_up_restores_and_resumes(filled: Store, server: RunningServer, tmp_path: Path) -> None:
    def call(url: str, *words: str) -> Any:
        environment = {"TIMESERIES_DATABASE_URL": url, "TIMESERIES_SECRET_KEY": SECRET_KEY}
        return CliRunner(env=environment).invoke(main, words)

    path, target = str(tmp_path / "store.backup"), server.empty()
    made = json.loads(call(filled.url, "backup", path, "--json").output)
    assert made["counts"]["occupancy_events"] == 600
    shown = call(target, "restore", path)
    assert shown.exit_code == 0, shown.output
    assert "all rows are there" in shown.output
    listed = json.loads(call(target, "jobs", "list", "--json").output)
    assert not any(job["scheduled"] for job in listed)
    if listed:
        ids = " ".join(str(job["job_id"]) for job in listed)
        assert f"timeseries jobs resume {ids}" in shown.output
        assert "Paused 0 jobs" in call(target, "jobs", "pause").output
        assert f"Resumed 1 jobs: {listed[0]['job_id']}" in call(
            target, "jobs", "resume", str(listed[0]["job_id"])
        ).output  # fmt: skip
    again = call(target, "restore", path)
    assert again.exit_code == 1
    assert "is not empty" in again.output
    empty = json.loads(call(server.empty(), "restore", path, "--json").output)
    assert empty["counts"] == made["counts"]


def test_a_backup_of_a_database_without_the_schema_says_what_to_do(empty_database: str, tmp_path: Path) -> None:
    result = CliRunner(env={"TIMESERIES_DATABASE_URL": empty_database}).invoke(main, ["backup", str(tmp_path / "a")])
    assert result.exit_code == 1
    assert "timeseries migrate" in result.output
