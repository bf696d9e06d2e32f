"""The archive of raw rows: what it writes, when it writes again, and what retention may remove meanwhile."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.support.faults import opened
from tests.support.histories import add_cameras, answers, events_of, same
from tests.support.roles import MakeRole, as_role, ingest, make_role, reader, refusal
from tests.support.servers import RunningServer
from timeseries import (
    ArchiveError,
    ConfigurationError,
    HealthLog,
    InvalidInputError,
    OccupancyEvent,
    ServerKind,
    ServerUnavailableError,
    Store,
)
from timeseries.access.roles import grant
from timeseries.backup.restore import restore
from timeseries.cli.main import main
from timeseries.schema import migrations

__all__ = ["ingest", "make_role", "reader"]

DAY = timedelta(days=1)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
OLD = TODAY - 100 * DAY
WHERE_OLD = "timestamp < now() - interval '91 days'"


def execute(store: Store, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(store.url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def files(folder: Path) -> dict[str, int]:
    """Every file and when it was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def archived(folder: Path, table: str = "occupancy_events") -> set[tuple[object, ...]]:
    found = [tuple(row.values()) for path in folder.glob(f"{table}/*/*.parquet") for row in rows_of(path)]
    assert len(found) == len({row[:2] for row in found})
    return set(found)


