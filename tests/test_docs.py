"""The code in README and docs runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest
from conftest import SECRET_KEY

from analytics import source

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "docs/operations.md", "docs/analytics.md", "docs/backup.md"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(
    database: str, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIMESERIES_DATABASE_URL", database)
    monkeypatch.setenv("TIMESERIES_SECRET_KEY", SECRET_KEY)
    monkeypatch.setattr(source, "_default_url", None)
    monkeypatch.chdir(tmp_path)
    found = blocks(page, "python")
    assert found
    for block in found:
        exec(compile(block, page, "exec"), {})
    with psycopg.connect(database) as connection:
        for statement in "".join(blocks(page, "sql")).split(";"):
            if statement.strip():
                connection.execute(statement)  # type: ignore[arg-type]
    assert capsys.readouterr().out


def test_the_readme_names_every_command_and_every_link_leads_somewhere() -> None:
    from timeseries.cli import main

    text = (ROOT / "README.md").read_text()
    for command in main.list_commands(None):  # type: ignore[arg-type]
        assert f"timeseries {command}" in text
    for page in ["README.md", *(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text()):
            assert ((ROOT / page).parent / link).exists(), link
