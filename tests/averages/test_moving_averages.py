"""Averages from one store into another, of each kind: every answer is the same, and nothing can be added to them."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import analytics
from analytics import arrow_client
from tests.support.faults import opened
from tests.support.histories import add_cameras, answers, events_of, same
from tests.support.roles import MakeRole, as_role, make_role
from tests.support.servers import RunningServer
from tests.support.watchers import Watcher, versions
from timeseries import (
    AsyncStore,
    CameraExistsError,
    HealthLog,
    InvalidInputError,
    NotAllowedError,
    OccupancyEvent,
    ServerKind,
    Store,
    UnknownCameraError,
)
from timeseries.access.roles import grant
from timeseries.averages import importing
from timeseries.averages.export import AveragesExport
from timeseries.cli import main
from timeseries.maintenance import watermarks
from timeseries.maintenance.refresh import refresh
from timeseries.model.events import Event

__all__ = ["make_role"]

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START, END = MIDNIGHT - timedelta(days=104), MIDNIGHT - timedelta(days=2)
LONG_AGO = MIDNIGHT - timedelta(days=100)


@pytest.fixture
def other(other_server: RunningServer) -> Iterator[Store]:
    """A store on a server of each kind."""
    with opened(other_server.copy()) as store:
        yield store
    other_server.drop()


@pytest.fixture
def second(server: RunningServer) -> Iterator[Store]:
    """A store beside `store`, on the same server."""
    with opened(server.copy()) as store:
        yield store
    server.drop()


def fill(store: Store, seed: int = 7) -> None:
    """Two cameras of several zones and holds, the oldest of whose raw rows are gone."""
    chance = random.Random(seed)
    events = [
        event for camera in add_cameras(store, 2) for event in events_of(camera, START, MIDNIGHT, chance, every=10800)
    ]
    assert store.record(events).inserted == len(events)
    assert store.prune().removed > 0


def series(store: Store, name: str, start: datetime = LONG_AGO, number: int = 40) -> None:
    """A camera with counts every ten minutes, whose raw rows are gone."""
    camera = store.cameras.add(name)
    store.record(OccupancyEvent(camera.id, start + timedelta(minutes=10 * i), i % 9) for i in range(number))
    store.record([HealthLog(camera.id, start, "degraded"), HealthLog(camera.id, start + timedelta(hours=1), "healthy")])
    store.prune()


def quarters(store: Store) -> int:
    with psycopg.connect(store.url) as connection:
        return connection.execute("SELECT count(*) FROM occupancy_quarter_hourly").fetchall()[0][0]  # type: ignore[no-any-return]


def exported(store: Store, folder: Path, **options: bool) -> AveragesExport:
    return store.export_averages(folder / "averages", **options)  # type: ignore[arg-type]


def test_every_answer_is_the_same_in_a_store_of_any_kind(store: Store, other: Store, tmp_path: Path) -> None:
    fill(store)
    wanted = answers(store.url, START, END)
    written = exported(store, tmp_path)
    assert written.cameras == 2
    assert written.until >= END  # a day later, where it is midnight meanwhile

    taken = other.import_averages(written.path)
    assert (taken.cameras, taken.imported, taken.duplicates, taken.skipped) == (2, written.quarters, 0, 0)
    assert same(answers(other.url, START, END), wanted)
    other.refresh()
    assert other.prune().removed == 0
    assert same(answers(other.url, START, END), wanted)
    again = other.import_averages(written.path)
    assert (again.cameras, again.imported, again.duplicates) == (0, 0, written.quarters)


def test_averages_and_raw_rows_together_are_the_whole_store(store: Store, other: Store, tmp_path: Path) -> None:
    fill(store)
    wanted = answers(store.url, START, MIDNIGHT)
    written = exported(store, tmp_path, finalized=True)
    other.import_averages(written.path)
    for table in ("occupancy_events", "health_logs"):
        store.export(table, tmp_path / f"{table}.parquet")
        result = other.import_file(tmp_path / f"{table}.parquet")
        assert (result.rejected, result.duplicates) == (0, 0)
        assert result.inserted > 0
    assert same(answers(other.url, START, MIDNIGHT), wanted)


def test_no_event_can_be_added_to_imported_quarters_and_others_are_as_ever(
    store: Store, second: Store, tmp_path: Path
) -> None:
    series(store, "lot")
    second.import_averages(exported(store, tmp_path).path)
    lot = second.cameras.get("lot")
    before = answers(second.url, START, END)
    late = OccupancyEvent(lot.id, LONG_AGO + timedelta(minutes=1), 5)
    assert "cannot be added" in second.record([late]).rejected[0].reason
    assert same(answers(second.url, START, END), before)
    others: list[Event] = [
        HealthLog(lot.id, LONG_AGO + timedelta(1), "healthy"),
        OccupancyEvent(lot.id, END - timedelta(days=3), 8),
    ]
    assert second.record(others).inserted == 2


def test_hours_and_days_are_those_of_the_zone_and_hold_that_the_camera_has_here(
    store: Store, second: Store, tmp_path: Path
) -> None:
    series(store, "lot")
    lot = store.cameras.get("lot")
    second.cameras.add("lot", id=lot.id, timezone="Asia/Kathmandu", hold=timedelta(minutes=20))
    assert second.import_averages(exported(store, tmp_path).path).cameras == 0
    store.cameras.update(lot, timezone="Asia/Kathmandu", hold=timedelta(minutes=20))
    assert same(answers(second.url, START, END), answers(store.url, START, END))


def test_two_stores_become_one(store: Store, second: Store, tmp_path: Path) -> None:
    series(store, "east", number=40)
    series(store, "west")
    series(second, "North", LONG_AGO + timedelta(days=3))
    north = second.cameras.get("North")
    written = exported(store, tmp_path)
    taken = second.import_averages(written.path, mapping={"east": "North"})
    assert (taken.cameras, taken.imported) == (1, written.quarters)
    assert {camera.name for camera in second.cameras.list()} == {"North", "west"}
    with psycopg.connect(second.url) as connection:
        found = connection.execute(
            "SELECT min(first_at), max(last_at), sum(samples) FROM occupancy_weekday WHERE camera_id = %s", [north.id]
        ).fetchone()
    assert found == (LONG_AGO, LONG_AGO + timedelta(days=3, minutes=390), 80)


def test_quarters_that_are_in_both_are_refused_with_their_place_or_skipped(
    store: Store, second: Store, tmp_path: Path
) -> None:
    series(store, "lot", number=40)
    series(store, "another")
    camera = second.cameras.add("lot", id=store.cameras.get("lot").id)
    second.record([OccupancyEvent(camera.id, LONG_AGO + timedelta(minutes=16), 77)])
    before = quarters(second)
    written = exported(store, tmp_path)
    with pytest.raises(
        InvalidInputError, match=rf"'lot'.*1 of 27 .*{LONG_AGO + timedelta(minutes=15):%FT%T}.*--on-conflict"
    ):
        second.import_averages(written.path)
    assert (quarters(second), len(second.cameras.list())) == (before, 1)
    taken = second.import_averages(written.path, on_conflict="skip")
    assert (taken.skipped, taken.duplicates, taken.imported) == (1, 0, written.quarters - 1)
    with psycopg.connect(second.url) as connection:
        kept = connection.execute(
            "SELECT occupied_max FROM occupancy_quarter_hourly WHERE camera_id = %s AND bucket = %s",
            [camera.id, LONG_AGO + timedelta(minutes=15)],
        ).fetchall()
    assert kept == [(77,)]


def test_a_name_of_another_camera_is_refused_until_it_is_mapped(store: Store, second: Store, tmp_path: Path) -> None:
    series(store, "lot")
    here = second.cameras.add("lot")
    written = exported(store, tmp_path)
    with pytest.raises(CameraExistsError, match=r"'lot'.*--map"):
        second.import_averages(written.path)
    with pytest.raises(InvalidInputError, match="no camera 'lto' was exported; did you mean lot"):
        second.import_averages(written.path, mapping={"lto": "lot"})
    with pytest.raises(UnknownCameraError, match="nowhere"):
        second.import_averages(written.path, mapping={"lot": "nowhere"})
    assert quarters(second) == 0
    second.import_averages(written.path, mapping={"lot": here})
    assert quarters(second) == quarters(store)


def damaged_byte(folder: Path) -> None:
    file = folder / "occupancy_quarter_hourly.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def cut_off(folder: Path) -> None:
    file = folder / "health_quarter_hourly.parquet"
    file.write_bytes(file.read_bytes()[:-10])


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def another_format(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format": 3}))


def changed_periods(folder: Path) -> None:
    file = folder / "periods.parquet"
    pq.write_table(pq.read_table(file).slice(0, 0), file)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damaged_byte, "occupancy_quarter_hourly.parquet is damaged"),
        (cut_off, "health_quarter_hourly.parquet is damaged"),
        (no_manifest, "holds no whole export"),
        (another_format, "has the format 3"),
        (changed_periods, "periods.parquet is damaged"),
    ],
)
def test_nothing_is_taken_from_a_damaged_folder(
    store: Store, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    series(store, "lot")
    store.periods.add("lot", LONG_AGO, None, "note")
    written = exported(store, tmp_path)
    damage(written.path)
    with pytest.raises(InvalidInputError, match=said):
        store.import_averages(written.path)


def test_rows_that_are_not_those_of_the_other_server_are_refused(
    store: Store, second: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a fault of memory or of a driver between file and server would change them."""
    series(store, "lot")
    written = exported(store, tmp_path)
    unchanged = importing._csv
    monkeypatch.setattr(importing, "_csv", lambda part: unchanged(part).replace(b",8,", b",7,", 1))
    with pytest.raises(InvalidInputError, match=r"'lot'.*are not those that were exported.*checksum"):
        second.import_averages(written.path)
    assert quarters(second) == 0


