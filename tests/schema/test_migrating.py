"""Migrations that go wrong: errors an operator understands, two at once, and a way down that would lose data."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tests.support.roles import MakeRole, as_role, make_role
from timeseries import (
    ConfigurationError,
    InvalidInputError,
    NotAllowedError,
    OccupancyEvent,
    ServerUnavailableError,
    Store,
    TimeseriesError,
)
from timeseries.cli import main
from timeseries.schema import migrations, revisions
from timeseries.schema.guard import migration_lock
from timeseries.settings import Settings

__all__ = ["make_role"]
ROOT = Path(__file__).parents[2]


def refused(kind: type[TimeseriesError], action: Callable[[], object], *words: str) -> None:
    with pytest.raises(kind) as raised:
        action()
    for word in words:
        assert word in str(raised.value)


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def test_a_revision_that_does_not_exist_is_named_with_those_that_do(database: str) -> None:
    refused(InvalidInputError, lambda: migrations.migrate(database, "nonsense"), "'nonsense'", revisions.head(), "base")
    result = CliRunner().invoke(main, ["--database-url", database, "migrate", "nonsense"])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)


def test_a_schema_of_a_newer_package_is_left_migration_lock(database: str) -> None:
    run(database, "UPDATE alembic_version SET version_num = '9999'")
    refused(ConfigurationError, lambda: migrations.migrate(database), "9999", "update the package")


def test_a_role_that_may_not_make_tables_is_told_who_can_help(empty_database: str, make_role: MakeRole) -> None:
    name = make_role(empty_database, "stranger")
    run(empty_database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    migrate = as_role(empty_database, name)
    refused(NotAllowedError, lambda: migrations.migrate(migrate), f"timeseries grant --owner {name}")


def test_what_stands_in_the_way_is_one_of_our_errors(empty_database: str) -> None:
    run(empty_database, "CREATE TABLE cameras (id integer)")
    refused(ConfigurationError, lambda: migrations.migrate(empty_database), "cameras", "42P07")
    run(empty_database, "ALTER ROLE CURRENT_USER SET default_transaction_read_only = on")
    try:
        refused(ConfigurationError, lambda: migrations.migrate(empty_database), "on the primary")
    finally:
        run(empty_database, "SET transaction_read_only = off; ALTER ROLE CURRENT_USER RESET ALL")


def test_a_reader_that_holds_a_lock_is_named_as_the_reason(database: str) -> None:
    run(database, f'ALTER DATABASE "{database.rsplit("/", 1)[1]}" SET lock_timeout = 300')
    with psycopg.connect(database) as reader:
        reader.execute("SELECT FROM cameras")
        refused(ServerUnavailableError, lambda: migrations.migrate(database, "base"), "locks")
    migrations.migrate(database, "base")


def test_two_processes_migrate_at_once_and_both_succeed(empty_database: str) -> None:
    program = "import sys; from timeseries import migrate\nprint(flush=True); sys.stdin.read(); migrate(sys.argv[1])"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    words = [sys.executable, "-c", program, empty_database]
    both = [subprocess.Popen(words, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in both:
        process.stdout.readline()  # both have started
    for process in both:
        process.stdin.close()
        process.stdin = None
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    Store.open(empty_database, settings=Settings()).close()


def test_threads_migrate_at_once_and_all_succeed(empty_database: str) -> None:
    failed: list[BaseException] = []

    def migrate() -> None:
        try:
            migrations.migrate(empty_database)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    Store.open(empty_database, settings=Settings()).close()


def test_alembic_waits_for_a_migration_too_whatever_limits_the_role_has(empty_database: str) -> None:
    run(empty_database, f'ALTER DATABASE "{empty_database.rsplit("/", 1)[1]}" SET lock_timeout = 100')
    words = [sys.executable, "-m", "alembic", "upgrade", "head"]
    environment = os.environ | {"TIMESERIES_DATABASE_URL": empty_database}
    with migration_lock(empty_database):
        process = subprocess.Popen(words, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(4)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    Store.open(empty_database, settings=Settings()).close()


def test_the_way_down_is_refused_while_there_is_data_and_says_what_would_be_lost(store: Store) -> None:
    store.record([OccupancyEvent(store.cameras.add("lot").id, datetime.now(UTC) - timedelta(days=2), 7)])
    averages = "1 rows of occupancy_quarter_hourly"
    refused(InvalidInputError, lambda: migrations.migrate(store.url, "0001"), averages, "timeseries backup", "--yes")
    everything = ("1 rows of cameras", "1 rows of occupancy_events", averages)
    refused(InvalidInputError, lambda: migrations.migrate(store.url, "base"), *everything)
    result = CliRunner().invoke(main, ["--database-url", store.url, "migrate", "base"])
    assert (result.exit_code, revisions.current(store.url)) == (1, revisions.head())
    store.close()
    assert CliRunner().invoke(main, ["--database-url", store.url, "migrate", "base", "--yes"]).exit_code == 0
    assert revisions.current(store.url) is None


def test_the_way_down_over_functions_alone_loses_nothing_and_is_free(store: Store) -> None:
    store.record([OccupancyEvent(store.cameras.add("lot").id, datetime.now(UTC) - timedelta(days=2), 7)])
    migrations.migrate(store.url, "0002")
    migrations.migrate(store.url)
    with store.pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM occupancy_weekday").fetchone() == (1,)


def test_the_way_down_of_an_empty_schema_and_of_none_is_free(database: str) -> None:
    for _ in range(2):
        migrations.migrate(database, "base")
        assert revisions.current(database) is None
