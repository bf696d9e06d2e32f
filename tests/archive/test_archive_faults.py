"""Damaged files, killed runs, and databases whose archive it is not."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.archives import DAY, OLD, TODAY, archived, execute, files, fill, stored
from timeseries import ArchiveError, ConfigurationError, OccupancyEvent, ServerUnavailableError, Store
from timeseries.backup.restore import restore
from timeseries.cli.main import main


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
