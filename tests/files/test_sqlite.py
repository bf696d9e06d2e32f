"""Import of SQLite databases: everything comes in once, and no time is guessed."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner

from tests.support.keys import SECRET_KEY
from tests.support.sqlite_databases import LAYOUT, NORTH, SOUTH, START, ask, database, events, old
from timeseries import InvalidInputError, Store, TimeseriesError
from timeseries.cli import main

__all__ = ["old"]


def test_everything_comes_in_once(store: Store, old: Path) -> None:
    before, seen = old.read_bytes(), []
    result = store.import_file(old, progress=lambda done, total: seen.append((done, total)))
    assert (result.cameras, result.inserted, result.duplicates, result.rejected) == (2, 2500, 0, 0)
    assert seen[-1] == (2500, 2500)
    again = store.import_file(old)
    assert (again.cameras, again.inserted, again.duplicates, again.rejected) == (0, 0, 2500, 0)
    assert old.read_bytes() == before
    north, south = store.cameras.get(NORTH), store.cameras.get(SOUTH)
    assert (north.name, north.timezone, north.hold, north.capacity, north.zone_config, north.desired_state) == (
        "North Lot", "America/New_York", timedelta(hours=2), 180, {"zones": [[0, 1]]}, "stopped",
    )  # fmt: skip
    assert north.created_at == datetime(2026, 4, 1, 12, tzinfo=UTC)
    assert (south.name, south.timezone, south.hold, south.capacity) == ("South Lot", "UTC", timedelta(days=1), None)
    stored = ask(store, 'SELECT camera_id, "timestamp", occupied_count, raw_data FROM occupancy_events ORDER BY 2')
    assert stored == [
        (NORTH if i % 2 else SOUTH, START + timedelta(minutes=30 * i), i % 90, {"boxes": [i]} if i % 5 else None)
        for i in range(2400)
    ]
    logs = ask(store, 'SELECT status, message, "timestamp" FROM health_logs ORDER BY 3')
    assert logs == [
        (["healthy", "degraded"][i % 2], "RTSP timeout", START + timedelta(hours=7 * i)) for i in range(100)
    ]
    assert ask(store, "SELECT sum(samples) FROM occupancy_weekday") == [(2400,)]


def test_a_naive_timestamp_is_refused_unless_someone_says_whose_it_is(store: Store, tmp_path: Path) -> None:
    naive = ["2026-05-04 12:00:00.250000", "2026-03-29T02:30:00", "2026-05-04T12:30:00+00:00", 1777900000]
    path = database(
        tmp_path / "naive.db",
        LAYOUT,
        cameras=[{"id": str(NORTH), "name": "North Lot"}],
        occupancy_events=events(*naive),
    )
    with pytest.raises(InvalidInputError, match=r"2026-05-04T12:00:00.250000 is naive.*--naive-timezone UTC"):
        store.import_file(path)
    assert store.cameras.list() == []
    with pytest.raises(InvalidInputError, match="unknown; did you mean Europe/Berlin"):
        store.import_file(path, naive_timezone="Berlin")
    result = store.import_file(path, naive_timezone="Europe/Berlin")
    assert (result.inserted, result.rejected) == (3, 1)
    assert result.rejected_file is not None
    assert "twice or never in Europe/Berlin" in result.rejected_file.read_text()
    assert ask(store, 'SELECT occupied_count, "timestamp" FROM occupancy_events ORDER BY 1') == [
        (1, datetime(2026, 5, 4, 10, 0, 0, 250000, tzinfo=UTC)),
        (3, datetime(2026, 5, 4, 12, 30, tzinfo=UTC)),
        (4, datetime.fromtimestamp(1777900000, UTC)),
    ]


def test_a_word_that_is_no_timestamp_is_a_rejected_row_whatever_the_word(store: Store, tmp_path: Path) -> None:
    path = database(
        tmp_path / "words.db",
        LAYOUT,
        cameras=[{"id": str(NORTH), "name": "North Lot"}],
        occupancy_events=events("naive", "2026-05-04T12:30:00+00:00"),
    )
    result = store.import_file(path)
    assert (result.inserted, result.rejected) == (1, 1)


def test_naive_timestamps_of_a_csv_file_can_be_given_a_zone_too(store: Store, tmp_path: Path) -> None:
    store.cameras.add("North Lot")
    path = tmp_path / "events.csv"
    path.write_text("camera,timestamp,occupied_count\nNorth Lot,2026-05-04T12:00:00,5\nNorth Lot,2026-10-25T02:30,6\n")
    assert store.import_file(path).rejected == 2
    result = store.import_file(path, naive_timezone="Europe/Berlin")
    assert (result.inserted, result.rejected) == (1, 1)
    assert ask(store, 'SELECT "timestamp" FROM occupancy_events') == [(datetime(2026, 5, 4, 10, tzinfo=UTC),)]


def test_a_bad_row_goes_to_a_file_with_its_table_and_number_and_the_others_come_in(
    store: Store, tmp_path: Path
) -> None:
    good = START.isoformat()
    path = database(
        tmp_path / "bad.db",
        LAYOUT,
        cameras=[{"id": str(NORTH), "name": "North Lot"}],
        occupancy_events=[
            *events(good, "yesterday", None, float("inf"), "2026-05-05T00:00:00"),
            *events(good, camera=str(uuid4())),
            *events(good, camera="7"),
            {"camera_id": str(NORTH), "timestamp": START.timestamp() + 1.5, "occupied_count": 4.0},
            {"camera_id": str(NORTH), "timestamp": START.timestamp() + 2, "occupied_count": -4},
            {"camera_id": str(NORTH), "timestamp": START.timestamp() + 3, "occupied_count": "many"},
            {"camera_id": str(NORTH), "timestamp": START.timestamp() + 4, "occupied_count": 4, "raw_data": "{"},
            {
                "camera_id": NORTH.bytes,
                "timestamp": START.timestamp() + 5,
                "occupied_count": 5,
                "raw_data": b'{"a": 1}',
            },
        ],
        health_logs=[
            {"camera_id": str(NORTH), "timestamp": good, "status": "broken"},
            {"camera_id": str(NORTH), "timestamp": good, "status": "healthy", "message": "NUL \0"},
            {"camera_id": str(NORTH), "timestamp": good, "status": "healthy"},
        ],
    )
    result = store.import_file(path)
    assert (result.inserted, result.rejected, result.rejected_file) == (4, 11, tmp_path / "bad.rejected.csv")
    with (tmp_path / "bad.rejected.csv").open(newline="") as file:
        reasons = {(row["table"], int(row["row"])): row["reason"] for row in csv.DictReader(file)}
    assert {key: [word for word in words if word not in reasons[key]] for key, words in {
        ("occupancy_events", 2): ["yesterday", "not ISO 8601"], ("occupancy_events", 3): ["not ISO 8601"],
        ("occupancy_events", 4): ["Inf"], ("occupancy_events", 5): ["naive"],
        ("occupancy_events", 6): ["no camera"], ("occupancy_events", 7): ["no camera has the name or id 7"],
        ("occupancy_events", 9): ["negative"], ("occupancy_events", 10): ["many"], ("occupancy_events", 11): ["JSON"],
        ("health_logs", 1): ["broken"], ("health_logs", 2): ["NUL"],
    }.items()} == {key: [] for key in reasons}  # fmt: skip
    assert ask(store, "SELECT occupied_count, raw_data FROM occupancy_events ORDER BY 1") == [
        (1, None), (4, None), (5, {"a": 1}),
    ]  # fmt: skip


def test_an_import_that_was_broken_off_goes_on(store: Store, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timeseries.files.sqlite_reader.BLOCK_ROWS", 300)
    monkeypatch.setattr("timeseries.ingest.record.TRANSACTION_SIZE", 300)

    def stop(done: int, _: int) -> None:
        if done >= 1500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.import_file(old, progress=stop)
    ((stored,),) = ask(store, "SELECT count(*) FROM occupancy_events")
    assert 0 < stored < 2400
    result = store.import_file(old)
    assert (result.inserted, result.duplicates) == (2500 - stored, stored)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("CREATE TABLE notes (text TEXT)", "its table cameras lacks id, name"),
        ("CREATE TABLE cameras (id TEXT, name TEXT)", "its table occupancy_events lacks camera_id"),
        (
            "CREATE TABLE cameras (id TEXT); CREATE TABLE health_logs (camera_id, timestamp, status)",
            "cameras lacks name",
        ),
        (LAYOUT.replace("occupied_count", "cars"), "occupancy_events lacks occupied_count"),
    ],
)
def test_another_layout_is_named(store: Store, tmp_path: Path, layout: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"other.db has another layout: .*{message}"):
        store.import_file(database(tmp_path / "other.db", layout))


def test_only_the_columns_that_must_be_there_are_needed(store: Store, tmp_path: Path) -> None:
    layout = """
        CREATE TABLE cameras (id BLOB, name TEXT, hold REAL);
        CREATE TABLE health_logs (camera_id BLOB, status TEXT, timestamp REAL);
    """
    rows = [{"camera_id": NORTH.bytes, "status": "healthy", "timestamp": START.timestamp()}]
    path = database(
        tmp_path / "no suffix?#", layout, cameras=[{"id": NORTH.bytes, "name": "a", "hold": 1800.5}], health_logs=rows
    )
    assert store.import_file(path).inserted == 1
    assert store.cameras.get(NORTH).hold == timedelta(seconds=1800.5)


@pytest.mark.parametrize("damage", ["cut", "scribbled"])
def test_a_damaged_database_is_named(store: Store, old: Path, damage: str) -> None:
    whole = old.read_bytes()
    old.write_bytes(whole[:5000] if damage == "cut" else whole[:4096] + bytes(len(whole) - 4096))
    with pytest.raises(TimeseriesError, match=r"old\.sqlite"):
        store.import_file(old)


def test_the_command_line_imports_a_database(store: Store, old: Path, tmp_path: Path) -> None:
    def call(*words: str) -> Any:
        environment = {"TIMESERIES_DATABASE_URL": store.url, "TIMESERIES_SECRET_KEY": SECRET_KEY}
        return CliRunner(env=environment).invoke(main, ["import", *words])

    result = json.loads(call(str(old), "--naive-timezone", "UTC", "--match-names", "--json").output)
    assert (result["cameras"], result["inserted"]) == (2, 2500)
    refused = call(str(old), "--cameras", str(tmp_path / "cameras.csv"))
    assert refused.exit_code == 1
    assert "leave out the file" in refused.output
