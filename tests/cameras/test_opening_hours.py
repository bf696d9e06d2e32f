"""Opening hours of cameras and groups: what they may be, who sees them, and every way in and out."""

from __future__ import annotations

import asyncio
import json
from datetime import time
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from psycopg.types.json import Jsonb

import analytics.aio
from tests.support.command_line import run
from tests.support.keys import SECRET_KEY
from tests.support.roles import MakeRole, control, ingest, make_role, reader, worker
from tests.support.servers import RunningServer
from tests.support.sqlite_databases import database as sqlite_database
from timeseries import AsyncStore, InvalidInputError, NotAllowedError, Store
from timeseries.settings import Settings

__all__ = ["MakeRole", "control", "ingest", "make_role", "reader", "worker"]

SHOP = {"monday": ["07:00", "20:00"], "friday": ["07:00", "01:30"], "saturday": ["08:15", "24:00"]}


def test_a_camera_and_a_group_have_opening_hours_and_lose_them_again(store: Store) -> None:
    given: dict[str, Any] = {
        "saturday": (time(8, 15), "24:00"),
        "friday": ("07:00", "01:30:00"),
        "monday": ["07", "20"],
    }
    camera = store.cameras.add("East Gate", opening_hours=given)
    group = store.groups.add("North Lot", ["East Gate"], opening_hours=given)
    assert camera.opening_hours == store.cameras.get(camera).opening_hours == SHOP
    assert list(camera.opening_hours or ()) == ["friday", "monday", "saturday"]  # as jsonb orders them
    assert group.opening_hours == store.groups.get(group).opening_hours == SHOP
    assert hash(group) == hash(store.groups.get(group))
    for kept in (store.cameras, store.groups):
        changed = kept.update("East Gate" if kept is store.cameras else "North Lot", opening_hours=None)
        assert changed.opening_hours is None
        assert kept.get(changed.name).opening_hours is None
    with psycopg.connect(store.url) as connection:  # SQL's NULL, and not that of JSON
        query = "SELECT c.opening_hours IS NULL AND g.opening_hours IS NULL FROM cameras AS c, camera_groups AS g"
        assert connection.execute(query).fetchone() == (True,)


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        ({}, r"opening hours \{\}: give from and to of each weekday, .* or None where it always is open"),
        ([], "give from and to of each weekday"),
        ("monday", "opening hours 'monday': give"),
        ({"mon": ["07:00", "20:00"]}, "'mon'.*monday to sunday"),
        ({"monday": None}, "opening hours of monday None are not a pair of from and to"),
        ({"monday": "07:00-20:00"}, "opening hours of monday '07:00-20:00' are not a pair"),
        ({"monday": ["07:00", "20:10"]}, "time of day '20:10' is local, .* on a quarter of an hour"),
        ({"monday": ["07:00", "25:00"]}, "time of day '25:00' is not like 07:30"),
        ({"monday": ["07:00", 20]}, "time of day 20 is not like 07:30"),
        ({"monday": ["07:00", "07:00"]}, r'begin when they end; give \("00:00", "24:00"\) where it is open all day'),
    ],
)
def test_hours_that_no_lot_can_have_are_refused_with_the_remedy(store: Store, hours: Any, message: str) -> None:
    store.groups.add("lot")
    for attempt in (
        lambda: store.cameras.add("gate", opening_hours=hours),
        lambda: store.groups.add("other", opening_hours=hours),
        lambda: store.groups.update("lot", opening_hours=hours),
    ):
        with pytest.raises(InvalidInputError, match=message):
            attempt()
    assert store.cameras.list() == []
    assert [group.name for group in store.groups.list()] == ["lot"]