def test_an_export_takes_what_is_asked_for_and_leaves_no_half_of_a_folder(store: Store, tmp_path: Path) -> None:
    series(store, "lot")
    series(store, "another")
    camera = store.cameras.get("lot")
    store.record([OccupancyEvent(camera.id, END - timedelta(days=1), 3), OccupancyEvent(camera.id, MIDNIGHT, 3)])
    written = store.export_averages(tmp_path / "one", of=["lot"], start=LONG_AGO, end=LONG_AGO + timedelta(hours=1))
    assert (written.cameras, written.quarters) == (1, 4 + 1)
    everything, finalized = exported(store, tmp_path), store.export_averages(tmp_path / "final", finalized=True)
    assert everything.quarters == finalized.quarters + 1 == 2 * (27 + 2) + 1
    with pytest.raises(InvalidInputError, match="is there already"):
        exported(store, tmp_path)
    with pytest.raises(UnknownCameraError):
        store.export_averages(tmp_path / "none", of=["nobody"])
    with pytest.raises(InvalidInputError, match="as events"):
        store.export_averages(tmp_path / "none", start=MIDNIGHT - timedelta(hours=1))
    assert {path.name for path in tmp_path.iterdir()} == {"one", "averages", "final"}


def test_the_owner_imports_and_exports_a_control_role_exports_and_no_other_role_does(
    store: Store, make_role: MakeRole, tmp_path: Path
) -> None:
    series(store, "lot")
    roles = {kind: make_role(store.url, kind) for kind in ("owner", "ingest", "reader", "worker", "control")}
    grant(
        store.url, owner=roles["owner"], ingest=[roles["ingest"]], readers=[roles["reader"]], workers=[roles["worker"]],
        control=[roles["control"]],
    )  # fmt: skip
    for kind, role in roles.items():
        with opened(as_role(store.url, role)) as theirs:
            if kind in ("owner", "control"):
                theirs.export_averages(tmp_path / kind)
            else:
                with pytest.raises(NotAllowedError):
                    theirs.export_averages(tmp_path / kind)
            if kind != "owner":
                with pytest.raises(NotAllowedError, match="by the owner"):
                    theirs.import_averages(tmp_path / "owner")
            else:
                assert theirs.import_averages(tmp_path / "owner").duplicates > 0


