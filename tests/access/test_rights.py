"""The table of rights in docs/security.md is what a real server says; `make rights` writes it again."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.rights import KINDS, PAGE, TABLE, table
from tests.support.roles import MakeRole, make_role
from timeseries.access.roles import grant

__all__ = ["make_role"]


def test_the_page_shows_the_rights_that_each_kind_of_role_has(
    database: str, make_role: MakeRole, pytestconfig: pytest.Config
) -> None:
    roles = {kind: make_role(database, kind) for kind in KINDS}
    grant(
        database, owner=roles["owner"], ingest=[roles["ingest"]], workers=[roles["worker"]],
        control=[roles["control"]], readers=[roles["reader"]],
    )  # fmt: skip
    with psycopg.connect(database) as connection:
        wanted = table(connection, roles)
    page = PAGE.read_text()
    if pytestconfig.getoption("--rewrite"):
        PAGE.write_text(TABLE.sub(lambda _: wanted, page))
    shown = TABLE.search(PAGE.read_text())
    assert shown is not None
    assert shown[0] == wanted, "make rights writes the table again"
