"""The pages of the documentation, and the roles that their commands make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.servers import RunningServer

ROOT = Path(__file__).parents[2]
EVERY_PAGE = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]

DOCUMENTED_ROLES = ("docs_owner", "docs_ingest", "docs_reader")  # of commands within a line


def blocks(page: str, language: str) -> list[str]:
    """The code of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def roles_go(server: RunningServer, database: str) -> Iterator[None]:
    """Roles that a page makes are dropped again, and no others."""
    ours = {*re.findall(r"\w+", "".join((ROOT / page).read_text() for page in EVERY_PAGE)), *DOCUMENTED_ROLES}
    with psycopg.connect(server.admin_url) as admin:
        before = {name for (name,) in admin.execute("SELECT rolname FROM pg_roles").fetchall()}
    yield
    with psycopg.connect(database, autocommit=True) as connection:
        for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall():
            if name in ours - before:
                connection.execute(f'REASSIGN OWNED BY "{name}" TO CURRENT_USER')
                connection.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')