def test_the_command_line_says_what_became_of_it(store: Store, second: Store, tmp_path: Path) -> None:
    series(store, "lot")
    store.periods.add("lot", LONG_AGO, None, "note")
    second.cameras.add("Lot 7")
    folder = str(tmp_path / "averages")

    def run(url: str, *words: str) -> Result:
        return CliRunner(env={"TIMESERIES_DATABASE_URL": url}).invoke(main, ["averages", *words])

    wrote = run(store.url, "export", folder, "--camera", "lot")
    assert wrote.output.startswith("Wrote 29 quarters of an hour of 1 cameras, before 20")
    assert "with 0 groups and 1 periods to" in wrote.output
    wrong = run(second.url, "import", folder, "--map", "lot")
    assert (wrong.exit_code, wrong.output) == (
        1, "Error: --map 'lot': it must be EXPORTED=HERE, two cameras by name or id\n"
    )  # fmt: skip
    taken = run(second.url, "import", folder, "--map", "lot=Lot 7", "--json")
    assert json.loads(taken.output) | {"until": None} == {
        "cameras": 0, "groups": 0, "memberships": 0, "periods": 1, "imported": 29, "duplicates": 0, "skipped": 0,
        "until": None,
    }  # fmt: skip
    again = run(second.url, "import", folder, "--map", "lot=Lot 7", "--on-conflict", "skip")
    assert "Imported 0 quarters of an hour; 29 were here already, 0 were skipped." in again.output
    assert "Added 0 cameras, 0 groups, 0 memberships, 0 periods." in again.output


async def _moved(one: str, other: str, folder: Path) -> tuple[int, int]:
    async with await AsyncStore.open(one) as store, await AsyncStore.open(other) as to:
        written = await store.export_averages(folder)
        return written.quarters, (await to.import_averages(folder)).imported


