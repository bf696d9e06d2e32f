"""The map of modules in docs/architecture.md: what it names is there, and what is there it names."""

from __future__ import annotations

import re
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
