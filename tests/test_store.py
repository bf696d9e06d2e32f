"""One door: all that an operator or a notebook does goes through the store, or by a URL where there is none yet."""

from __future__ import annotations

import ast
import inspect
from datetime import timedelta
from pathlib import Path

import pytest

import timeseries
from tests.support.keys import SECRET_KEY
from tests.support.servers import RunningServer
from timeseries import ConfigurationError, NotStoredError, OccupancyEvent, ServerKind, Store, Writer, generate_key
from timeseries.schema import revisions
from timeseries.settings import Settings

CLI = Path(timeseries.__file__).parent / "cli"
# What commands parse and print with, and the lists of names that their options take.
HELPERS = (
    "cli", "errors", "model", "settings", "maintenance.policy_rules", "files.export", "monitoring.exposition",
    "monitoring.store_metrics",
)  # fmt: skip


def test_a_database_is_migrated_filled_backed_up_and_restored_by_public_names(
    server: RunningServer, empty_database: str, tmp_path: Path
) -> None:
    assert timeseries.migrate(empty_database) == revisions.head()
    with Store.open(empty_database, settings=Settings(secret_key=SECRET_KEY)) as store:
        lot = store.cameras.add("lot", connection_string="rtsp://me:hunter2@camera")
        made = store.backup(tmp_path / "store.backup")
    copy = server.empty()
    assert timeseries.restore(copy, made.path).counts == made.counts
    with Store.open(copy, settings=Settings(secret_key=f"{generate_key()},{SECRET_KEY}")) as store:
        assert not any(job.scheduled for job in store.jobs.list())
        assert len(store.jobs.resume()) == len(store.jobs.list())
        assert len(store.jobs.pause()) == len(store.jobs.list())
        assert store.keys.check().problems == ()
        assert store.keys.rotate().rotated == 1
        assert store.cameras.connection_string(lot) == "rtsp://me:hunter2@camera"
        assert store.role_deviations() == []
        assert store.status().cameras == 1


@pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
def test_status_says_where_the_keep_of_a_store_is_not_what_the_database_records(store: Store) -> None:
    assert store.status().problems == ()
    with Store.open(store.url, settings=Settings(keep=timedelta(days=120))):
        pass
    with Store.open(store.url, settings=Settings(keep=timedelta(days=5))) as short:
        (problem,) = short.status().problems
    assert "TIMESERIES_KEEP is 5 days here, but the database keeps raw rows for 120 days" in problem


def test_a_backup_looks_for_pg_dump_where_the_settings_of_the_store_say(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | None] = []

    def refuse(name: str, at_least: int, settings: Settings) -> None:
        asked.append(settings.postgres)
        raise ConfigurationError("none")

    monkeypatch.setattr("timeseries.backup.dump.find_program", refuse)
    with (
        Store.open(store.url, settings=Settings(postgres=tmp_path)) as opened,
        pytest.raises(ConfigurationError),
    ):
        opened.backup(tmp_path / "store.backup")
    assert asked == [tmp_path]


def test_a_writer_of_the_store_takes_every_setting_of_a_writer(store: Store) -> None:
    settings = set(inspect.signature(Writer).parameters) - {"record", "identify"}  # which are the store's own
    assert settings == set(inspect.signature(store.writer).parameters)
    lot = store.cameras.add("lot")
    writer = store.writer(close_timeout=0.05, flush_interval=3600)
    with store.pool.connection() as connection:
        connection.execute("LOCK TABLE cameras IN ACCESS EXCLUSIVE MODE")
        writer.record(OccupancyEvent(lot.id, lot.created_at, 1))
        with pytest.raises(NotStoredError):
            writer.close()
    writer.close(20)  # what was under way is stored


def for_types(node: ast.ImportFrom, tree: ast.Module) -> bool:
    """Whether an import is under TYPE_CHECKING."""
    return any(isinstance(block, ast.If) and node in block.body for block in tree.body)


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.stem)
def test_commands_go_through_the_door(path: Path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("timeseries."):
            assert (node.module or "").removeprefix("timeseries.").startswith(HELPERS) or for_types(node, tree)
        if isinstance(node, ast.ImportFrom) and node.module == "timeseries":
            assert {name.name for name in node.names} <= set(timeseries.__all__)
        assert not (isinstance(node, ast.Attribute) and node.attr == "pool")