def test_averages_move_in_asyncio_too(store: Store, second: Store, tmp_path: Path) -> None:
    series(store, "lot")
    assert asyncio.run(_moved(store.url, second.url, tmp_path / "averages")) == (29, 29)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_late_events_and_refreshes_go_on_beside_an_import(store: Store, second: Store, tmp_path: Path) -> None:
    fill(store)
    wanted = answers(store.url, START, END)
    written = exported(store, tmp_path)
    camera, done = second.cameras.add("beside"), threading.Event()

    def record(number: int) -> int:
        count = 0
        while not done.is_set():
            at = END - timedelta(days=1 + count % 80, minutes=number)
            count += second.record([OccupancyEvent(camera.id, at + timedelta(seconds=count), 5)]).inserted
        return count

    def refresh() -> None:
        while not done.is_set():
            second.refresh(END - timedelta(days=20), END)

    with ThreadPoolExecutor() as pool:
        counts = [pool.submit(record, number) for number in (1, 20)]
        refreshing = pool.submit(refresh)
        try:
            assert second.import_averages(written.path).imported == written.quarters
        finally:
            done.set()
        refreshing.result()
    second.refresh()
    with psycopg.connect(second.url) as connection:
        days = connection.execute(
            "SELECT sum(samples) FROM occupancy_weekday WHERE camera_id = %s", [camera.id]
        ).fetchone()
    assert days == (sum(count.result() for count in counts),)
    found = answers(second.url, START, END)
    assert same({name: [row for row in rows if row[0] != camera.id] for name, rows in found.items()}, wanted)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_store_in_which_nothing_is_recorded_takes_what_is_newer_than_its_watermarks(
    store: Store, second: Store, tmp_path: Path
) -> None:
    move_watermarks_back(second)
    fill(store)
    wanted = answers(store.url, START, END)
    second.import_averages(exported(store, tmp_path).path)
    assert same(answers(second.url, START, END), wanted)
    with psycopg.connect(second.url) as connection:
        found = connection.execute("SELECT min(watermark) FROM timeseries.materializations").fetchone()
        assert found is not None
        assert found[0] > END
    assert len(second.cameras.history()) == len(second.cameras.list()) == 2


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_what_moves_the_watermarks_is_seen_by_nobody(
    store: Store, second: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_watermarks_back(second)
    series(store, "lot")
    seen: list[object] = []

    def look(*arguments: Any) -> None:
        refresh(*arguments)
        seen.extend([[*second.cameras.ids()], [camera.name for camera in second.cameras.list()]])
        seen.extend([[change.kind for change in second.cameras.history()], named(analytics.latest(url=second.url))])
        with Watcher(second.cameras.watch()) as late:
            late.wait_until_begun()
        seen.append(names(late))

    def named(frame: Any) -> list[str]:
        return [*frame["camera"]]

    def names(watcher: Watcher) -> list[str]:
        return [change.new.name for change in watcher.seen if change.new]

    monkeypatch.setattr(watermarks, "refresh", look)
    with Watcher(second.cameras.watch()) as watcher:
        watcher.wait_until_begun()
        second.import_averages(exported(store, tmp_path).path)
        second.cameras.add("last")
        watcher.wait_for(versions(second.url))
    arrow_client.close(second.url)
    assert seen == [["lot"], ["lot"], ["added"], ["lot"], ["lot"]]
    assert names(watcher) == ["lot", "last"]


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_what_a_killed_import_left_behind_is_removed_by_the_next(
    store: Store, second: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_watermarks_back(second)
    series(store, "lot")
    written = exported(store, tmp_path)

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(watermarks, "_remove_seed", killed)
        with pytest.raises(KeyboardInterrupt):
            second.import_averages(written.path)
    second.import_averages(written.path)
    with psycopg.connect(second.url) as connection:
        assert connection.execute("SELECT name FROM cameras").fetchall() == [("lot",)]


def move_watermarks_back(store: Store) -> None:
    """As of a store that was made weeks before the import."""
    old = MIDNIGHT - timedelta(days=40)
    with psycopg.connect(store.url, autocommit=True) as connection:
        for (relation,) in connection.execute(
            "SELECT view_name FROM timescaledb_information.continuous_aggregates"
        ).fetchall():
            connection.execute(f"DELETE FROM {relation_of(store, relation)}")
        connection.execute(
            "UPDATE _timescaledb_catalog.continuous_aggs_watermark"
            " SET watermark = _timescaledb_functions.to_unix_microseconds(%s)", [old]
        )  # fmt: skip


def relation_of(store: Store, name: str) -> str:
    with psycopg.connect(store.url) as connection:
        found = connection.execute("SELECT relation::text FROM timeseries.materializations WHERE name = %s", [name])
        return str(found.fetchall()[0][0])
