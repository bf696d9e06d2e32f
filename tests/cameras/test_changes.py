"""Revisions of cameras, edits that would overwrite another's, and the history that outlives a camera."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.roles import MakeRole, control, ingest, make_role, reader, worker
from tests.support.urls import parse_url
from timeseries import Camera, CameraChange, CameraChangedError, NotAllowedError, Store, UnknownCameraError
from timeseries.settings import Settings

__all__ = ["MakeRole", "control", "ingest", "make_role", "reader", "worker"]

RTSP = "rtsp://admin:hunter2@10.0.0.7/1"


def told(changes: Iterable[CameraChange]) -> list[tuple[str, int, str | None, tuple[str, ...]]]:
    return [(change.kind, change.revision, change.changed_by, change.changed) for change in changes]


def test_a_change_raises_the_revision_and_says_who_and_when(store: Store, control: str) -> None:
    lot = store.cameras.add("North Lot", by="ada")
    assert (lot.revision, lot.changed_by) == (1, "ada")
    assert abs(lot.changed_at - datetime.now(UTC)) < timedelta(minutes=1)
    with Store.open(control, settings=Settings()) as narrow:
        changed = narrow.cameras.update(lot, capacity=80)
    assert (changed.revision, changed.changed_by) == (2, parse_url(control).username)
    assert changed.changed_at > lot.changed_at
    assert store.cameras.update(lot, capacity=80, by="bob") == store.cameras.get(lot)
    assert store.cameras.get(lot).revision == 2


def test_what_was_edited_meanwhile_is_refused_with_both_versions_and_no_secret(store: Store) -> None:
    lot = store.cameras.add("North Lot", capacity=80, connection_string=RTSP)
    now = store.cameras.update(
        lot, capacity=90, zone_config={"p": [1]}, connection_string=RTSP + "2", by="ada", if_revision=1
    )
    for attempt in (
        lambda: store.cameras.update(lot, capacity=85, if_revision=lot.revision),
        lambda: store.cameras.remove(lot, if_revision=lot.revision),
    ):
        with pytest.raises(CameraChangedError, match=r"capacity \(80 → 90\)") as refused:
            attempt()
        edited, current = refused.value.edited, refused.value.current
        assert isinstance(edited, Camera)
        assert isinstance(current, Camera)
        assert (edited.capacity, edited.revision, current.capacity, current.revision) == (80, 1, 90, 2)
        assert edited.connection_string is current.connection_string is None
        text = f"{refused.value} {refused.value!r} {edited} {current}"
        assert "connection_string" in str(refused.value)
        assert "by ada" in text
        assert "hunter2" not in text
        assert "v1." not in text
    assert store.cameras.get(lot) == now
    store.cameras.remove(lot, if_revision=2)
    with pytest.raises(UnknownCameraError):
        store.cameras.update(lot, capacity=85, if_revision=2)


def test_of_edits_at_once_one_wins_and_each_other_hears_of_it(store: Store) -> None:
    lot = store.cameras.add("North Lot")
    refused = []

    def edit(capacity: int) -> None:
        try:
            store.cameras.update(lot, capacity=capacity, if_revision=1)
        except CameraChangedError as error:
            refused.append(error)

    threads = [threading.Thread(target=edit, args=[10 + i]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert store.cameras.get(lot).revision == 2


def test_the_history_outlives_new_names_and_the_camera_and_tells_no_secret(store: Store) -> None:
    lot = store.cameras.add("North Lot", capacity=80, connection_string=RTSP, by="ada")
    other = store.cameras.add("Other")
    store.cameras.update(lot, name="South Lot", by="bob")
    store.cameras.update(lot, connection_string=RTSP + "2", hold=timedelta(hours=2), by="bob")
    store.cameras.remove(lot, by="eve")
    owner = str(parse_url(store.url).username)
    wanted = [
        ("added", 1, "ada", ()),
        ("changed", 2, "bob", ("name",)),
        ("changed", 3, "bob", ("connection_string", "hold")),
        ("removed", 4, "eve", ()),
    ]
    for name in ("North Lot", "South Lot", lot.id, str(lot.id), lot):
        assert told(store.cameras.history(name)) == wanted
    added, renamed, changed, removed = store.cameras.history(lot)
    assert (added.old, added.new, renamed.old, renamed.new) == (None, renamed.old, added.new, changed.old)
    assert (removed.old, removed.new, removed.role) == (changed.new, None, owner)
    assert changed.old is not None
    assert changed.new is not None
    assert (changed.old.hold, changed.new.hold) == (timedelta(days=1), timedelta(hours=2))
    assert told(store.cameras.history())[1] == ("added", 1, owner, ())
    assert store.cameras.history(other)[0].new == store.cameras.history()[1].new
    with psycopg.connect(store.url) as connection:
        text = str(connection.execute("SELECT v::text FROM timeseries.camera_versions AS v").fetchall())
    assert "v1." not in text
    assert "hunter2" not in text
    with pytest.raises(UnknownCameraError):
        store.cameras.history("Nowhere")


def test_a_camera_that_comes_back_under_its_id_goes_on_counting(store: Store) -> None:
    lot = store.cameras.add("North Lot")
    store.cameras.remove(lot)
    assert store.cameras.add("North Lot", id=lot.id).revision == 3
    assert [change.kind for change in store.cameras.history(lot)] == ["added", "removed", "added"]


def test_nobody_writes_the_revision_or_the_history(store: Store, control: str) -> None:
    lot = store.cameras.add("North Lot")
    with psycopg.connect(store.url) as owner:
        owner.execute("UPDATE public.cameras SET revision = 70, changed_by = 'x', capacity = 3")
    assert store.cameras.get(lot).revision == 2
    with psycopg.connect(control, autocommit=True) as connection:
        for statement in (
            "UPDATE public.cameras SET revision = 70",
            "UPDATE public.cameras SET changed_by = 'x'",
            "INSERT INTO timeseries.camera_versions (kind) VALUES ('added')",
            "DELETE FROM timeseries.camera_versions",
            "TRUNCATE timeseries.camera_versions",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_workers_and_control_planes_read_the_history_and_others_do_not(
    store: Store, ingest: str, reader: str, worker: str, control: str
) -> None:
    store.cameras.add("North Lot")
    for url, refused in ((worker, False), (control, False), (ingest, True), (reader, True)):
        allowed = pytest.raises(NotAllowedError) if refused else contextlib.nullcontext()
        with Store.open(url, settings=Settings()) as narrow, allowed:
            assert len(narrow.cameras.history("North Lot")) == 1
