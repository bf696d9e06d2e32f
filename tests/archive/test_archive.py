"""What the archive writes, and what it writes again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow.parquet as pq

from tests.support.archives import DAY, OLD, TODAY, archived, execute, files, fill, missing, stored
from timeseries import HealthLog, OccupancyEvent, Store


def test_the_archive_has_every_raw_row_and_a_second_run_writes_nothing(store: Store, tmp_path: Path) -> None:
    lot, _ = fill(store)
    at = OLD + timedelta(hours=7, microseconds=1)
    odd = '"quoted", new\nline; ünï|code'
    store.record([OccupancyEvent(lot, at, 3, {"text": odd, "n": None}), HealthLog(lot, at, "degraded", odd)])
    store.record([HealthLog(lot, at + DAY, "healthy", ""), OccupancyEvent(lot, datetime.now(UTC), 1)])
    over = f"timestamp < '{TODAY - DAY}'"
    counts, logs = stored(store, where=over), stored(store, "health_logs", over)
    result = store.archive(tmp_path)
    assert (archived(tmp_path), archived(tmp_path, "health_logs")) == (counts, logs)
    assert result.rows == len(archived(tmp_path)) + len(archived(tmp_path, "health_logs"))
    before = files(tmp_path)
    assert (store.archive(tmp_path).files, files(tmp_path)) == (0, before)
    assert not any(name.startswith("_") for name in before)


def test_cameras_are_in_the_archive_without_connection_strings(store: Store, tmp_path: Path) -> None:
    store.cameras.add("lot", connection_string="rtsp://admin:hunter2@host/1", hold=timedelta(minutes=90))
    store.cameras.add("gone")
    store.archive(tmp_path)
    store.cameras.remove("gone")
    store.cameras.update("lot", timezone="Asia/Kathmandu")
    store.archive(tmp_path)
    found = {row["name"]: row for row in pq.read_table(tmp_path / "cameras/cameras.parquet").to_pylist()}
    assert found.keys() == {"lot", "gone"}
    assert (found["lot"]["timezone"], found["lot"]["hold_seconds"]) == ("Asia/Kathmandu", 5400)
    assert not {"connection_string"} & found["lot"].keys()


def test_late_events_and_corrections_reach_the_archive(store: Store, tmp_path: Path) -> None:
    lot, other = fill(store, TODAY - 9 * DAY, 6)
    store.archive(tmp_path)
    before = files(tmp_path)
    late = OccupancyEvent(lot, TODAY - 8 * DAY + timedelta(hours=1, seconds=17), 5)
    at = next(iter(execute(store, f"SELECT max(timestamp) FROM occupancy_events WHERE camera_id = '{other}'")))[0]
    store.record([late])
    assert store.record([OccupancyEvent(other, at, 77)], on_conflict="replace").replaced == 1  # type: ignore[arg-type]
    assert missing(store)["occupancy_events"] == 2
    assert store.archive(tmp_path).files == 2
    assert archived(tmp_path) == stored(store)
    assert sum(files(tmp_path)[name] != written for name, written in before.items()) == 2
    assert missing(store)["occupancy_events"] == 0


def test_rows_that_are_stored_or_deleted_past_the_store_reach_the_archive(store: Store, tmp_path: Path) -> None:
    lot, other = fill(store, TODAY - 9 * DAY, 4)
    store.archive(tmp_path)
    execute(store, f"DELETE FROM occupancy_events WHERE camera_id = '{other}'")
    at = TODAY - 40 * DAY
    execute(store, f"INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES ('{lot}', '{at}', 1)")
    store.archive(tmp_path)
    assert archived(tmp_path) == stored(store)


def test_an_event_that_is_stored_while_its_day_is_read_is_archived_in_the_end(store: Store, tmp_path: Path) -> None:
    lot, _ = fill(store, TODAY - 9 * DAY, 1)
    at = TODAY - 9 * DAY + timedelta(hours=5, seconds=1)
    with psycopg.connect(store.url) as writer:  # a writer that is not done when the run begins
        writer.execute(
            "INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES (%s, %s, 3)", [lot, at]
        )
        store.archive(tmp_path)
        writer.execute("SELECT timeseries.note_change('occupancy', %s)", [[at]])
    assert missing(store)["occupancy_events"] == 1
    store.archive(tmp_path)
    assert archived(tmp_path) == stored(store)


def test_a_day_whose_rows_went_past_retention_stays_in_the_archive(store: Store, tmp_path: Path) -> None:
    fill(store, TODAY - 9 * DAY, 3)
    store.archive(tmp_path)
    before = archived(tmp_path)
    execute(store, "TRUNCATE occupancy_events")
    assert store.archive(tmp_path).files == 0
    assert archived(tmp_path) == before


def test_days_are_those_of_utc_whatever_the_role_and_the_process_have(store: Store, tmp_path: Path) -> None:
    lot = store.cameras.add("lot").id
    edges = [TODAY - 5 * DAY, TODAY - 4 * DAY - timedelta(microseconds=1)]
    store.record([OccupancyEvent(lot, at, 1) for at in edges])
    execute(store, f"""ALTER DATABASE "{store.url.rsplit("/", 1)[1].split("?")[0]}" SET timezone = 'Pacific/Apia'""")
    with Store.open(store.url) as fresh:
        fresh.archive(tmp_path)
    (path,) = tmp_path.glob("occupancy_events/*/*.parquet")
    assert path.parent.name == f"day={date.fromisoformat(f'{edges[0]:%Y-%m-%d}')}"
    assert pq.ParquetFile(path).metadata.num_rows == 2
