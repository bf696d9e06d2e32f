"""The command line: every command, its tables, its JSON and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analytics.cli import demo
from tests.support.command_line import run
from timeseries import Store
from timeseries.cli import main


def test_every_command_explains_itself() -> None:
    def walk(command: Any, words: tuple[str, ...]) -> None:
        result = CliRunner().invoke(main, [*words, "--help"])
        assert result.exit_code == 0
        assert command.help
        for name in getattr(command, "list_commands", lambda _: [])(None):
            walk(command.get_command(None, name), (*words, name))

    walk(main, ())


def test_migrate_then_status(empty_database: str) -> None:
    assert "not migrated" in run(empty_database, "status").output or run(empty_database, "status").exit_code == 1
    assert run(empty_database, "migrate").exit_code == 0
    result = run(empty_database, "status")
    assert result.exit_code == 0, result.output
    assert "occupancy_quarter_hourly" in result.output


def test_status_for_programs_names_the_server(store: Store, server: Any) -> None:
    result = run(store.url, "status", "--json")
    found = json.loads(result.output)
    assert found["server"]["kind"] == server.kind.value
    assert {table["name"] for table in found["tables"]} == {"occupancy_events", "health_logs"}
    assert len(found["aggregates"]) == 6


def test_cameras_come_and_go(database: str) -> None:
    added = run(
        database, "camera", "add", "North Lot", "--timezone", "Europe/Berlin", "--hold", "2h",
        "--connection-string-stdin",
        text="rtsp://admin:hunter2@camera/1\n",
    )  # fmt: skip
    assert added.exit_code == 0, added.output
    assert "encrypted" in added.output
    assert "hunter2" not in added.output.split("\n", 1)[1]
    assert run(database, "camera", "update", "North Lot", "--name", "South Lot", "--capacity", "9").exit_code == 0
    (camera,) = json.loads(run(database, "camera", "list", "--json").output)
    assert (camera["name"], camera["capacity"], camera["hold"]) == ("South Lot", 9, 7200.0)
    assert "connection_string" not in camera
    assert run(database, "camera", "remove", "South Lot").exit_code == 0
    missing = run(database, "camera", "remove", "South Lot")
    assert missing.exit_code == 1
    assert missing.output.startswith("Error: no camera")


def test_import_says_what_became_of_the_rows(database: str, tmp_path: Path) -> None:
    cameras, events = tmp_path / "cameras.csv", tmp_path / "events.csv"
    cameras.write_text("camera,timezone\nNorth Lot,Europe/Berlin\n")
    events.write_text(
        "camera,timestamp,occupied_count\nNorth Lot,2026-08-04T10:00:00Z,7\nNorth Lot,2026-08-04T11:00:00Z,9\n"
    )
    result = run(database, "import", str(events), "--cameras", str(cameras), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["inserted"] == 2
    with events.open("a") as file:
        file.write("North Lot,2026-08-04T12:00:00Z,-1\n")
    again = run(database, "import", str(events))
    assert again.exit_code == 1
    assert "events.rejected.csv" in again.output
    shown = run(database, "weekday", "North Lot", "--weekday", "tue", "--start", "2026-08-04", "--end", "2026-08-05")
    assert "Tuesday" in shown.output
    assert "8.8" in shown.output  # 7 for one hour, 9 for the eleven until midnight in Berlin
    records = json.loads(run(database, "weekday", "North Lot", "--json").output)
    assert {record["camera"] for record in records} == {"North Lot"}


def test_a_wrong_name_is_one_line_and_exit_code_1(database: str) -> None:
    result = run(database, "weekday", "Nort Lot")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    missing = run(database, "import", "/nowhere/x.csv")
    assert missing.exit_code == 1
    assert "check the path" in missing.output


def test_the_demonstration_feeds_answers_draws_and_reuses(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analytics.cli.SAMPLE_DAYS", 15)
    picture = tmp_path / "map.png"
    first = run(database, "demo", "--plot", str(picture))
    assert first.exit_code == 0, first.output
    assert "North Lot" in first.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    second = run(database, "demo", "--plot", str(picture))
    assert second.exit_code == 0
    assert "events" not in second.output
    assert demo.name == "demo"
