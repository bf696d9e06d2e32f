"""Groups and periods from one store into another, with the averages of their cameras."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analytics
from analytics import arrow_client
from tests.support.faults import opened
from tests.support.histories import answers, same
from tests.support.servers import RunningServer
from timeseries import (
    CameraExistsError,
    GroupExistsError,
    HealthLog,
    InvalidInputError,
    OccupancyEvent,
    Store,
)

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START, END = TODAY - timedelta(days=100), TODAY - timedelta(days=97)
JOINED, LEFT = START + timedelta(hours=30), START + timedelta(hours=55)
ASK: dict[str, Any] = {"start": START, "end": END}


@pytest.fixture
def other(other_server: RunningServer) -> Iterator[Store]:
    """An empty store on a server of each kind."""
    with opened(other_server.copy()) as store:
        yield store
    arrow_client.close(store.url)
    other_server.drop()


@pytest.fixture
def second(server: RunningServer) -> Iterator[Store]:
    """An empty store beside `lots`, on the same server."""
    with opened(server.copy()) as store:
        yield store
    server.drop()


@pytest.fixture
def lots(store: Store) -> Iterator[Store]:
    """Two gates of North Lot, one of them for a while, with what does not count; the raw rows are gone."""
    for name, count in (("East Gate", 10), ("West Gate", 30)):
        camera = store.cameras.add(name, timezone="Europe/Berlin", capacity=count * 2, zone_config={"rows": [1, 2]})
        moments = [START + i * timedelta(minutes=30) for i in range(48 * 3)]
        store.record([OccupancyEvent(camera.id, at, count + at.hour) for at in moments])
        store.record([HealthLog(camera.id, at, "degraded") for at in moments[::7]])
    store.cameras.update("West Gate", capacity=80, since=JOINED + timedelta(hours=2))
    store.groups.add("North Lot", ["East Gate"])
    store.groups.join("North Lot", "West Gate", since=JOINED, until=LEFT)
    store.groups.add("Empty Lot", timezone="Asia/Kathmandu")
    store.periods.add("West Gate", JOINED + timedelta(hours=3), JOINED + timedelta(hours=5), "wrong", "by a van")
    store.periods.add("East Gate", START + timedelta(hours=3), START + timedelta(hours=8), "closed")
    store.periods.add("East Gate", END - timedelta(hours=3), None, "maintenance", "öl")
    store.prune()
    yield store
    arrow_client.close(store.url)


def told(store: Store) -> tuple[Any, ...]:
    """What is configured of cameras, groups and periods but for what is of one database alone."""
    own = {"revision", "changed_at", "changed_by"}
    with psycopg.connect(store.url) as connection:
        cameras = connection.execute("SELECT to_jsonb(c) FROM public.cameras AS c ORDER BY c.id").fetchall()
    periods = sorted((p.camera_id, p.start_at, str(p.end_at), p.kind, p.text) for p in store.periods.list())
    return [{name: row[name] for name in row.keys() - own} for (row,) in cameras], store.groups.list(), periods


def groups_answers(store: Store) -> dict[str, Any]:
    """Rows and attributes of answers about the groups and of one camera."""
    found: dict[str, Any] = {}
    questions: tuple[Any, ...] = (analytics.hourly_averages, analytics.daily_averages, analytics.weekday_averages)
    for question in questions:
        for of in ("North Lot", "West Gate"):
            frame = question(of, **ASK, url=store.url)
            found[f"{question.__name__} of {of}"] = [*frame.reset_index().itertuples(index=False)]
            found[f"attributes of {question.__name__} of {of}"] = [tuple(frame.attrs.items())]
    return found


def test_groups_and_periods_arrive_in_a_store_of_any_kind_and_answer_the_same(
    lots: Store, other: Store, tmp_path: Path
) -> None:
    written = lots.export_averages(tmp_path / "averages")
    assert (written.cameras, written.groups, written.periods) == (2, 2, 3)
    taken = other.import_averages(written.path)
    assert (taken.cameras, taken.groups, taken.memberships, taken.periods) == (2, 2, 2, 3)
    assert told(other) == told(lots)
    assert same(answers(other.url, START, END), answers(lots.url, START, END))
    assert str(groups_answers(other)) == str(groups_answers(lots))
    left_out = analytics.daily_averages("West Gate", **ASK, url=other.url).attrs["left_out"]
    assert [period["text"] for period in left_out] == ["by a van"]

    again = other.import_averages(written.path)
    assert (again.cameras, again.groups, again.memberships, again.periods, again.imported) == (0, 0, 0, 0, 0)
    assert told(other) == told(lots)


def test_a_group_goes_with_all_its_members_or_stays(lots: Store, second: Store, tmp_path: Path) -> None:
    lots.groups.add("Gate of the East", ["East Gate"])
    written = lots.export_averages(tmp_path / "averages", of=["East Gate"])
    assert (written.groups, written.periods) == (1, 2)
    second.import_averages(written.path)
    assert [(group.name, len(group.members)) for group in second.groups.list()] == [("Gate of the East", 1)]


def test_two_stores_with_one_group_become_one(lots: Store, second: Store, tmp_path: Path) -> None:
    """The members of both are members, as is what is configured of the group here."""
    second.cameras.add("South Gate", timezone="Europe/Berlin")
    gate = second.cameras.add("Gate", timezone="Europe/Berlin")
    second.groups.add("The Lot", ["South Gate"], id=lots.groups.get("North Lot").id, timezone="Europe/Paris")
    second.periods.add("Gate", START, END, "note")
    taken = second.import_averages(lots.export_averages(tmp_path / "averages").path, mapping={"East Gate": "Gate"})
    assert (taken.cameras, taken.groups, taken.memberships, taken.periods) == (1, 1, 2, 3)
    group = second.groups.get("The Lot")
    assert group.timezone == "Europe/Paris"
    assert [(m.camera, m.since, m.until) for m in group.members] == [
        ("Gate", None, None), ("South Gate", None, None), ("West Gate", JOINED, LEFT)
    ]  # fmt: skip
    assert [period.kind for period in second.periods.list(gate)] == ["note", "closed", "maintenance"]


def test_a_name_of_another_group_or_of_a_camera_is_refused_and_nothing_is_stored(
    lots: Store, second: Store, tmp_path: Path
) -> None:
    written = lots.export_averages(tmp_path / "averages")
    group = second.groups.add("North Lot")
    with pytest.raises(GroupExistsError, match=r"group 'North Lot' cannot be added.*timeseries group update"):
        second.import_averages(written.path)
    second.groups.remove(group)
    camera = second.cameras.add("North Lot")
    with pytest.raises(GroupExistsError, match=r"group 'North Lot' cannot be added.*timeseries camera update"):
        second.import_averages(written.path)
    second.cameras.remove(camera)
    second.groups.add("West Gate")
    with pytest.raises(CameraExistsError, match=r"camera 'West Gate' cannot be added.*timeseries group update"):
        second.import_averages(written.path)
    assert (second.cameras.list(), second.periods.list()) == ([], [])


def test_memberships_and_periods_that_are_others_here_are_refused_or_stay(
    lots: Store, second: Store, tmp_path: Path
) -> None:
    first = lots.export_averages(tmp_path / "first")
    second.import_averages(first.path)
    before = told(second)
    lots.groups.leave("North Lot", "East Gate", at=LEFT)
    with pytest.raises(
        InvalidInputError, match=r"'East Gate' is a member of group 'North Lot' from always to .*--on-conflict"
    ):
        second.import_averages(lots.export_averages(tmp_path / "left").path)
    second.groups.leave("North Lot", "East Gate", at=LEFT)
    (lasting,) = (period for period in lots.periods.list() if period.end_at is None)
    lots.periods.update(lasting, end=END)
    changed = lots.export_averages(tmp_path / "changed")
    with pytest.raises(InvalidInputError, match=r"period \(maintenance\) of camera 'East Gate'.*--on-conflict skip"):
        second.import_averages(changed.path)
    assert second.import_averages(changed.path, on_conflict="skip").periods == 0
    assert told(second)[2] == before[2]


def test_a_further_column_of_cameras_groups_and_periods_travels_by_itself(
    lots: Store, second: Store, tmp_path: Path
) -> None:
    further = (
        "ALTER TABLE public.cameras ADD further jsonb NOT NULL DEFAULT '[]', ADD more daterange, ADD less bigint;"
        "ALTER TABLE public.camera_groups ADD further text; ALTER TABLE timeseries.periods ADD further timestamptz"
    )
    with psycopg.connect(lots.url) as connection:
        connection.execute(further)
        connection.execute(
            """UPDATE public.cameras SET further = '[{"a": 1.50}]', more = '[2026-01-01,)', less = 1::bigint << 40"""
        )
        connection.execute("UPDATE public.camera_groups SET further = name")
        connection.execute("UPDATE timeseries.periods SET further = start_at + interval '1 microsecond'")
    written = lots.export_averages(tmp_path / "averages")
    with pytest.raises(InvalidInputError, match=r"column 'further' of cameras: a newer version exported it"):
        second.import_averages(written.path)
    assert second.cameras.list() == []
    with psycopg.connect(second.url) as connection:
        connection.execute(further)
    second.import_averages(written.path)
    assert told(second) == told(lots)
    for query in ("camera_groups", "timeseries.periods"):
        found = []
        for store in (lots, second):
            with psycopg.connect(store.url) as connection:
                found.append(connection.execute(f"SELECT further FROM {query} ORDER BY 1").fetchall())
        assert found[0] == found[1]


def test_a_folder_of_the_format_before_is_taken(lots: Store, second: Store, tmp_path: Path) -> None:
    """It has no groups and no periods, and calls the id and the hold of cameras otherwise."""
    folder = lots.export_averages(tmp_path / "averages").path
    lots.cameras.update("East Gate", hold=timedelta(minutes=90))
    cameras = pq.read_table(folder / "cameras.parquet")
    holds = [5400.0 if name == "East Gate" else 86400.0 for name in cameras["name"].to_pylist()]
    cameras = cameras.rename_columns({"id": "camera_id"}).drop_columns(["hold"])
    pq.write_table(cameras.append_column("hold_seconds", pa.array(holds)), folder / "cameras.parquet")
    manifest = json.loads((folder / "manifest.json").read_text()) | {"format": 1}
    for name in ("groups.parquet", "group_members.parquet", "periods.parquet"):
        (folder / name).unlink()
        del manifest["files"][name]
    manifest["files"]["cameras.parquet"]["sha256"] = hashlib.sha256(
        (folder / "cameras.parquet").read_bytes()
    ).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    taken = second.import_averages(folder)
    assert (taken.cameras, taken.groups, taken.periods) == (2, 0, 0)
    assert taken.imported > 0
    assert told(second)[0] == told(lots)[0]
