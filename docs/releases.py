"""Write what was run on what into docs/releases.md, from pytest's report: python docs/releases.py REPORT.xml."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

PAGE = Path(__file__).parent / "releases.md"
RELEASES = "<!-- Written by docs/releases.py: releases. -->\n"
UPDATES = "<!-- Written by docs/releases.py: updates. -->\n"
TESTS = {"test_the_battery": 2, "test_a_database_of_the_apache_edition_moves_up": 3, "test_scheduled_jobs": 4}
Rows = dict[tuple[str, str], list[str]]


def reported(report: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, outcome and properties of each test that ran."""
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest's own file
        found = {name.get("name", ""): name.get("value", "") for name in case.iter("property")}
        broken = case.find("failure") is not None or case.find("error") is not None
        if case.find("skipped") is None:
            yield case.get("name", ""), "failed" if broken else "passed", found


def read(report: Path) -> tuple[Rows, Rows]:
    """The rows of both tables, by their first two columns."""
    releases: Rows = {}
    updates: Rows = {}
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for name, outcome, found in reported(report):
        if "from" in found:
            how = "`pg_upgrade`" if name.startswith("test_pg_upgrade") else "`ALTER EXTENSION`"
            updates[found["from"], found["to"]] = [found["from"], found["to"], how, outcome, today]
        elif "timescaledb" in found:
            key = (found["timescaledb"], found["postgresql"])
            row = releases.setdefault(key, [*key, "", "", "", today])
            for test, column in TESTS.items():
                if name.startswith(test):
                    row[column] = found.get("jobs", outcome)
    return releases, updates


def rewritten(page: str, begin: str, rows: Rows) -> str:
    """The page with these rows in the table after a mark; others stay, because they are of other machines."""
    before, mark, rest = page.partition(begin)
    table, blank, after = rest.partition("\n\n")
    heading, line, *old = table.split("\n")
    there = [[cell.strip() for cell in row.strip("|").split("|")] for row in old]
    merged = {(row[0], row[1]): row for row in there} | rows
    ordered = sorted(merged.values(), key=lambda row: [[int(n) for n in re.findall(r"\d+", cell)] for cell in row[:2]])
    lines = [heading, line, *(f"| {' | '.join(row)} |" for row in ordered)]
    return before + mark + "\n".join(lines) + blank + after


if __name__ == "__main__":
    releases, updates = read(Path(sys.argv[1]))
    page = rewritten(rewritten(PAGE.read_text(), RELEASES, releases), UPDATES, updates)
    PAGE.write_text(page)
