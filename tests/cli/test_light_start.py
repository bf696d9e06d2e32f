"""What starting loads: a camera's computer and a command that prints a list of words wait for no library they do not
use. Modules are counted, never seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from alembic.script import ScriptDirectory

import timeseries
from timeseries import Store
from timeseries.cli.main import COMMANDS, main
from timeseries.schema import migrations, revisions

HEAVY = {
    "adbc_driver_manager", "adbc_driver_postgresql", "alembic", "cryptography", "matplotlib", "numpy", "pandas",
    "pyarrow", "rich", "sqlalchemy",
}  # fmt: skip


def loaded(script: str, url: str = "") -> set[str]:
    """The top-level packages in a fresh interpreter after it ran this."""
    tail = "\nimport json, sys\nprint('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", script + tail],
        env={**os.environ, "TIMESERIES_DATABASE_URL": url, "TIMESERIES_SECRET_KEY": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout.splitlines()[-1]))


def command(*words: str) -> str:
    return f"from timeseries.cli import main\ntry:\n    main({list(words)})\nexcept SystemExit:\n    pass"


def test_importing_the_package_loads_no_driver_and_nothing_heavy() -> None:
    assert not loaded("import timeseries") & {*HEAVY, "click", "psycopg"}


def test_the_names_of_ingest_code_load_nothing_heavy() -> None:
    assert not loaded("from timeseries import HealthLog, OccupancyEvent, Store, Writer, WriterState") & HEAVY


@pytest.mark.parametrize("words", [("--help",), ("--version",)])
def test_the_list_of_commands_loads_no_driver_and_nothing_heavy(words: tuple[str, ...]) -> None:
    assert not loaded(command(*words)) & {*HEAVY, "analytics", "psycopg"}


@pytest.mark.parametrize("words", ["status", "camera", "camera list", "jobs pause", "policy set", "migrate", "prune"])
def test_the_help_of_a_command_loads_nothing_heavy(words: str) -> None:
    assert not loaded(command(*words.split(), "--help")) & HEAVY


@pytest.mark.parametrize("words", ["status", "camera list", "jobs list", "policy show", "status --json"])
def test_a_command_that_asks_loads_what_prints_its_tables_at_most(store: Store, words: str) -> None:
    assert not loaded(command(*words.split()), store.url) & (HEAVY - {"rich"})


def test_a_writer_of_a_camera_needs_numpy_and_the_driver_only(store: Store, tmp_path: Path) -> None:
    camera = store.cameras.add("gate").id
    script = f"""
from datetime import UTC, datetime
from timeseries import OccupancyEvent, Store
with Store.open() as store, store.writer(spool={str(tmp_path / "spool")!r}) as writer:
    writer.record(OccupancyEvent({str(camera)!r}, datetime.now(UTC), 1))
"""
    assert not loaded(script, store.url) & (HEAVY - {"numpy"})
    with store.pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM occupancy_events").fetchone() == (1,)


def test_the_first_event_of_a_process_is_stored_while_its_interpreter_ends(store: Store) -> None:
    camera = store.cameras.add("gate").id
    script = f"""
from datetime import UTC, datetime
from timeseries import OccupancyEvent, Store
writer = Store.open().writer(flush_interval=60)
writer.record(OccupancyEvent({str(camera)!r}, datetime.now(UTC), 1))
"""
    loaded(script, store.url)
    with store.pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM occupancy_events").fetchone() == (1,)


def test_every_public_name_is_there_and_listed() -> None:
    assert {name: getattr(timeseries, name).__module__ for name in timeseries.HOMES} == timeseries.HOMES
    assert {name for name in timeseries.__all__ if not hasattr(timeseries, name)} == set()
    assert set(timeseries.__all__) <= set(dir(timeseries))
    with pytest.raises(AttributeError, match="'Shop'"):
        getattr(timeseries, "Shop")  # noqa: B009 - a name that type checkers know not to be there


def test_the_list_of_commands_says_what_the_commands_say() -> None:
    context = click.Context(main)
    for name, (_, sentence) in COMMANDS.items():
        found = main.get_command(context, name)
        assert found is not None
        assert found.name == name
        said = " ".join((found.help or "").split())
        assert said.startswith(sentence), name
    assert list(COMMANDS) == sorted(COMMANDS)
    assert main.get_command(context, "shop") is None


def test_the_revision_that_is_wanted_is_that_of_the_last_migration() -> None:
    assert revisions.head() == ScriptDirectory.from_config(migrations.alembic_config()).get_current_head()
