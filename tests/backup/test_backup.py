"""Backups: everything comes back, nothing is lost on the way, and nothing that was restored is dropped at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from tests.support.backups import MIDNIGHT, everything, filled
from tests.support.keys import SECRET_KEY
from tests.support.servers import RunningServer
from tests.support.urls import parse_url
from timeseries import (
    BackupError,
    ConfigurationError,
    InvalidInputError,
    OccupancyEvent,
    ServerKind,
    Store,
    restore,
)
from timeseries.backup.programs import find_program
from timeseries.cli import main
from timeseries.settings import Settings

__all__ = ["filled"]


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
        copy.jobs.resume()
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
    from timeseries.backup.dump import backup

    settings, target = Settings(postgres=watched), server.empty()

    backup(store.url, tmp_path / "store.backup", settings=settings)
    restore(target, tmp_path / "store.backup", settings=settings)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [Path(call.split()[0]).name for call in calls] == ["pg_dump", "pg_restore"]
    for call in calls:
        words, password = call.rsplit(" / ", 1)
        assert password == parse_url(store.url).password
        assert password not in words
    (tmp_path / "fail").touch()
    with pytest.raises(BackupError, match="pg_dump failed: pg_dump: error: no more") as caught:
        backup(store.url, tmp_path / "next.backup", settings=settings)
    assert password not in str(caught.value)


def test_a_backup_that_fails_leaves_the_older_one_and_nothing_else(store: Store, tmp_path: Path, watched: Path) -> None:
    from timeseries.backup.dump import backup

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