@pytest.mark.parametrize(
    "hours",
    [
        None, {}, [], "monday", 7, {"mon": ["07:00", "20:00"]}, {"monday": None}, {"monday": ["07:00"]},
        {"monday": ["07:00", "20:10"]}, {"monday": ["7:00", "20:00"]}, {"monday": ["24:00", "20:00"]},
        {"monday": ["07:00", "24:15"]}, {"monday": ["07:00", "07:00"]}, {"monday": ["07:00", "20:00", "21:00"]},
        {"monday": ["07:00", "20:00"], "sunday": []}, {"monday": ["07:00", "20:00"], "holiday": ["07:00", "20:00"]},
    ],
)  # fmt: skip
def test_the_database_refuses_what_it_cannot_mean(store: Store, hours: Any) -> None:
    store.cameras.add("gate")
    store.groups.add("lot")
    with psycopg.connect(store.url, autocommit=True) as connection:
        for table in ("cameras", "camera_groups"):
            connection.execute(f"UPDATE {table} SET opening_hours = %s", [Jsonb(SHOP)])
            with pytest.raises(psycopg.errors.CheckViolation, match="opening_hours_by_weekday"):
                connection.execute(f"UPDATE {table} SET opening_hours = %s", [Jsonb(hours)])


def test_a_change_of_opening_hours_is_kept_and_told(store: Store) -> None:
    camera = store.cameras.add("East Gate", opening_hours={"sunday": ("09:00", "12:00")}, by="ada")
    with store.cameras.watch() as watch:
        present = next(watch).new
        assert present is not None
        assert present.opening_hours == {"sunday": ["09:00", "12:00"]}
        changed = store.cameras.update(camera, opening_hours=SHOP, by="bob")
        told = next(watch)
    assert (changed.revision, told.changed, told.changed_by) == (2, ("opening_hours",), "bob")
    assert [change.new and change.new.opening_hours for change in store.cameras.history("East Gate")] == [
        {"sunday": ["09:00", "12:00"]}, SHOP,
    ]  # fmt: skip
    assert told.old is not None
    assert told.old.opening_hours == camera.opening_hours
    assert told.new is not None
    assert told.new.opening_hours == SHOP
    assert store.cameras.update(camera, opening_hours=dict(reversed(SHOP.items()))).revision == 2


def test_control_keeps_opening_hours_and_readers_see_and_use_them(
    store: Store, control: str, reader: str, worker: str, ingest: str
) -> None:
    with Store.open(control, settings=Settings()) as narrow:
        narrow.cameras.add("East Gate", opening_hours=SHOP)
        narrow.cameras.update("East Gate", opening_hours=SHOP | {"sunday": ["09:00", "12:00"]})
        narrow.groups.add("North Lot", ["East Gate"], opening_hours=SHOP)
        assert narrow.role_deviations() == []
    for url in (reader, worker):
        with Store.open(url, settings=Settings()) as narrow:
            assert narrow.cameras.get("East Gate").opening_hours == SHOP | {"sunday": ["09:00", "12:00"]}
            assert narrow.groups.get("North Lot").opening_hours == SHOP
            with pytest.raises(NotAllowedError):
                narrow.cameras.update("East Gate", opening_hours=None)
    asked = analytics.daily_averages(["East Gate", "North Lot"], hours="opening", url=reader)
    assert asked.attrs["calendar"]["hours"] == "opening"
    with Store.open(ingest, settings=Settings()) as narrow:
        assert "opening_hours" in narrow.cameras.get("East Gate").hidden


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_exported_cameras_and_groups_have_their_opening_hours_where_they_are_imported(
    store: Store, server: RunningServer, tmp_path: Path, suffix: str
) -> None:
    store.cameras.add("East Gate", opening_hours=SHOP)
    store.cameras.add("West Gate")
    store.groups.add("North Lot", ["East Gate"], opening_hours=SHOP)
    store.groups.add("South Lot", ["West Gate"])
    paths = {name: tmp_path / f"{name}{suffix}" for name in ("cameras", "groups", "health_logs")}
    for name, path in paths.items():
        store.export(name, path)
    with Store.open(server.copy(), settings=Settings(secret_key=SECRET_KEY)) as copy:
        copy.import_file(paths["health_logs"], paths["cameras"], paths["groups"])
        assert [camera.opening_hours for camera in copy.cameras.list()] == [SHOP, None]
        assert [group.opening_hours for group in copy.groups.list()] == [SHOP, None]


