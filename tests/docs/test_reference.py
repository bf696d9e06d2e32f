"""The reference is whole: every public name, method and command is in it and says what it is."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import click
import pytest

import analytics
import timeseries
from timeseries.cameras import Cameras
from timeseries.cli import main
from timeseries.maintenance.policies import Policies

ROOT = Path(__file__).parents[2]
PACKAGES = (timeseries, analytics)
CLASSES = (timeseries.Store, timeseries.AsyncStore, timeseries.Writer, Cameras, Policies)
REFERENCE = {package.__name__: ROOT / "docs/reference" / f"{package.__name__}.md" for package in PACKAGES}


def described(name: str) -> list[str]:
    """The objects whose docstrings a page of the reference shows."""
    return re.findall(r"^::: (\S+)$", REFERENCE[name].read_text(), re.MULTILINE)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_is_in_the_reference_and_has_a_docstring(package: object) -> None:
    name = package.__name__  # type: ignore[attr-defined]
    public = {f"{name}.{one}" for one in package.__all__}  # type: ignore[attr-defined]
    assert public <= {*described(name)}
    assert [one for one in public if not documented(pkgutil.resolve_name(one))] == []


@pytest.mark.parametrize("name", REFERENCE)
def test_what_the_reference_names_is_there_once(name: str) -> None:
    found = described(name)
    assert len(found) == len({*found})
    for one in found:
        assert pkgutil.resolve_name(one) is not None


def documented(value: object) -> bool:
    """Whether it has a docstring of its own: neither its base class's nor that which a dataclass writes."""
    text = value.__doc__ or ""
    return bool(text.strip()) and not text.startswith(f"{getattr(value, '__name__', '')}(")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_public_method_has_a_docstring(kind: type) -> None:
    members = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
    methods = {name: value for name, value in members.items() if callable(value) or hasattr(value, "__get__")}
    assert methods
    assert [name for name, value in methods.items() if not documented(getattr(value, "__func__", value))] == []


def test_what_a_docstring_of_the_store_refers_to_is_in_the_reference() -> None:
    texts = [value.__doc__ or "" for value in vars(timeseries.Store).values()]
    named = {name for text in texts for name in re.findall(r"`(timeseries(?:\.\w+){2,})`", text)}
    aliases = {f"{pkgutil.resolve_name(one).__module__}.{one.rpartition('.')[2]}" for one in described("timeseries")}
    assert named <= {*described("timeseries"), *aliases}


def test_every_argument_of_a_writer_is_explained() -> None:
    page = (ROOT / "docs/ingest.md").read_text()
    settings = [*inspect.signature(timeseries.Writer).parameters][1:]  # the first is how it stores
    assert {*inspect.signature(timeseries.Store.writer).parameters} - {"self"} <= {*settings}
    for name in [*settings, *timeseries.WriterState.__dataclass_fields__]:
        assert f"`{name}`" in page, name


def test_every_command_and_option_has_a_help_text() -> None:
    for command, context in written().commands(main, click.Context(main, info_name="timeseries")):
        assert command.help, context.command_path
        options = [option for option in command.params if isinstance(option, click.Option)]
        silent = [o.opts for o in options if not o.help and not isinstance(o.type, click.Choice)]
        assert silent == [], context.command_path


def test_the_reference_of_commands_is_current() -> None:
    module = written()
    assert module.PAGE.read_text() == module.page(), "docs/command-line.md is old; run: make commands"
    for name in main.list_commands(click.Context(main)):
        assert f"### timeseries {name}\n" in module.reference()


def written() -> Any:
    """The module that writes the reference of commands, which is in no package."""
    spec = importlib.util.spec_from_file_location("commands", ROOT / "docs/commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f": {page.relative_to(ROOT / 'docs')}\n" in navigation


def constants(folder: str) -> list[str]:
    """The texts in the code of a package, those of an f-string in pieces."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / folder).rglob("*.py")]
    return [
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@pytest.mark.parametrize("page", ["docs/troubleshooting.md", "docs/ingest.md"])
def test_the_messages_of_a_page_are_those_of_the_code(page: str) -> None:
    texts = [*constants("timeseries"), *constants("analytics"), (ROOT / "timeseries/access/roles.sql").read_text()]
    text = re.split(r"^## Rejections$", (ROOT / page).read_text(), flags=re.MULTILINE)[-1].partition("\n## Dup")[0]
    cells = re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)
    messages = [quoted for cell in cells for quoted in re.findall(r"`([^`]+)`", cell) if " " in quoted]
    assert len(messages) > 5
    for message in messages:
        for part in filter(None, (part.strip() for part in message.split("…"))):
            assert any(part in one for one in texts), f"{message}: no message has {part!r}"
