"""The code in README and docs runs as it stands there."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.keys import SECRET_KEY
from tests.support.pages import EVERY_PAGE, ROOT, blocks, roles_go
from tests.support.servers import RunningServer
from tests.support.sqlite_databases import old
from timeseries import OccupancyEvent, ServerKind, Store
from timeseries.backup.programs import find_program
from timeseries.database.connections import conninfo
from timeseries.settings import Settings

__all__ = ["old", "roles_go"]

# What is looked up instead of run, and why.
LOOKED_UP = {
    "make ": "it would install, test or build everything: make says what it would do",
    "docker compose ": "there may be no Docker: the services must be those of docker-compose.yml",
}
# What only some servers can do, so that it is run there.
ONLY_ON = {
    "timeseries policy set ": {ServerKind.COMMUNITY},
    "psql restored ": {ServerKind.COMMUNITY, ServerKind.APACHE},  # calls functions of TimescaleDB
}


PAGES = [page for page in EVERY_PAGE if blocks(page, "python") or blocks(page, "sql")]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(
    database: str, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIMESERIES_DATABASE_URL", database)
    monkeypatch.setenv("TIMESERIES_SECRET_KEY", SECRET_KEY)
    monkeypatch.chdir(tmp_path)
    found = blocks(page, "python")
    for block in found:
        exec(compile(block, page, "exec"), {})
    with psycopg.connect(database) as connection:
        for statement in "".join(blocks(page, "sql")).split(";"):
            if statement.strip():
                connection.execute(statement)
    assert capsys.readouterr().out or not found


def commands(page: str) -> list[list[str]]:
    """The commands of each block."""
    joined = [block.replace("\\\n", " ") for block in blocks(page, "console")]
    return [re.findall(r"^\$ (.*?)(?:  +#.*)?$", block, re.MULTILINE) for block in joined]


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_the_commands_of_a_page_exist_with_their_options(page: str) -> None:
    from timeseries.cli import main

    for line in itertools.chain(*commands(page)):
        command: Any = main
        words = shlex.split(line)
        for word in words[1:] if words[0] == "timeseries" else ():
            if word.startswith("--"):
                assert any(word in option.opts for option in (*main.params, *command.params)), line
            elif hasattr(command, "get_command"):
                command = command.get_command(None, word) or command
        assert words[0] != "timeseries" or command is not main, line


@pytest.fixture
def at_hand(server: RunningServer, store: Store, tmp_path: Path, old: Path) -> dict[str, str]:
    """The files that commands name, and an environment in which PostgreSQL's programs reach the server."""
    store.record([OccupancyEvent(store.cameras.add("East Lot").id, datetime.now(UTC) - timedelta(hours=5), 7)])
    store.export("occupancy_events", tmp_path / "events.parquet")
    store.export("cameras", tmp_path / "cameras.csv")
    assert old.name == "old.sqlite"
    to = conninfo_to_dict(conninfo(store.url))
    given = {f"PG{name.upper()}": str(to[name]) for name in ("host", "port", "user", "password") if name in to}
    programs, _ = find_program("psql", 18, Settings())
    return os.environ | given | {
        "TIMESERIES_DATABASE_URL": store.url,
        "TIMESERIES_SECRET_KEY": SECRET_KEY,
        "PATH": f"{Path(sys.executable).parent}:{programs.parent}:{os.environ['PATH']}",
    }  # fmt: skip


@pytest.mark.usefixtures("roles_go")
@pytest.mark.parametrize("page", [page for page in EVERY_PAGE if blocks(page, "console")])
def test_the_commands_of_a_page_run(server: RunningServer, page: str, at_hand: dict[str, str], tmp_path: Path) -> None:
    """Block by block, each with a database of its own where it makes one."""
    for block in commands(page):
        restored = server.new_name()
        for written in block:
            line = re.sub(r"\b(restored|successor)\b", restored, written)
            prefix = next((prefix for prefix in LOOKED_UP if line.startswith(prefix)), None)
            if prefix is not None:
                looked_up(line)
            elif all(server.kind in kinds for only, kinds in ONLY_ON.items() if written.startswith(only)):
                done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=at_hand, capture_output=True, text=True)
                assert done.returncode == 0, f"{line}: {done.stderr}"


def looked_up(line: str) -> None:
    if line.startswith("make "):
        done = subprocess.run(["make", "--dry-run", *line.split()[1:]], cwd=ROOT, capture_output=True, text=True)
    else:
        from tests.support.compose import GIVEN, compose

        words = line.removeprefix("docker compose ").split()
        profile = words[:2] if words[0] == "--profile" else []
        done = compose(GIVEN, *profile, "config", "--services")
        assert words[len(profile)] in ("up", "run", "down", "logs")
        assert {word for word in words[len(profile) + 1 :] if word.isalpha()} <= {*done.stdout.split(), "status"}
    assert done.returncode == 0, f"{line}: {done.stderr}"


def test_every_code_block_of_a_page_is_of_a_language_that_is_run() -> None:
    for page in EVERY_PAGE:
        fences = re.findall(r"^```(.*)$", (ROOT / page).read_text(), re.MULTILINE)
        archived = {"ini", "sh"} if page == "docs/backup.md" else set()  # by tests/support/recovery.py
        assert set(fences[::2]) <= {"python", "sql", "console", ""} | archived, page
        assert set(fences[1::2]) <= {""}, page
        if page != "docs/architecture.md":  # a diagram
            assert "" not in fences[::2], page


def reference() -> dict[str, list[tuple[str, str]]]:
    """Names and types of the columns that docs/aggregates.md lists, by relation or function."""
    found = {}  # type: ignore[var-annotated]
    parts = re.split(r"^##+ (.+)$", (ROOT / "docs/aggregates.md").read_text(), flags=re.MULTILINE)[1:]
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        columns = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", text, re.MULTILINE)
        if columns:
            found |= dict.fromkeys(heading.split(", "), columns)
    return found


def test_the_reference_of_columns_is_what_the_catalog_says(database: str) -> None:
    names = {"timestamptz": "timestamp with time zone", "timestamp": "timestamp without time zone"}
    documented = {
        name: [(column, names.get(kind, kind)) for column, kind in columns] for name, columns in reference().items()
    }
    with psycopg.connect(database) as connection:
        connection.execute("SET search_path = public")
        relations = connection.execute("""
            SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum),
                   array_agg(format_type(a.atttypid, NULL) ORDER BY a.attnum)
            FROM pg_class AS c
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v'
              AND c.relname ~ '^(occupancy|health)_(quarter_hourly|hourly|weekday)$'
            GROUP BY c.relname
            UNION ALL
            SELECT p.proname || '()', array_agg(o.name ORDER BY o.position),
                   array_agg(format_type(o.kind, NULL) ORDER BY o.position)
            FROM pg_proc AS p
            CROSS JOIN unnest(p.proargnames, p.proargmodes, p.proallargtypes)
                WITH ORDINALITY AS o (name, mode, kind, position)
            WHERE p.pronamespace = 'public'::regnamespace AND p.proretset AND o.mode = 't'
              AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
            GROUP BY p.oid
        """).fetchall()
    catalog = {name: list(zip(columns, kinds, strict=True)) for name, columns, kinds in relations}
    assert documented == catalog


def test_the_table_of_commands_names_every_one() -> None:
    from timeseries.cli import main

    table = (ROOT / "docs/command-line.md").read_text().partition("## Reference")[0]
    for command in main.list_commands(None):  # type: ignore[arg-type]
        assert f"`timeseries {command}" in table


def test_every_link_leads_somewhere() -> None:
    for page in EVERY_PAGE:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / link).exists(), link
