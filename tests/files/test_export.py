"""Export: what is written is what is there, comes back by an import, and is never half a file."""

from __future__ import annotations

import csv
import gzip
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from tests.support.keys import SECRET_KEY
from tests.support.peak_memory import peak_memory
from tests.support.servers import RunningServer
from timeseries import (
    HealthLog,
    InvalidInputError,
    OccupancyEvent,
    ServerUnavailableError,
    Store,
    TimeseriesError,
    UnknownCameraError,
)
from timeseries.cli import main
from timeseries.files.export import EXPORTABLE
from timeseries.model.relations import AGGREGATES
from timeseries.settings import Settings

START = datetime(2026, 5, 4, tzinfo=UTC)
NAMES = ('Lot "A", north', "b\nsecond line", "ünï", "NULL")
EXTRAS = [  # type: ignore[var-annotated]
    None, {}, {"boxes": [[1, 2.5], None, True]}, [], "text", "", 5, 1e300, False, 'a,"b"\r\n', "\\N", "é\u2028", "NULL"
]  # fmt: skip
MESSAGES = [None, "", "RTSP timeout", 'a,"b"\r\nc', "\\N", "NULL", " ", "é\u2028", "nan"]
ROWS = {
    "occupancy_events": 'SELECT c.name, e."timestamp", occupied_count, raw_data',
    "health_logs": 'SELECT c.name, e."timestamp", status, message',
}


def fill(store: Store) -> None:
    for i, name in enumerate(NAMES):
        camera = store.cameras.add(
            name, timezone=["UTC", "Asia/Kolkata"][i % 2], hold=timedelta(hours=1, seconds=i / 4), capacity=i or None,
            zone_config={"zone": [name]}, connection_string="rtsp://admin:hunter2@camera/1",
        )  # fmt: skip
        store.record(
            OccupancyEvent(
                camera.id, START + timedelta(hours=5 * j, microseconds=i), j * 7 % 90, EXTRAS[j % len(EXTRAS)]
            )
            for j in range(70)
        )
        store.record(
            HealthLog(
                camera.id, START + timedelta(days=j), "degraded" if j % 2 else "healthy", MESSAGES[j % len(MESSAGES)]
            )
            for j in range(20)
        )
    store.groups.add("gates", NAMES, timezone="UTC")


@pytest.fixture
def filled(store: Store) -> Store:
    fill(store)
    return store


