"""SQL of the migrations, read from files. `@name` or `@{name}` is filled in; `-- block: name` begins a named part.

The revisions are frozen and build on this module, so what it makes of a file stays the same. It is loaded by its path,
because in a checkout the folder belongs to no package.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Any

from alembic import op

FOLDER = Path(__file__).parent
BLOCK = re.compile(r"^-- block: ([\w.]+)\n(.*?)(?=^-- block: |\Z)", re.MULTILINE | re.DOTALL)


class SqlTemplate(Template):
    """Placeholders begin with @, because the dollar is PostgreSQL's."""

    delimiter = "@"


def execute(sql: str) -> Any:
    """Run one or more statements, in which a percent sign is a percent sign."""
    return op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})


def fill(text: str, /, **values: str) -> str:
    """The text with its placeholders filled in, those of the values, too. Raises KeyError for one without a value."""
    while "@" in text:
        text = SqlTemplate(text).substitute(values)
    return text


def read(name: str, /, **values: str) -> str:
    """The text of a file, by its path in this folder."""
    return fill((FOLDER / name).read_text(), **values)


def run(name: str, /, **values: str) -> Any:
    return execute(read(name, **values))


def blocks(name: str) -> dict[str, str]:
    """The named parts of a file, with placeholders."""
    return {block: text.strip() for block, text in BLOCK.findall((FOLDER / name).read_text())}


def parts(name: str, *owners: str) -> dict[str, str]:
    """The parts of a file that are named `owner.part`, by `part`; those of a later owner win."""
    found = [(block.partition("."), text) for block, text in blocks(name).items()]
    return {part: text for wanted in owners for (owner, _, part), text in found if owner == wanted}


def built_for() -> str:
    """The kind of server that the schema was built for: community, apache or postgresql."""
    return str(execute("SELECT timeseries.built_for()").scalar())
