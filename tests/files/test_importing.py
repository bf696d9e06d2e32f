"""Files: CSV, gzipped CSV and Parquet; every row accounted for, in bounded memory, whatever retention does."""

from __future__ import annotations

import csv
import gzip
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import brute_force
from tests.support.peak_memory import peak_memory
from timeseries import ImportResult, InvalidInputError, OccupancyEvent, Store

START = datetime(2026, 5, 4, tzinfo=UTC)
LOTS = ("a", "b")


def rows(days: int, every: int = 20) -> list[tuple[str, datetime, int]]:
    """A change-driven feed of two lots, in order of time."""
    steps = days * 1440 // every
    return [
        (lot, START + timedelta(minutes=every * i + 7 * j), (i * 7 + j) % 90)
        for i in range(steps)
        for j, lot in enumerate(LOTS)
    ]


def write(path: Path, events: list[tuple[str, datetime, int]]) -> Path:
    if path.suffix == ".parquet":
        camera, timestamp, occupied_count = zip(*events, strict=True)
        names = pa.array(camera).dictionary_encode()
        pq.write_table(pa.table({"camera": names, "timestamp": timestamp, "occupied_count": occupied_count}), path)
        return path
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["camera", "timestamp", "occupied_count"])
        writer.writerows((lot, at.strftime("%Y-%m-%dT%H:%M:%SZ"), count) for lot, at, count in events)
    return path


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    path = tmp_path / "cameras.csv"
    path.write_text("camera,city,capacity,timezone\na,Bonn,90,Europe/Berlin\nb,Oslo,,Asia/Kolkata\n")
    return path


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    return result.cameras, result.inserted, result.duplicates, result.rejected


@pytest.mark.parametrize("name", ["events.csv", "events.csv.gz", "events.parquet"])
def test_a_file_is_stored_once_and_creates_its_cameras(store: Store, tmp_path: Path, cameras: Path, name: str) -> None:
    events = rows(days=3)
    path = write(tmp_path / name, events)
    seen: list[int] = []
    assert counts(store.import_file(path, cameras, progress=lambda done, _: seen.append(done))) == (
        2,
        len(events),
        0,
        0,
    )
    assert counts(store.import_file(path, cameras)) == (0, 0, len(events), 0)
    assert seen[-1] == path.stat().st_size
    assert store.cameras.get("a").capacity == 90
    assert store.cameras.get("b").timezone == "Asia/Kolkata"


def test_history_is_in_every_average_when_the_import_returns(store: Store, tmp_path: Path, cameras: Path) -> None:
    events = rows(days=5)
    store.import_file(write(tmp_path / "events.csv", events), cameras)
    camera = store.cameras.get("b")
    end = START + timedelta(days=6)
    labels = [q.astimezone(camera.zone).isoweekday() for q in brute_force.quarters(START, end)]
    own = [(at, count) for lot, at, count in events if lot == "b"]
    wanted = brute_force.answer(*zip(*own, strict=True), start=START, end=end, labels=labels)
    with store.pool.connection() as connection:
        found = connection.execute(
            "SELECT weekday, occupied_avg, samples FROM occupancy_weekdays(%s, %s, %s)",
            [[camera.id], START, end],
        ).fetchall()
    assert {day: (average, samples) for day, average, samples in found} == {
        day: (pytest.approx(known.average, rel=1e-9), known.samples) for day, known in wanted.items()
    }