def ask(url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        return connection.execute(query).fetchall()


def events(url: str, relation: str) -> list[tuple[Any, ...]]:
    return ask(url, f"{ROWS[relation]} FROM {relation} AS e JOIN cameras AS c ON c.id = e.camera_id ORDER BY 2, 1")


def records(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; of CSV as text."""
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return found
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_exported_events_come_back_by_an_import_with_nothing_lost(
    filled: Store, server: RunningServer, tmp_path: Path, suffix: str
) -> None:
    paths = {name: tmp_path / f"{name}{suffix}" for name in ("cameras", *ROWS)}
    written = {name: filled.export(name, path).rows for name, path in paths.items()}
    assert written == {"cameras": 4, "occupancy_events": 280, "health_logs": 80}
    with Store.open(server.copy(), settings=Settings(secret_key=SECRET_KEY)) as copy:
        for relation in ROWS:
            result = copy.import_file(paths[relation], paths["cameras"])
            assert (result.inserted, result.duplicates, result.rejected) == (written[relation], 0, 0)
            assert copy.import_file(paths[relation], paths["cameras"]).duplicates == written[relation]
            assert events(copy.url, relation) == events(filled.url, relation)
        averages = "SELECT c.name, w.* FROM cameras AS c, occupancy_weekdays(ARRAY[c.id], '2026-05-01') AS w"
        without_id = averages.replace("w.*", "w.weekday, w.occupied_avg, w.samples, w.coverage")
        assert sorted(ask(copy.url, without_id), key=str) == sorted(ask(filled.url, without_id), key=str)
        for camera in filled.cameras.list():
            twin = copy.cameras.get(camera.name)
            assert (twin.timezone, twin.hold, twin.capacity, twin.zone_config, twin.desired_state) == (
                camera.timezone, camera.hold, camera.capacity, camera.zone_config, camera.desired_state,
            )  # fmt: skip


@pytest.mark.parametrize("relation", AGGREGATES)
def test_an_exported_aggregate_is_the_aggregate_also_where_raw_rows_are_gone(
    filled: Store, tmp_path: Path, relation: str
) -> None:
    filled.prune()
    assert ask(filled.url, "SELECT count(*) FROM occupancy_events") == [(0,)]
    with psycopg.connect(filled.url) as connection:
        cursor = connection.execute(f"SELECT * FROM {relation}")
        wanted = [{c.name: v for c, v in zip(cursor.description or (), row, strict=True)} for row in cursor]
    assert wanted
    names = {camera.id: camera.name for camera in filled.cameras.list()}
    assert filled.export(relation, tmp_path / "a.parquet").rows == len(wanted)
    found = records(tmp_path / "a.parquet")
    assert [row["bucket"] for row in found] == sorted(row["bucket"] for row in wanted)
    expected = [{"camera": names[row["camera_id"]], **row, "camera_id": str(row["camera_id"])} for row in wanted]
    assert sorted(found, key=str) == sorted(expected, key=str)
    filled.export(relation, tmp_path / "a.csv")
    text = records(tmp_path / "a.csv")
    assert [float(row[key]) for row in text for key in row if key.endswith(("_avg", "_share"))] == [
        value for row in found for key, value in row.items() if key.endswith(("_avg", "_share"))
    ]
    assert [datetime.fromisoformat(row["bucket"]) for row in text] == [row["bucket"] for row in found]


def test_cameras_and_a_range_choose_what_is_exported(filled: Store, tmp_path: Path) -> None:
    path, (first, second) = tmp_path / "some.parquet", NAMES[:2]
    end = START + timedelta(days=9)
    for relation, time in {
        "occupancy_events": "timestamp",
        "health_logs": "timestamp",
        "occupancy_hourly": "bucket",
    }.items():
        filled.export(relation, path, of=[first, filled.cameras.get(second)], start=START + timedelta(days=2), end=end)
        found = records(path)
        query = f"""
            SELECT c.name, "{time}" FROM {relation} JOIN cameras AS c ON c.id = camera_id
            WHERE c.name IN ('{first}', E'{second}') AND "{time}" >= '2026-05-06Z' AND "{time}" < '{end}'
        """
        assert sorted((row["camera"], row[time]) for row in found) == sorted(ask(filled.url, query))
        assert {row["camera"] for row in found} == {first, second}
    filled.export("health_logs", path, start=START + timedelta(days=3), end=START + timedelta(days=4))
    assert {row["timestamp"] for row in records(path)} == {START + timedelta(days=3)}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_connection_strings_never_leave(filled: Store, tmp_path: Path, suffix: str) -> None:
    for relation in EXPORTABLE:
        path = tmp_path / f"{relation}{suffix}"
        assert filled.export(relation, path).rows
        assert "connection_string" not in records(path)[0]
        for camera in filled.cameras.list():
            assert str(camera.connection_string) not in str(records(path))


@pytest.mark.parametrize("relation", EXPORTABLE)
def test_an_export_without_a_row_has_the_same_columns(store: Store, tmp_path: Path, relation: str) -> None:
    store.export(relation, tmp_path / "none.csv")
    store.export(relation, tmp_path / "none.parquet")
    none = pq.read_schema(tmp_path / "none.parquet")
    assert (tmp_path / "none.csv").read_text() == ",".join(none.names) + "\n"
    fill(store)
    store.export(relation, tmp_path / "some.parquet")
    assert pq.read_schema(tmp_path / "some.parquet").equals(none)


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_an_export_that_breaks_off_leaves_the_older_file_and_nothing_else(
    filled: Store, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"events{suffix}"
    filled.export("health_logs", path)
    before = path.read_bytes()

    def cut(*_: int) -> None:
        ask(filled.url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                        " AND pid <> pg_backend_pid()")  # fmt: skip

    with pytest.raises(ServerUnavailableError):
        filled.export("occupancy_events", path, progress=cut)
    with pytest.raises(InvalidInputError, match=r"cannot write .*disk"), limited_disk():
        filled.export("occupancy_events", path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@contextmanager
def limited_disk() -> Iterator[None]:
    """No file grows beyond 500 bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_export_of_weeks_does_not_hold_the_locks_that_retention_waits_for(filled: Store, tmp_path: Path) -> None:
    locked = []

    def lock(done: int, total: int) -> None:
        with psycopg.connect(filled.url) as other:
            other.execute("LOCK TABLE cameras, occupancy_events IN ACCESS EXCLUSIVE MODE NOWAIT")
            locked.append((done, total))

    filled.export("occupancy_events", tmp_path / "events.csv", progress=lock)
    assert locked == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("suffix", [".csv.gz", ".parquet"])
def test_memory_does_not_grow_with_the_export(store: Store, tmp_path: Path, suffix: str) -> None:
    """Peak memory of a process that exports a day of events, and one that exports all."""
    store.cameras.add("lot")
    with psycopg.connect(store.url) as connection:
        connection.execute("""
            INSERT INTO occupancy_events (camera_id, "timestamp", occupied_count, raw_data)
            SELECT c.id, t, 5, jsonb_build_object('boxes', repeat(md5(t::text), 8))
            FROM cameras AS c, generate_series('2026-05-01Z'::timestamptz, '2026-05-21Z', interval '10 seconds') AS t
        """)
    peaks = []
    for days in (1, 20):
        script = (
            "from timeseries import Store; from timeseries.settings import Settings\n"
            "from datetime import datetime, timedelta, UTC; start = datetime(2026, 5, 1, tzinfo=UTC)\n"
            f"store = Store.open({store.url!r}, settings=Settings())\n"
            f"store.export('occupancy_events', {str(tmp_path / 'x') + suffix!r}, end=start + timedelta(days={days}))\n"
        )
        peaks.append(peak_memory(script))
    assert peaks[1] < peaks[0] + 150_000, peaks


@pytest.mark.parametrize(
    ("relation", "name", "options", "error", "message"),
    [
        ("nothing", "a.csv", {}, InvalidInputError, "'nothing'; it must be one of occupancy_events"),
        ("health_logs", "a.xlsx", {}, InvalidInputError, "a.xlsx: its suffix must be"),
        ("health_logs", "a.gz", {}, InvalidInputError, "a.gz: its suffix must be"),
        ("health_logs", "a.csv", {"start": datetime(2026, 5, 4)}, InvalidInputError, "naive"),  # noqa: DTZ001
        ("health_logs", "a.csv", {"of": ["nobody"]}, UnknownCameraError, "nobody"),
        ("health_logs", "missing/a.csv", {}, InvalidInputError, "check the path"),
    ],
)
def test_what_cannot_be_exported_is_named(
    store: Store,
    tmp_path: Path,
    relation: str,
    name: str,
    options: dict[str, Any],
    error: type[TimeseriesError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        store.export(relation, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_exports(filled: Store, tmp_path: Path) -> None:
    def call(*words: str) -> Any:
        return CliRunner(env={"TIMESERIES_DATABASE_URL": filled.url}).invoke(main, ["export", *words])

    path = tmp_path / "events.csv"
    result = call("occupancy_events", str(path), "--camera", NAMES[0], "--camera", NAMES[2], "--start",
                  "2026-05-05T02:00:00+02:00", "--end", "2026-05-06T00:00:00Z", "--json")  # fmt: skip
    assert json.loads(result.stdout) == {"path": str(path), "rows": len(records(path))}
    assert {row["camera"] for row in records(path)} == {NAMES[0], NAMES[2]}
    assert {row["timestamp"][:10] for row in records(path)} == {"2026-05-05"}
    assert call("cameras", str(path)).stdout == f"Wrote 4 rows to {path}.\n"
    naive = call("health_logs", str(path), "--start", "2026-05-05")
    assert naive.exit_code == 1
    assert "time zone" in naive.output


def test_a_row_larger_than_a_row_group_is_written_as_parquet(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeseries.files.export.ROW_GROUP_BYTES", 1000)
    camera = store.cameras.add("large").id
    texts = ["x" * 5000, "y", "z" * 700, "z" * 700, "small"]
    store.record([OccupancyEvent(camera, START + timedelta(days=6 * i), i, text) for i, text in enumerate(texts)])
    path = tmp_path / "events.parquet"
    assert store.export("occupancy_events", path).rows == len(texts)
    assert [json.loads(row["raw_data"]) for row in records(path)] == texts
    assert pq.ParquetFile(path).num_row_groups == 3
