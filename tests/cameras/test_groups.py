"""Groups: their names, members, and the spans of time in which a camera is one."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.command_line import run
from tests.support.roles import MakeRole, control, ingest, make_role, reader, worker
from timeseries import (
    AsyncStore,
    CameraExistsError,
    GroupExistsError,
    InvalidInputError,
    Membership,
    NaiveTimestampError,
    NotAllowedError,
    Store,
    UnknownCameraError,
    UnknownGroupError,
    migrate,
)
from timeseries.access.roles import find_deviations, grant
from timeseries.settings import Settings

__all__ = ["control", "ingest", "make_role", "reader", "worker"]

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_a_group_is_found_by_id_and_name_listed_changed_and_removed(store: Store) -> None:
    gates = [store.cameras.add(name, timezone="Europe/Berlin") for name in ("East Gate", "West Gate")]
    lot = store.groups.add("North Lot", ["East Gate", gates[1]])
    assert lot.members == tuple(Membership(gate.name, gate.id, None, None) for gate in gates)
    assert (lot.timezone, lot.zone) == (None, "Europe/Berlin")
    assert store.groups.get("North Lot") == store.groups.get(lot) == store.groups.get(str(lot.id).upper()) == lot
    changed = store.groups.update(lot, name="South Lot", timezone="Europe/Paris")
    assert (changed.id, changed.name, changed.zone) == (lot.id, "South Lot", "Europe/Paris")
    assert store.groups.list() == [changed]
    store.groups.remove("South Lot")
    assert store.groups.list() == []
    assert len(store.cameras.list()) == 2


def test_a_group_that_is_not_there_is_named_with_those_near(store: Store) -> None:
    store.groups.add("North Lot")
    for ask in (store.groups.get, store.groups.remove):
        with pytest.raises(UnknownGroupError, match="did you mean 'North Lot'"):
            ask("Nort Lot")
    with pytest.raises(UnknownCameraError):
        store.groups.join("North Lot", "West Gate")


def test_cameras_and_groups_have_different_names(store: Store) -> None:
    store.cameras.add("West Gate")
    store.groups.add("North Lot")
    with pytest.raises(GroupExistsError, match="a camera has the name 'West Gate'"):
        store.groups.add("West Gate")
    with pytest.raises(GroupExistsError, match="a camera has the name 'West Gate'"):
        store.groups.update("North Lot", name="West Gate")
    with pytest.raises(CameraExistsError, match="a group has the name 'North Lot'"):
        store.cameras.add("North Lot")
    with pytest.raises(CameraExistsError, match="a group has the name 'North Lot'"):
        store.cameras.update("West Gate", name="North Lot")
    with pytest.raises(GroupExistsError, match="another group"):
        store.groups.add("North Lot")
    store.cameras.update("West Gate", name="gate")
    store.groups.update("North Lot", name="West Gate")
    store.groups.remove("West Gate")
    store.cameras.update("gate", name="West Gate")


def test_two_transactions_cannot_give_one_name_to_a_camera_and_a_group(store: Store) -> None:
    with psycopg.connect(store.url) as first, psycopg.connect(store.url) as second:
        first.execute("INSERT INTO cameras (name) VALUES ('lot')")
        second.execute("SET lock_timeout = '200ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            second.execute("INSERT INTO camera_groups (name) VALUES ('lot')")


def test_a_camera_joins_and_leaves_and_comes_back(store: Store) -> None:
    gate = store.cameras.add("West Gate", timezone="America/New_York")
    store.groups.add("North Lot")
    store.groups.join("North Lot", gate, until=NOON)
    store.groups.join("North Lot", gate, since=date(2026, 4, 1))
    back = datetime(2026, 4, 1, 4, tzinfo=UTC)  # midnight in New York
    lot = store.groups.leave("North Lot", gate, at="2026-05-01")
    assert [(m.since, m.until) for m in lot.members] == [
        (None, NOON), (back, datetime(2026, 5, 1, 4, tzinfo=UTC)),
    ]  # fmt: skip
    moments = (NOON - timedelta(seconds=1), NOON, back)
    assert [lot.members_at(moment) for moment in moments] == [("West Gate",), (), ("West Gate",)]
    assert len(store.groups.leave("North Lot", gate, at=back).members) == 1
    with pytest.raises(InvalidInputError, match=r"is no member .* it is one from always to 2026-03-02T12:00:00\+00:00"):
        store.groups.leave("North Lot", gate, at=NOON)
    assert store.groups.leave("North Lot", gate, wholly=True).members == ()
    with pytest.raises(InvalidInputError, match="it never is one"):
        store.groups.leave("North Lot", gate)


def test_a_camera_leaves_at_the_quarter_that_has_begun(store: Store) -> None:
    store.cameras.add("West Gate")
    store.groups.add("North Lot", ["West Gate"])
    before = datetime.now(UTC) - timedelta(minutes=15)
    (member,) = store.groups.leave("North Lot", "West Gate").members
    assert member.until is not None
    assert before < member.until <= datetime.now(UTC)
    assert member.until.timestamp() % 900 == 0


def test_spans_of_one_camera_in_one_group_do_not_overlap(store: Store) -> None:
    store.cameras.add("West Gate")
    for name in ("North Lot", "South Lot"):
        store.groups.add(name)
        store.groups.join(name, "West Gate", since=NOON, until=NOON + timedelta(days=1))
    with pytest.raises(InvalidInputError, match=r"member of group 'North Lot' already .* it is one from 2026-03-02T12"):
        store.groups.join("North Lot", "West Gate", since=NOON + timedelta(hours=23, minutes=45))
    with pytest.raises(InvalidInputError, match="already"):
        store.groups.join("North Lot", "West Gate")
    store.groups.join("North Lot", "West Gate", since=NOON + timedelta(days=1))
    assert len(store.groups.get("North Lot").members) == 2


@pytest.mark.parametrize("moment", [NOON + timedelta(minutes=7), "2026-03-02T12:07:00Z"])
def test_a_moment_off_a_quarter_of_an_hour_is_refused_with_the_nearest(store: Store, moment: datetime | str) -> None:
    store.cameras.add("West Gate")
    store.groups.add("North Lot", ["West Gate"])
    with pytest.raises(InvalidInputError, match=r"12:07.* nearest are 2026-03-02T12:00:00\+00:00 and 2026-03-02T12:15"):
        store.groups.leave("North Lot", "West Gate", at=moment)
    with pytest.raises(NaiveTimestampError, match="naive"):
        store.groups.leave("North Lot", "West Gate", at=NOON.replace(tzinfo=None))
    with pytest.raises(InvalidInputError, match="swap"):
        store.groups.join("North Lot", "West Gate", since=NOON, until=NOON)
    for since in ("2026-03-02T12:07:00Z", "infinity"):
        with (
            psycopg.connect(store.url) as connection,
            pytest.raises(psycopg.errors.CheckViolation, match="since_a_quarter"),
        ):
            connection.execute("UPDATE group_members SET since = %s", [since])


def test_members_of_several_zones_need_a_zone_of_the_group(store: Store) -> None:
    for name, zone in (("one", "Europe/Berlin"), ("other", "Asia/Kathmandu")):
        store.cameras.add(name, timezone=zone)
    with pytest.raises(InvalidInputError, match="several time zones"):
        store.groups.add("both", ["one", "other"])
    assert store.groups.list() == []
    store.groups.add("both", ["one"])
    with pytest.raises(InvalidInputError, match="several time zones"):
        store.groups.join("both", "other")
    store.groups.update("both", timezone="UTC")
    assert store.groups.join("both", "other").zone == "UTC"
    with pytest.raises(InvalidInputError, match="did you mean Europe/Berlin"):
        store.groups.update("both", timezone="Europe/Berln")


def test_a_camera_without_history_leaves_its_groups_when_it_is_removed(store: Store) -> None:
    store.cameras.add("West Gate")
    store.groups.add("North Lot", ["West Gate"])
    store.cameras.remove("West Gate")
    assert store.groups.get("North Lot").members == ()


def test_a_control_plane_keeps_groups_and_others_look_at_them(
    store: Store, control: str, reader: str, worker: str, ingest: str
) -> None:
    with Store.open(control, settings=Settings()) as narrow:
        narrow.cameras.add("West Gate")
        narrow.cameras.add("East Gate")
        narrow.groups.add("North", ["West Gate"])
        narrow.groups.update("North", name="North Lot")
        narrow.groups.join("North Lot", "East Gate", since=NOON)
        lot = narrow.groups.leave("North Lot", "West Gate", at=NOON)
        narrow.groups.remove(narrow.groups.add("mistake"))
        assert narrow.role_deviations() == []
    for url in (reader, worker):
        with Store.open(url, settings=Settings()) as narrow:
            assert narrow.groups.list() == [lot]
            for change in (lambda s: s.groups.add("other"), lambda s: s.groups.remove("North Lot")):
                with pytest.raises(NotAllowedError):
                    change(narrow)
    with Store.open(ingest, settings=Settings()) as narrow, pytest.raises(NotAllowedError):
        narrow.groups.list()


def test_an_owner_who_is_no_superuser_has_the_groups(store: Store, make_role: MakeRole) -> None:
    owner = make_role(store.url, "owner")
    grant(store.url, owner=owner)
    with psycopg.connect(store.url) as connection:
        connection.execute(f'SET ROLE "{owner}"')
        connection.execute("INSERT INTO camera_groups (name) VALUES ('lot')")
        connection.execute("INSERT INTO cameras (name) VALUES ('gate')")
        connection.execute("DROP TABLE group_members, camera_groups")
        assert find_deviations(connection) is not None
        connection.rollback()


def test_the_way_down_does_not_remove_groups_unasked(store: Store) -> None:
    store.groups.add("North Lot", [store.cameras.add("West Gate")])
    with pytest.raises(InvalidInputError, match="1 rows of camera_groups, 1 rows of group_members"):
        migrate(store.url, "0003")
    assert migrate(store.url, "0003", discard_data=True) == "0003"
    assert migrate(store.url) == "0004"
    assert [camera.name for camera in store.cameras.list()] == ["West Gate"]
    with pytest.raises(GroupExistsError, match="a camera"):
        store.groups.add("West Gate")


def test_groups_come_from_a_file_once(store: Store, tmp_path: Path) -> None:
    events, cameras, groups = (tmp_path / name for name in ("events.csv", "cameras.csv", "groups.csv"))
    events.write_text("camera,timestamp,occupied_count\nEast Gate,2026-03-02T11:00:00Z,4\n")
    cameras.write_text("camera,timezone\nEast Gate,Europe/Berlin\nWest Gate,Europe/Berlin\n")
    groups.write_text(
        "group,camera,since,until,timezone\nNorth Lot,East Gate,,,Europe/Paris\n"
        "North Lot,West Gate,2026-03-02T12:00:00Z,2026-04-01,\nGates,West Gate,,,\n"
    )
    for made in (3, 0):
        result = store.import_file(events, cameras, groups)
        assert (result.members, result.rejected) == (made, 0)
    gates, lot = store.groups.list()
    assert (gates.zone, lot.timezone) == ("Europe/Berlin", "Europe/Paris")
    west = next(m for m in lot.members if m.camera == "West Gate")
    assert (west.since, west.until) == (NOON, datetime(2026, 3, 31, 22, tzinfo=UTC))
    groups.write_text("group,camera,since\nNorth Lot,East Gate,2026-03-02T12:05:00Z\n")
    with pytest.raises(InvalidInputError, match=r"groups.csv, row 1: since .* quarter of an hour"):
        store.import_file(events, groups=groups)


def test_exported_groups_can_be_imported(store: Store, tmp_path: Path) -> None:
    for name in ("East Gate", "West Gate"):
        store.cameras.add(name)
    store.groups.add("North Lot", ["East Gate"], timezone="Europe/Berlin")
    lot = store.groups.join("North Lot", "West Gate", since=NOON, until=NOON + timedelta(days=1))
    assert store.export("groups", tmp_path / "groups.csv").rows == 2
    store.groups.remove("North Lot")
    (tmp_path / "events.csv").write_text("camera,timestamp,occupied_count\n")
    assert store.import_file(tmp_path / "events.csv", groups=tmp_path / "groups.csv").members == 2
    again = store.groups.get("North Lot")
    assert (again.timezone, again.members) == (lot.timezone, lot.members)


def test_the_command_line_keeps_groups(store: Store) -> None:
    for name in ("East Gate", "West Gate"):
        store.cameras.add(name)

    def said(*words: str) -> str:
        done = run(store.url, "group", *words)
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "East Gate" in said("add", "North", "East Gate", "--timezone", "Europe/Berlin")
    said("update", "North", "--name", "North Lot")
    said("join", "North Lot", "West Gate", "--since", "2026-03-02T12:00Z")
    assert "2026-04-01" in said("leave", "North Lot", "West Gate", "--at", "2026-04-01T00:00Z")
    assert '"zone": "Europe/Berlin"' in said("list", "--json")
    assert said("remove", "North Lot") == "Removed North Lot.\n"


async def _kept(url: str) -> tuple[str, ...]:
    async with await AsyncStore.open(url, settings=Settings()) as store:
        await store.cameras.add("West Gate")
        await store.groups.add("North Lot")
        await store.groups.join("North Lot", "West Gate")
        return (await store.groups.get("North Lot")).members_at(NOON)


def test_groups_are_kept_by_asyncio(database: str) -> None:
    assert asyncio.run(_kept(database)) == ("West Gate",)