def test_bad_rows_go_to_a_file_beside_the_input_with_row_and_reason(
    store: Store, tmp_path: Path, cameras: Path
) -> None:
    good = write(tmp_path / "events.csv", rows(days=1))
    lines = good.read_text().splitlines()
    bad = {
        5: ("nowhere,2026-05-04T00:00:00Z,1", "no camera has the name or id nowhere"),
        9: ("a,2026-05-04T00:00:00,1", "naive"),
        12: ("a,yesterday,1", "not ISO 8601"),
        20: ("a,2026-05-04T00:00:00Z,-4", "negative"),
        21: ("a,2026-05-04T00:00:00Z,99999999999", "beyond"),
        30: ("a,2026-05-04T00:00:00Z", "another number of columns"),
        31: ("a,2026-05-04T00:00:00Z,NaN", "not a whole number"),
        40: ("a,2106-05-04T00:00:00Z,1", "5 minutes ahead"),
        41: ("a,,1", "not ISO 8601"),
        50: ("a,1,2,3,4,5", "another number of columns"),
    }
    for number in sorted(bad):
        lines.insert(number, bad[number][0])
    good.write_text("\n".join(lines) + "\n")
    result = store.import_file(good, cameras)
    assert counts(result) == (2, 144, 0, len(bad))
    assert result.rejected_file == tmp_path / "events.rejected.csv"
    with result.rejected_file.open() as file:
        rejected = {int(row["row"]): row["reason"] for row in csv.DictReader(file)}
    assert sorted(rejected) == sorted(bad)
    for number, (_, reason) in bad.items():
        assert reason in rejected[number]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("missing.csv", None, "check the path"), ("columns.csv", "a,b\n1,2\n", "it needs camera"),
     ("no.parquet", "text", "no.parquet"), ("no.csv.gz", "text", "no.csv.gz")],
)  # fmt: skip
def test_a_file_that_is_none_is_named(store: Store, tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        store.import_file(path)


def test_an_unknown_time_zone_in_a_file_of_cameras_names_the_row(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "cameras.csv"
    path.write_text("camera,timezone\na,Europe/Berlin\nb,Europe/Berlln\n")
    with pytest.raises(InvalidInputError, match=r"cameras\.csv, row 2: .*did you mean Europe/Berlin"):
        store.import_file(write(tmp_path / "events.csv", rows(days=1)), path)


AVERAGES = """
    SELECT 'hour' AS level, camera_id, bucket, occupied_avg, occupied_min, occupied_max, samples, coverage
    FROM occupancy_hours(NULL, %(start)s, %(end)s)
    UNION ALL
    SELECT 'weekday', camera_id, to_timestamp(weekday), occupied_avg, occupied_min, occupied_max, samples, coverage
    FROM occupancy_weekdays(NULL, %(start)s, %(end)s)
    UNION ALL
    SELECT 'kept', camera_id, bucket, occupied_avg, occupied_min, occupied_max, samples, NULL FROM occupancy_hourly
"""


def averages(store: Store) -> set[tuple[object, ...]]:
    ask = {"start": START - timedelta(days=1), "end": START + timedelta(days=30)}
    with store.pool.connection() as connection:
        return set(connection.execute(AVERAGES, ask).fetchall())


def raw_rows(store: Store) -> int:
    with store.pool.connection() as connection:
        row = connection.execute("SELECT count(*) FROM occupancy_events").fetchone()
        assert row is not None
        return int(row[0])


def test_the_averages_stay_when_retention_takes_the_raw_rows(store: Store, tmp_path: Path, cameras: Path) -> None:
    store.import_file(write(tmp_path / "events.csv", rows(days=10)), cameras)
    recent = datetime.now(UTC) - timedelta(days=5)
    store.record([OccupancyEvent(store.cameras.get("a").id, recent, 3)])
    before = averages(store)
    store.prune()
    assert raw_rows(store) == 1
    assert averages(store) == before


def test_retention_after_every_block_of_an_import_loses_nothing(
    store: Store, tmp_path: Path, cameras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = rows(days=4, every=5)
    runs: list[int] = []

    def meanwhile(done: int, _: int) -> None:
        store.prune()
        runs.append(done)

    monkeypatch.setattr("timeseries.files.readers.BLOCK_BYTES", 4096)
    result = store.import_file(write(tmp_path / "events.csv", events), cameras, progress=meanwhile)
    assert len(runs) > 10
    assert counts(result) == (2, len(events), 0, 0)
    end = START + timedelta(days=5)
    for lot in LOTS:
        camera = store.cameras.get(lot)
        own = zip(*[(at, count) for name, at, count in events if name == lot], strict=True)
        labels = [brute_force.hour_label(q, camera.zone) for q in brute_force.quarters(START, end)]
        wanted = brute_force.answer(*own, start=START, end=end, labels=labels)
        with store.pool.connection() as connection:
            found = connection.execute(
                "SELECT bucket, occupied_avg, samples FROM occupancy_hours(%s, %s, %s)",
                [[camera.id], START, end],
            ).fetchall()
        assert {brute_force.hour_label(max(at, START), camera.zone): rest for at, *rest in found} == {
            label: [known.average and pytest.approx(known.average, rel=1e-9), known.samples]
            for label, known in wanted.items()
        }


def test_history_of_a_new_camera_does_not_touch_what_is_kept_of_another(
    store: Store, tmp_path: Path, cameras: Path
) -> None:
    store.import_file(write(tmp_path / "events.csv", rows(days=3)), cameras)
    store.prune()
    before = averages(store)
    new = store.cameras.add("new", timezone="Europe/Berlin")
    result = store.record([OccupancyEvent(new.id, START + timedelta(hours=i), i) for i in range(48)])
    assert result.inserted == 48
    assert {row for row in averages(store) if row[1] != new.id} == {row for row in before if row[1] != new.id}
    old = store.cameras.get("a").id
    late = store.record(
        [
            OccupancyEvent(old, START + timedelta(minutes=1), 5),
            OccupancyEvent(old, START - timedelta(days=3), 5),
        ]
    )
    assert late.inserted == 1
    assert [r.index for r in late.rejected] == [0]
    assert "removed by retention" in late.rejected[0].reason
    assert late.rejected[0].kind == "finalized"


def test_memory_does_not_grow_with_the_file(store: Store, tmp_path: Path, cameras: Path) -> None:
    """Peak memory of the command for a file of the blocks that are in flight, and for one four times as long, which is
    stored in several transactions.
    """
    peaks = []
    for name, days in (("short.csv", 240), ("long.csv", 960)):
        path = write(tmp_path / name, [(lot, at - timedelta(days=1000), n) for lot, at, n in rows(days, every=5)])
        script = (
            "from timeseries import Store; from timeseries.settings import Settings\n"
            "from timeseries.ingest import record; record.TRANSACTION_SIZE = 80_000\n"
            f"store = Store.open({store.url!r}, settings=Settings())\n"
            f"store.import_file({str(path)!r}, {str(cameras)!r})\n"
        )
        peaks.append(peak_memory(script))
    assert peaks[1] < peaks[0] + 30_000, peaks


def test_pruning_twice_at_once_and_beside_a_late_writer_loses_nothing(
    store: Store, tmp_path: Path, cameras: Path
) -> None:
    store.import_file(write(tmp_path / "events.csv", rows(days=6)), cameras)
    new = store.cameras.add("new")
    events = [OccupancyEvent(new.id, START + timedelta(minutes=7 * i), i % 9) for i in range(1000)]
    stored: list[int] = []
    work = [threading.Thread(target=store.prune) for _ in range(2)]
    work.append(
        threading.Thread(target=lambda: stored.extend(store.record([event]).inserted for event in events[::25]))
    )
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    store.prune()
    assert raw_rows(store) == 0
    with store.pool.connection() as connection:
        query = "SELECT sum(samples), count(*), count(DISTINCT (camera_id, bucket)) FROM occupancy_quarter_hourly"
        samples, quarters, distinct = connection.execute(query).fetchone() or (0, 0, 0)
    assert quarters == distinct
    assert samples == 864 + sum(stored)
    assert sum(stored) > 0
