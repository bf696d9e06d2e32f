"""`timeseries status` says when the last backup was taken and whether WAL is archived."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.command_line import run
from tests.support.faults import opened, own_cluster
from tests.support.roles import MakeRole, as_role, make_role, refusal
from tests.support.servers import RunningServer
from timeseries import Store, restore
from timeseries.monitoring.backups import BackupStatus

__all__ = ["make_role"]


def backups(store: Store) -> BackupStatus:
    return store.status().backups


def backup_problems(store: Store) -> list[str]:
    return [problem for problem in store.status().problems if "backup" in problem or "WAL" in problem]


def test_a_backup_is_recorded_and_an_old_one_is_a_problem(server: RunningServer, store: Store, tmp_path: Path) -> None:
    assert backups(store).last is None
    assert "Backups: none recorded" in run(store.url, "status").output
    store.backup(tmp_path / "store.backup")
    last = backups(store).last
    assert last is not None
    assert datetime.now(UTC) - last < timedelta(minutes=5)
    assert backups(store).kind == "timeseries backup"
    assert backup_problems(store) == []
    with store.pool.connection() as connection:
        connection.execute("UPDATE timeseries.backups SET taken_at = now() - interval '9 days'")
    (problem,) = backup_problems(store)
    assert "(timeseries backup) is 9 days old" in problem
    copy = server.empty()
    restore(copy, tmp_path / "store.backup")
    with opened(copy) as restored:
        assert backups(restored).last is None


def test_a_role_may_record_a_backup_and_nothing_else(store: Store, make_role: MakeRole) -> None:
    name = make_role(store.url, "reader")
    record = "SELECT timeseries.record_backup('pgBackRest')"
    with store.pool.connection() as connection:
        connection.execute(f'GRANT USAGE ON SCHEMA timeseries TO "{name}"')
    assert refusal(as_role(store.url, name), record) == "42501"
    with store.pool.connection() as connection:
        connection.execute(f'GRANT EXECUTE ON FUNCTION timeseries.record_backup TO "{name}"')
    with psycopg.connect(as_role(store.url, name)) as connection:
        connection.execute(record)
    assert refusal(as_role(store.url, name), "DELETE FROM timeseries.backups") == "42501"
    assert backups(store).kind == "pgBackRest"
    assert [problem for problem in store.role_deviations() if name in problem] == []


@pytest.mark.slow
def test_an_archive_that_takes_no_wal_is_a_problem(server: RunningServer) -> None:
    archive = {"archive_mode": "on", "wal_level": "replica", "archive_command": "false"}
    with own_cluster(server, **archive) as cluster, opened(cluster.url()) as store:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_switch_wal() FROM pg_logical_emit_message(true, 'test', 'something')")
        deadline = time.monotonic() + 60
        while not backup_problems(store) and time.monotonic() < deadline:
            time.sleep(0.2)
        (problem,) = backup_problems(store)
        assert problem.startswith("WAL is not archived, and fills the disk: archive_command failed")
        assert backups(store).archiving