def rows_of(path: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.ParquetFile(path).read().to_pylist()
    return rows


def stored(store: Store, table: str = "occupancy_events", where: str = "true") -> set[tuple[object, ...]]:
    value, extra = ("occupied_count", "raw_data") if table == "occupancy_events" else ("status", "message")
    return set(
        execute(store, f"SELECT camera_id::text, timestamp, {value}, {extra}::text FROM {table} WHERE {where}")
        if value == "occupied_count"
        else execute(store, f"SELECT camera_id::text, timestamp, {value}::text, {extra} FROM {table} WHERE {where}")
    )


def fill(store: Store, start: datetime = OLD, days: int = 5) -> list[UUID]:
    """Cameras with a history of some days; all of them are over."""
    chance = random.Random(7)
    cameras = add_cameras(store, 2)
    for camera in cameras:
        store.record(events_of(camera, start, start + days * DAY, chance))
        store.cameras.update(camera, desired_state="stopped")
    return cameras


def prune_anyhow(store: Store) -> int:
    """What the server's own retention would do, and the command."""
    if store.server().kind is ServerKind.COMMUNITY:
        with psycopg.connect(store.url, autocommit=True) as connection:
            jobs = connection.execute(
                "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention' AND scheduled"
            ).fetchall()
            for job in jobs:
                connection.execute("CALL run_job(%s)", job)
    return store.prune().removed


def test_the_archive_has_every_raw_row_and_a_second_run_writes_nothing(store: Store, tmp_path: Path) -> None:
    lot, _ = fill(store)
    at = OLD + timedelta(hours=7, microseconds=1)
    odd = '"quoted", new\nline; ünï|code'
    store.record([OccupancyEvent(lot, at, 3, {"text": odd, "n": None}), HealthLog(lot, at, "degraded", odd)])
    store.record([HealthLog(lot, at + DAY, "healthy", ""), OccupancyEvent(lot, datetime.now(UTC), 1)])
    over = f"timestamp < '{TODAY - DAY}'"
    counts, logs = stored(store, where=over), stored(store, "health_logs", over)
    result = store.archive(tmp_path)
    assert (archived(tmp_path), archived(tmp_path, "health_logs")) == (counts, logs)
    assert result.rows == len(archived(tmp_path)) + len(archived(tmp_path, "health_logs"))
    before = files(tmp_path)
    assert (store.archive(tmp_path).files, files(tmp_path)) == (0, before)
    assert not any(name.startswith("_") for name in before)


def test_cameras_are_in_the_archive_without_connection_strings(store: Store, tmp_path: Path) -> None:
    store.cameras.add("lot", connection_string="rtsp://admin:hunter2@host/1", hold=timedelta(minutes=90))
    store.cameras.add("gone")
    store.archive(tmp_path)
    store.cameras.remove("gone")
    store.cameras.update("lot", timezone="Asia/Kathmandu")
    store.archive(tmp_path)
    found = {row["name"]: row for row in pq.read_table(tmp_path / "cameras/cameras.parquet").to_pylist()}
    assert found.keys() == {"lot", "gone"}
    assert (found["lot"]["timezone"], found["lot"]["hold_seconds"]) == ("Asia/Kathmandu", 5400)
    assert not {"connection_string"} & found["lot"].keys()


def test_late_events_and_corrections_reach_the_archive(store: Store, tmp_path: Path) -> None:
    lot, other = fill(store, TODAY - 9 * DAY, 6)
    store.archive(tmp_path)
    before = files(tmp_path)
    late = OccupancyEvent(lot, TODAY - 8 * DAY + timedelta(hours=1, seconds=17), 5)
    at = next(iter(execute(store, f"SELECT max(timestamp) FROM occupancy_events WHERE camera_id = '{other}'")))[0]
    store.record([late])
    assert store.record([OccupancyEvent(other, at, 77)], on_conflict="replace").replaced == 1  # type: ignore[arg-type]
    assert missing(store)["occupancy_events"] == 2
    assert store.archive(tmp_path).files == 2
    assert archived(tmp_path) == stored(store)
    assert sum(files(tmp_path)[name] != written for name, written in before.items()) == 2
    assert missing(store)["occupancy_events"] == 0


def missing(store: Store) -> dict[object, object]:
    return dict(execute(store, "SELECT name, days_missing FROM store_archive()"))  # type: ignore[arg-type]


def test_rows_that_are_stored_or_deleted_past_the_store_reach_the_archive(store: Store, tmp_path: Path) -> None:
    lot, other = fill(store, TODAY - 9 * DAY, 4)
    store.archive(tmp_path)
    execute(store, f"DELETE FROM occupancy_events WHERE camera_id = '{other}'")
    at = TODAY - 40 * DAY
    execute(store, f"INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES ('{lot}', '{at}', 1)")
    store.archive(tmp_path)
    assert archived(tmp_path) == stored(store)


def test_retention_removes_no_day_that_is_not_in_the_archive_and_goes_on_afterwards(
    store: Store, tmp_path: Path
) -> None:
    store.archive(tmp_path)
    fill(store)
    rows = len(stored(store))
    before = answers(store.url, OLD - DAY, OLD + 9 * DAY)
    assert prune_anyhow(store) == 0
    assert len(stored(store)) == rows
    over = ((datetime.now(UTC) - timedelta(hours=25)).date() - OLD.date()).days
    assert missing(store) == {"occupancy_events": over, "health_logs": over}
    assert any("not in the archive" in problem for problem in store.status().problems)
    result = store.archive(tmp_path)
    removed = result.removed or store.prune().removed
    assert removed == len(archived(tmp_path)) + len(archived(tmp_path, "health_logs"))
    assert (stored(store), len(archived(tmp_path))) == (set(), rows)
    assert same(answers(store.url, OLD - DAY, OLD + 9 * DAY), before)
    written = files(tmp_path)
    assert (store.archive(tmp_path).files, files(tmp_path)) == (0, written)
    assert store.status().problems == ()


def test_a_late_event_of_an_archived_day_holds_retention_back_until_it_is_archived(
    store: Store, tmp_path: Path
) -> None:
    lot = store.cameras.add("lot", desired_state="stopped").id
    store.cameras.add("other", desired_state="stopped")
    store.record([OccupancyEvent(lot, OLD + timedelta(hours=i), i) for i in range(20)])
    execute(store, "UPDATE timeseries.retention_run SET scheduled = false")
    store.archive(tmp_path)
    execute(store, "UPDATE timeseries.retention_run SET scheduled = true")
    store.record([OccupancyEvent(lot, OLD + timedelta(minutes=30), 4)])
    held = store.prune()
    assert (held.removed, held.held) == (0, 1)
    assert store.archive(tmp_path).removed + store.prune().removed == 21
    assert len(archived(tmp_path)) == 21


def test_a_late_event_of_a_removed_day_becomes_another_part_of_it(store: Store, tmp_path: Path) -> None:
    fill(store)
    store.archive(tmp_path)
    store.prune()
    before = archived(tmp_path)
    assert (stored(store), len(before) > 0) == (set(), True)
    other = store.cameras.add("other", desired_state="stopped").id
    for round_ in (1, 2):
        event = OccupancyEvent(other, OLD + round_ * timedelta(hours=1), round_)
        assert store.record([event]).inserted == 1
        assert missing(store)["occupancy_events"] == 1
        store.archive(tmp_path)
        store.prune()
        assert (tmp_path / f"occupancy_events/day={OLD:%Y-%m-%d}/part-{round_}.parquet").exists()
        assert stored(store) == set()
        assert len(archived(tmp_path)) == len(before) + round_


def test_a_day_whose_rows_went_past_retention_stays_in_the_archive(store: Store, tmp_path: Path) -> None:
    fill(store, TODAY - 9 * DAY, 3)
    store.archive(tmp_path)
    before = archived(tmp_path)
    execute(store, "TRUNCATE occupancy_events")
    assert store.archive(tmp_path).files == 0
    assert archived(tmp_path) == before


@pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
def test_retention_by_itself_stops_at_the_first_day_that_is_not_archived(store: Store, tmp_path: Path) -> None:
    lot, _ = fill(store)
    execute(store, "UPDATE timeseries.retention_run SET scheduled = false")
    store.archive(tmp_path)
    store.record([OccupancyEvent(lot, OLD + 2 * DAY + timedelta(hours=3, seconds=1), 1)])
    execute(store, "UPDATE timeseries.retention_run SET scheduled = true, since = now() - interval '2 days'")
    while execute(store, "SELECT timeseries.retain('a process')") == [(True,)]:
        pass
    assert execute(store, "SELECT min(timestamp) >= '%s' FROM occupancy_events" % (OLD + 2 * DAY)) == [(True,)]
    assert execute(store, "SELECT error FROM timeseries.retention_run") == [(None,)]
    execute(
        store,
        f"INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES ('{lot}', '{OLD - DAY}', 1)",
    )
    store.archive(tmp_path)
    assert store.prune().held == 0
    assert stored(store) == set()


def test_rows_stored_past_the_store_are_counted_before_a_day_is_removed(store: Store, tmp_path: Path) -> None:
    lot, _ = fill(store)
    execute(store, "UPDATE timeseries.retention_run SET scheduled = false")
    store.archive(tmp_path)
    execute(store, "UPDATE timeseries.retention_run SET scheduled = true")
    at = OLD + timedelta(seconds=1)
    execute(store, f"INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES ('{lot}', '{at}', 1)")
    rows = len(stored(store))
    with pytest.raises(ServerUnavailableError, match="run timeseries archive"):
        store.prune()
    assert len(stored(store)) == rows
    store.archive(tmp_path)
    store.prune()
    assert (stored(store), len(archived(tmp_path))) == (set(), rows)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_the_servers_own_retention_is_held_back_whatever_is_resumed_or_set(store: Store, tmp_path: Path) -> None:
    native = "FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
    store.archive(tmp_path)
    store.jobs.resume()
    store.policies.set("occupancy_events", drop_after="95 days")
    store.policies.set("health_logs", drop_after=None)
    store.policies.set("health_logs", drop_after="95 days")
    assert execute(store, f"SELECT DISTINCT scheduled {native}") == [(False,)]
    (held,) = execute(store, f"SELECT job_id {native} AND hypertable_name = 'health_logs'")
    with pytest.raises(InvalidInputError, match="held back"):
        store.jobs.resume([held[0]])  # type: ignore[list-item]
    assert store.status().problems == ()
    execute(store, f"SELECT alter_job(job_id, scheduled => true) {native}")
    assert any("does not ask the archive" in problem for problem in store.status().problems)
    store.archive(tmp_path)
    assert store.status().problems == ()
    store.jobs.pause([0])
    with pytest.raises(ConfigurationError, match="paused"):
        store.prune()
    assert any("retention is paused" in problem for problem in store.status().problems)
    store.jobs.resume([0])
    assert store.stop_archive() == str(tmp_path)
    assert execute(store, f"SELECT DISTINCT scheduled {native}") == [(True,)]


def test_a_damaged_file_is_noticed_and_written_again(store: Store, tmp_path: Path) -> None:
    fill(store, TODAY - 9 * DAY, 4)
    store.archive(tmp_path)
    before = archived(tmp_path)
    damaged, lost, *_ = sorted(tmp_path.glob("occupancy_events/*/*.parquet"))
    content = bytearray(damaged.read_bytes())
    content[4 : len(content) // 2] = bytes(len(content) // 2 - 4)
    damaged.write_bytes(content)
    lost.unlink()
    run = CliRunner().invoke(main, ["--database-url", store.url, "archive", str(tmp_path), "--check"])
    assert run.exit_code == 1
    assert run.output.count("archive again") == 2
    assert store.archive(tmp_path).files == 2
    assert (archived(tmp_path), store.check_archive(tmp_path).problems) == (before, ())


def test_a_file_that_does_not_hold_what_was_sent_is_not_archived(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timeseries.archive import day_file

    fill(store, TODAY - 9 * DAY, 2)
    copy = "timeseries.archive.day_file.COPY_DAY"
    monkeypatch.setattr(copy, day_file.COPY_DAY.replace("ORDER BY", "AND random() < 0.5 ORDER BY"))
    with pytest.raises(ArchiveError, match="and not the"):
        store.archive(tmp_path)
    assert archived(tmp_path) == set()
    assert any("the last run of the archive failed" in problem for problem in store.status().problems)
    monkeypatch.undo()
    store.archive(tmp_path)
    assert (archived(tmp_path), store.status().problems) == (stored(store), ())


KILLED = """
import os, sys
from timeseries import Store
from timeseries.archive import {module}
def die(*_): os._exit(9)
{module}.{name} = die
Store.open(sys.argv[1]).archive(sys.argv[2])
"""


@pytest.mark.parametrize(("module", "name"), [("day_file", "verify"), ("run", "finish"), ("run", "begin")])
def test_a_run_that_is_killed_goes_on_where_it_was(store: Store, tmp_path: Path, module: str, name: str) -> None:
    lot, _ = fill(store, TODAY - 9 * DAY, 3)
    script = KILLED.format(module=module, name=name)
    run = subprocess.run([sys.executable, "-c", script, store.url, str(tmp_path)], check=False)
    assert run.returncode == 9
    store.record([OccupancyEvent(lot, TODAY - 9 * DAY + timedelta(seconds=1), 1)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:  # until the server has noticed that the process is gone
        try:
            store.archive(tmp_path)
            break
        except ServerUnavailableError:
            time.sleep(0.2)
    assert archived(tmp_path) == stored(store)
    assert not any(name.startswith("_") for name in files(tmp_path))


def test_an_event_that_is_stored_while_its_day_is_read_is_archived_in_the_end(store: Store, tmp_path: Path) -> None:
    lot, _ = fill(store, TODAY - 9 * DAY, 1)
    at = TODAY - 9 * DAY + timedelta(hours=5, seconds=1)
    with psycopg.connect(store.url) as writer:  # a writer that is not done when the run begins
        writer.execute(
            "INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES (%s, %s, 3)", [lot, at]
        )
        store.archive(tmp_path)
        writer.execute("SELECT timeseries.note_change('occupancy', %s)", [[at]])
    assert missing(store)["occupancy_events"] == 1
    store.archive(tmp_path)
    assert archived(tmp_path) == stored(store)


def test_the_archive_of_another_database_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    with pytest.raises(ConfigurationError, match="not empty"):
        store.archive(tmp_path / "there")
    store.archive(tmp_path / "one")
    with pytest.raises(ConfigurationError, match="--stop"):
        store.archive(tmp_path / "two")


def test_a_database_restored_from_an_older_backup_replaces_no_file_it_does_not_know(
    store: Store, tmp_path: Path
) -> None:
    """What an older backup holds: the record before the last change of the archive, and fewer rows."""
    lot, _ = fill(store, TODAY - 9 * DAY, 2)
    store.archive(tmp_path)
    record = "timeseries.archived_days"
    execute(store, f"CREATE TABLE older AS SELECT * FROM {record}")
    event = OccupancyEvent(lot, TODAY - 9 * DAY + timedelta(seconds=1), 1)
    store.record([event])
    store.archive(tmp_path)
    execute(store, f"DELETE FROM {record}; INSERT INTO {record} SELECT * FROM older")
    execute(store, f"DELETE FROM occupancy_events WHERE timestamp = '{event.timestamp}'")
    store.record([OccupancyEvent(lot, TODAY - 9 * DAY + timedelta(minutes=20), 1)])
    store.record([OccupancyEvent(lot, TODAY - 5 * DAY, 1)])
    before = archived(tmp_path)
    for _ in range(2):
        with pytest.raises(ArchiveError, match="restored from an older backup"):
            store.archive(tmp_path)
    assert {row[1] for row in archived(tmp_path) - before} == {TODAY - 5 * DAY}  # the other days go on
    assert archived(tmp_path) > before


@pytest.mark.parametrize(
    "uri",
    [
        "s3://AKIAKEY:hunter2@bucket/folder",
        "s3://bucket/folder?secret_key=hunter2",
        "s3://bucket/folder?region=eu-west-1&access_key=hunter2",
        "s3://bucket/folder#hunter2",
        "s3://[hunter2/folder",
    ],
)
@pytest.mark.kinds(ServerKind.POSTGRESQL)
def test_credentials_in_a_uri_are_refused_and_not_shown(store: Store, uri: str) -> None:
    run = CliRunner().invoke(main, ["--database-url", store.url, "archive", uri])
    assert run.exit_code == 1
    assert "hunter2" not in run.output
    assert "AWS_SECRET_ACCESS_KEY" in run.output
    assert execute(store, "SELECT FROM timeseries.archive") == []


def test_days_are_those_of_utc_whatever_the_role_and_the_process_have(store: Store, tmp_path: Path) -> None:
    lot = store.cameras.add("lot").id
    edges = [TODAY - 5 * DAY, TODAY - 4 * DAY - timedelta(microseconds=1)]
    store.record([OccupancyEvent(lot, at, 1) for at in edges])
    execute(store, f"""ALTER DATABASE "{store.url.rsplit("/", 1)[1].split("?")[0]}" SET timezone = 'Pacific/Apia'""")
    with Store.open(store.url) as fresh:
        fresh.archive(tmp_path)
    (path,) = tmp_path.glob("occupancy_events/*/*.parquet")
    assert path.parent.name == f"day={date.fromisoformat(f'{edges[0]:%Y-%m-%d}')}"
    assert pq.ParquetFile(path).metadata.num_rows == 2


def test_ingest_and_reader_roles_may_note_changes_and_ask_for_the_lag_and_nothing_else(
    store: Store, ingest: str, reader: str, tmp_path: Path
) -> None:
    lot = store.cameras.add("lot").id
    store.archive(tmp_path)
    with Store.open(ingest) as writer:
        assert writer.record([OccupancyEvent(lot, OLD, 1), OccupancyEvent(lot, TODAY - 5 * DAY, 1)]).inserted == 2
    assert store.role_deviations() == []
    for role in (ingest, reader):
        for statement in (
            "SELECT FROM timeseries.archive",
            "SELECT FROM timeseries.archived_days",
            "DELETE FROM timeseries.archive",
            "UPDATE timeseries.archived_days SET archived_at = now()",
            "SELECT timeseries.let_go('occupancy', now(), now(), 0)",
        ):
            assert refusal(role, statement) == "42501", statement
    assert refusal(reader, "SELECT timeseries.note_change('occupancy', ARRAY[now()])") == "42501"
    with psycopg.connect(reader) as connection:
        assert len(connection.execute("SELECT * FROM store_archive()").fetchall()) == 2


def test_an_owner_who_is_no_superuser_archives(store: Store, make_role: MakeRole, tmp_path: Path) -> None:
    fill(store)
    name = make_role(store.url, "owner")
    grant(store.url, owner=name)
    with Store.open(as_role(store.url, name)) as owned:
        assert owned.archive(tmp_path).rows > 0
        owned.prune()
        assert owned.status().problems == ()
    assert stored(store) == set()


def test_a_backup_holds_the_record_of_the_archive_and_a_restored_database_removes_nothing_by_itself(
    store: Store, empty_database: str, tmp_path: Path
) -> None:
    lot, _ = fill(store, TODAY - 9 * DAY, 2)
    folder = tmp_path / "archive"
    store.archive(folder)
    fill_old = [OccupancyEvent(lot, OLD + timedelta(hours=i), 1) for i in range(3)]
    store.record(fill_old)
    store.backup(tmp_path / "backup")
    restore(empty_database, tmp_path / "backup")
    with Store.open(empty_database) as restored:
        before = files(folder)
        result = restored.archive(folder)
        assert (result.removed, len(stored(restored))) == (0, len(stored(store)))
        assert files(folder).keys() > before.keys()
        with pytest.raises(ConfigurationError, match="paused"):
            restored.prune()
        restored.jobs.resume()
        assert restored.archive(folder).removed + restored.prune().removed == 3
        assert len(archived(folder)) == len(stored(store))


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_database_that_moves_up_keeps_its_archive_and_starts_no_retention_that_does_not_ask(
    server: RunningServer, tmp_path: Path
) -> None:
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may restart")
    cluster = server.found.cluster(**{"timescaledb.license": "apache"})
    try:
        cluster.start()
        migrations.migrate(cluster.url())
        with opened(cluster.url()) as store:
            fill(store)
            store.archive(tmp_path)
            before = archived(tmp_path)
            assert store.prune().removed > 0
        cluster.stop()
        cluster.configure(**{"timescaledb.license": "timescale"})
        cluster.start()
        migrations.migrate(cluster.url())
        with opened(cluster.url()) as store:
            native = "FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"
            assert execute(store, f"SELECT DISTINCT scheduled {native}") == [(False,)]
            assert store.archive(tmp_path).files == 0
            assert archived(tmp_path) == before
            store.stop_archive()
            assert execute(store, f"SELECT DISTINCT scheduled {native}") == [(True,)]
    finally:
        cluster.remove()
