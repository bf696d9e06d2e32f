"""The commands that README and docs name within a line run, with something in the place of what they leave open."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.keys import SECRET_KEY
from tests.support.pages import EVERY_PAGE, ROOT, roles_go
from tests.support.servers import RunningServer
from timeseries import OccupancyEvent, ServerKind, Store
from timeseries.cli import main

__all__ = ["roles_go"]

# As a page has it, and what is run for it, in this order.
WRITTEN_OUT = {
    "camera add / list / update / history / remove":
        ["camera add Gate", "camera list", "camera update Gate --capacity 9", "camera history", "camera remove Gate"],
    "camera update NAME --if-revision 1 …":
        ["camera add Yard", "camera update Yard --capacity 9 --if-revision 1"],
    "camera history [NAME]": ["camera history Yard", "camera history"],
    "camera update NAME --capacity 120 --since 2026-05-01":
        ["camera update 'East Lot' --capacity 120 --since 2026-05-01"],
    "camera update NAME --timezone …": ["camera update 'East Lot' --timezone Europe/Berlin"],
    "camera update \"West Gate\" --opening-hours '{\"monday\": [\"07:00\", \"20:00\"]}'":
        ["camera update Yard --opening-hours '{\"monday\": [\"07:00\", \"20:00\"]}'"],
    "period add / list / update / remove":
        ["period add 'East Lot' wrong 2026-03-02T09:30 2026-03-02T12:00", "period list", "period update 1 --end lasts",
         "period remove 1"],
    "period add \"East Gate\" closed 2026-03-01 2026-03-05T06:00 --text \"new tarmac\"":
        ["period add 'East Lot' closed 2026-03-01 2026-03-05T06:00 --text 'new tarmac'"],
    "group add / list / update / join / leave / remove":
        ["group add Gates 'East Lot' --timezone UTC", "group list", "group update Gates --name Lot",
         "group join Lot Yard", "group leave Lot Yard", "group remove Lot"],
    "group update NAME --timezone Europe/Berlin":
        ["group add Lots 'East Lot'", "group update Lots --timezone Europe/Berlin"],
    "status [--json]": ["status --json", "status"],
    "metrics [--listen HOST:PORT]": ["metrics"],
    "export WHAT FILE": ["export occupancy_events events.parquet", "export cameras cameras.csv",
                         "export groups groups.csv"],
    "export WHAT FILE [--camera NAME]… [--start TIME] [--end TIME]":
        ["export health_hourly h.csv --camera 'East Lot' --start 2026-01-01T00:00:00Z --end 2026-02-01T00:00:00Z"],
    "averages export / import FOLDER":
        ["averages export averages", "averages export final --finalized", "averages import averages"],
    "import EVENTS [--cameras CAMERAS] [--groups GROUPS]":
        ["import events.parquet --cameras cameras.csv --groups groups.csv"],
    "import FEED --format parkapi …":
        [f"import {ROOT}/tests/files/feeds/parkapi_api.json --format parkapi --timezone Europe/Berlin"],
    "import FEED --format datex2 …":
        [f"import {ROOT}/tests/files/feeds/datex2_aachen_table.xml --format datex2 --timezone Europe/Berlin"],
    "backup FILE": ["backup store.backup"],
    "recovered": ["recovered"],
    "restore FILE": ["--database-url EMPTY restore store.backup"],
    "jobs list / pause / resume": ["jobs list", "jobs pause", "jobs resume"],
    "archive DESTINATION [--check]":
        ["archive raw-rows", "archive raw-rows --check", "jobs resume 0", "archive --stop"],
    "policy show / set": ["policy show", "policy set occupancy_events --drop-after '180 days'"],
    "refresh [--start …] [--end …]": ["refresh --start 2026-01-01T00:00:00Z --end 2026-02-01T00:00:00Z", "refresh"],
    "prune [--keep \"90 days\"]": ["prune --keep '90 days'", "prune"],
    "weekday NAME [--plot FILE]": ["weekday 'East Lot' --plot map.png"],
    "expected NAME [--plot FILE]": ["expected 'East Lot' --plot expected.png"],
    "backtest NAME": ["backtest 'East Lot'"],
    "key generate / check / rotate": ["key generate", "key check", "key rotate"],
    "grant --owner / --ingest / --reader ROLE":
        ["grant --owner docs_owner --ingest docs_ingest --reader docs_reader --password-stdin"],
    "demo": ["demo --plot map.png"],
    "migrate 0001": ["migrate 0001 --yes"],
    "migrate [REVISION]": ["migrate 0002", "migrate"],
}  # fmt: skip
LINES = [line for lines in WRITTEN_OUT.values() for line in lines]


def test_every_command_within_a_line_is_written_out_here() -> None:
    found = {
        command for page in EVERY_PAGE for command in re.findall(r"`timeseries (\w[^`]*)`", (ROOT / page).read_text())
    }
    assert {command for command in found if not any(line.startswith(command) for line in LINES)} <= {*WRITTEN_OUT}
    assert {*WRITTEN_OUT} <= found


@pytest.mark.usefixtures("roles_go")
def test_the_commands_within_lines_run(
    server: RunningServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("analytics.cli.SAMPLE_DAYS", 5)
    store.record([OccupancyEvent(store.cameras.add("East Lot").id, datetime.now(UTC) - timedelta(minutes=10), 7)])
    runner = CliRunner(env={"TIMESERIES_DATABASE_URL": store.url, "TIMESERIES_SECRET_KEY": SECRET_KEY})
    for line in LINES:
        other = {True: "prune --keep", False: "policy set"}[server.kind is ServerKind.COMMUNITY]
        if line.startswith(other):
            continue
        empty = server.empty() if "EMPTY" in line else ""
        result = runner.invoke(main, shlex.split(line.replace("EMPTY", empty)), input="first\nsecond\nthird\n")
        assert result.exit_code == 0, f"{line}: {result.output}"
