"""The map of modules in docs/architecture.md: what it names is there, and what is there it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAP = (ROOT / "docs/architecture.md").read_text().partition("## Where things are")[2].partition("\n## ")[0]
NAMED = set(re.findall(r"`([\w./]+?(?:/|\.py|\.sql))`", MAP))
HOMES = ("", "timeseries/", "analytics/", "tests/", "tests/support/", "migrations/versions/")


def test_what_the_map_names_is_there() -> None:
    assert len(NAMED) > 60
    assert [name for name in NAMED if not any((ROOT / home / name).exists() for home in HOMES)] == []


@pytest.mark.parametrize("folder", ["timeseries", "analytics", "tests"])
def test_every_room_is_on_the_map(folder: str) -> None:
    rooms = [path for path in (ROOT / folder).iterdir() if not path.name.startswith("_")]
    names = {f"{path.name}/" for path in rooms if any(path.glob("*.py"))}
    if folder != "tests":
        names |= {path.name for path in rooms if path.suffix == ".py"}
    assert names - {name.removeprefix(f"{folder}/") for name in NAMED} == set()


def rooms_on_the_map() -> dict[str, str]:
    """The last column of the table of `timeseries/`, by room; prose is not compared."""
    table = MAP.partition("| imports besides")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return {row[0].strip(" `").rstrip("/").removesuffix(".py"): row[-1].strip() for row in rows}


def imports_of(room: str) -> Iterator[str]:
    """The other rooms that a room imports, those within functions, too."""
    folder = ROOT / "timeseries" / room
    for path in folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("timeseries."):
                yield str(node.module).split(".")[1]


LISTED = {room: said for room, said in rooms_on_the_map().items() if re.fullmatch(r"(`\w+`( \([^)]*\))?(, )?)*", said)}


@pytest.mark.parametrize("room", LISTED)
def test_the_map_says_what_each_room_imports(room: str) -> None:
    assert len(LISTED) > 15
    assert {*imports_of(room)} - {room, "errors", "progress"} == {*re.findall(r"`(\w+)`", LISTED[room])}