def test_averages_and_the_archive_take_opening_hours_along(store: Store, server: RunningServer, tmp_path: Path) -> None:
    store.cameras.add("East Gate", opening_hours=SHOP)
    store.cameras.add("West Gate")
    store.groups.add("North Lot", ["East Gate"], opening_hours=SHOP)
    store.export_averages(tmp_path / "averages")
    with Store.open(server.copy(), settings=Settings(secret_key=SECRET_KEY)) as copy:
        copy.import_averages(tmp_path / "averages")
        assert [camera.opening_hours for camera in copy.cameras.list()] == [SHOP, None]
        assert copy.groups.get("North Lot").opening_hours == SHOP
    store.archive(str(tmp_path / "archive"))
    found = pq.read_table(tmp_path / "archive/cameras/cameras.parquet")
    assert sorted(
        [hours and json.loads(hours) for hours in found["opening_hours"].to_pylist()], key=lambda hours: hours is None
    ) == [SHOP, None]


def test_a_sqlite_database_may_have_opening_hours(store: Store, tmp_path: Path) -> None:
    layout = """
        CREATE TABLE cameras (id TEXT, name TEXT, opening_hours TEXT);
        CREATE TABLE occupancy_events (camera_id TEXT, timestamp TEXT, occupied_count INTEGER);
    """
    ids = ["0b0e8a2c-6d57-4f5b-9d2c-000000000001", "0b0e8a2c-6d57-4f5b-9d2c-000000000002"]
    rows: list[dict[str, Any]] = [
        {"id": ids[0], "name": "East Gate", "opening_hours": json.dumps(SHOP)},
        {"id": ids[1], "name": "West Gate"},
    ]
    store.import_file(sqlite_database(tmp_path / "old.sqlite", layout, cameras=rows))
    assert [camera.opening_hours for camera in store.cameras.list()] == [SHOP, None]
    rows[1] |= {"opening_hours": '{"sunday": ["7", "8"]}', "id": ids[0].replace("1", "9"), "name": "broken"}
    with pytest.raises(InvalidInputError, match="time of day '7'"):
        store.import_file(sqlite_database(tmp_path / "other.sqlite", layout, cameras=rows))


def test_the_command_line_sets_and_removes_them(store: Store) -> None:
    text = json.dumps(SHOP)
    assert run(store.url, "camera", "add", "East Gate", "--opening-hours", text).exit_code == 0
    assert run(store.url, "group", "add", "North Lot", "East Gate", "--opening-hours", text).exit_code == 0
    assert store.cameras.get("East Gate").opening_hours == store.groups.get("North Lot").opening_hours == SHOP
    for kind, name in (("camera", "East Gate"), ("group", "North Lot")):
        assert json.loads(run(store.url, kind, "list", "--json").output)[0]["opening_hours"] == SHOP
        assert run(store.url, kind, "update", name, "--opening-hours", "null").exit_code == 0
        refused = run(store.url, kind, "update", name, "--opening-hours", '{"monday": ["07:00", "07:05"]}')
        assert refused.exit_code == 1
        assert "quarter of an hour" in refused.output
    assert store.cameras.get("East Gate").opening_hours is store.groups.get("North Lot").opening_hours is None
    assert run(store.url, "group", "update", "North Lot", "--members-timezone").exit_code == 0
    assert run(store.url, "weekday", "East Gate", "--hours", "opening", "--json").exit_code == 0


def test_asyncio_has_the_same(store: Store) -> None:
    async def work() -> None:
        async with await AsyncStore.open(store.url) as asynchronous:
            camera = await asynchronous.cameras.add("East Gate", opening_hours=SHOP)
            group = await asynchronous.groups.add("North Lot", [camera], opening_hours=SHOP)
            assert camera.opening_hours == group.opening_hours == SHOP
            found = await analytics.aio.daily_averages("North Lot", hours="opening", url=store.url)
            assert found.attrs["calendar"]["hours"] == "opening"

    asyncio.run(work())
