"""Cameras and their secrets."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support.keys import SECRET_KEY
from tests.support.proxy import Proxy
from tests.support.urls import parse_url
from timeseries import (
    CameraExistsError,
    CameraInUseError,
    ConfigurationError,
    InvalidInputError,
    OccupancyEvent,
    SecretError,
    Store,
    UnknownCameraError,
)
from timeseries.access.keyring import Keyring, generate_key
from timeseries.settings import Settings

RTSP = "rtsp://admin:hunter2@10.0.0.7/stream"


def test_a_camera_is_found_by_id_and_name_listed_changed_and_removed(store: Store) -> None:
    lot = store.cameras.add("North Lot", timezone="America/New_York", capacity=80, zone_config={"polygons": [[0, 1]]})
    assert store.cameras.get("North Lot") == store.cameras.get(lot.id) == store.cameras.get(str(lot.id).upper()) == lot
    changed = store.cameras.update(
        lot, name="South Lot", desired_state="stopped", hold=timedelta(hours=2), zone_config=[]
    )
    assert (changed.id, changed.name, changed.desired_state) == (lot.id, "South Lot", "stopped")
    assert store.cameras.list() == [changed]
    store.cameras.remove("South Lot")
    assert store.cameras.list() == []


def test_the_connection_string_is_ciphertext_wherever_it_can_be_seen(store: Store) -> None:
    lot = store.cameras.add("North Lot", connection_string=RTSP)
    assert store.cameras.connection_string(lot) == RTSP
    assert "hunter2" not in f"{lot!r} {lot} {store!r} {store.cameras!r}"
    with store.pool.connection() as connection:
        row = connection.execute("SELECT row_to_json(c)::text FROM cameras AS c").fetchone()
    assert row is not None
    assert "hunter2" not in row[0]
    assert '"v1.' in row[0]
    store.cameras.update(lot, connection_string=None)
    assert store.cameras.connection_string(lot) is None


def test_without_a_key_a_connection_string_is_refused_and_nothing_is_stored(database: str) -> None:
    with Store.open(database, settings=Settings()) as store:
        with pytest.raises(SecretError, match="timeseries key generate"):
            store.cameras.add("North Lot", connection_string=RTSP)
        assert store.cameras.list() == []
        assert store.cameras.add("South Lot").connection_string is None


def test_a_moved_ciphertext_and_a_wrong_key_do_not_open(store: Store) -> None:
    first = store.cameras.add("first", connection_string=RTSP)
    second = store.cameras.add("second")
    with store.pool.connection() as connection:
        connection.execute(
            "UPDATE cameras SET connection_string = %s WHERE id = %s", [first.connection_string, second.id]
        )
    with pytest.raises(SecretError, match="belongs to another camera"):
        store.cameras.connection_string(second)
    with (
        Store.open(store.url, settings=Settings(secret_key=generate_key())) as other,
        pytest.raises(SecretError) as error,
    ):
        other.cameras.connection_string(first)
    assert "needs key" in str(error.value)
    with Store.open(store.url, settings=Settings(secret_key=f"{generate_key()}, {SECRET_KEY}")) as both:
        assert both.cameras.connection_string(first) == RTSP


def test_the_database_refuses_plaintext_and_a_changed_id_without_showing_the_row(store: Store) -> None:
    lot = store.cameras.add("North Lot")
    for change in ("connection_string = %s", "connection_string = %s, name = 'x'"):
        with psycopg.connect(store.url) as other, pytest.raises(psycopg.errors.CheckViolation) as error:
            other.execute(f"UPDATE cameras SET {change}", [RTSP])
        assert "hunter2" not in str(error.value)
    with psycopg.connect(store.url) as other, pytest.raises(psycopg.errors.RestrictViolation):
        other.execute("UPDATE cameras SET id = gen_random_uuid() WHERE id = %s", [lot.id])


def test_a_malformed_key_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError) as error:
        Keyring("hunter2")
    assert "hunter2" not in str(error.value)
    assert repr(Keyring(generate_key())) == "Keyring(1 keys)"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": " "}, "1 to 200 characters"),
        ({"name": "a\0b"}, "1 to 200 characters"),
        ({"name": "a", "timezone": "Europe/Berlln"}, "did you mean Europe/Berlin"),
        ({"name": "a", "timezone": "EST5EDT4"}, "IANA"),
        ({"name": "a", "hold": timedelta(minutes=14)}, "at least 15 minutes"),
        ({"name": "a", "capacity": 0}, "at least 1"),
        ({"name": "a", "desired_state": "off"}, "running, stopped, maintenance"),
    ],
)
def test_what_no_camera_can_have_is_named(store: Store, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        store.cameras.add(**values)


def test_names_and_ids_are_unique_and_unknown_ones_suggest_near_names(store: Store) -> None:
    lot = store.cameras.add("North Lot")
    with pytest.raises(CameraExistsError):
        store.cameras.add("North Lot")
    with pytest.raises(CameraExistsError):
        store.cameras.add("Other", id=lot.id)
    with pytest.raises(UnknownCameraError, match="'North Lot'"):
        store.cameras.get("Nort Lot")
    with pytest.raises(UnknownCameraError):
        store.cameras.remove(uuid.uuid4())
    with pytest.raises(InvalidInputError, match="colour"):
        store.cameras.update(lot, colour="red")


def test_one_of_5000_cameras_is_found_without_reading_the_others(store: Store) -> None:
    with psycopg.connect(store.url) as connection:
        connection.execute("""
            INSERT INTO cameras (name, connection_string)
            SELECT 'lot ' || i, 'v1.00000000.' || repeat('A', 400) FROM generate_series(1, 5000) AS i
        """)
    url = parse_url(store.url)
    with Proxy(url.port or 0) as proxy:
        through = url.set(port=proxy.port).render_as_string(hide_password=False)
        with Store.open(through, settings=Settings()) as near:
            before = proxy.received
            found = near.cameras.get("lot 4321")
            assert near.cameras.get(found.id) == near.cameras.get(str(found.id).upper()) == near.cameras.get(found)
            assert proxy.received - before < 10_000
            with pytest.raises(UnknownCameraError, match="'lot 4321'"):
                near.cameras.get("lott 4321")
            assert proxy.received - before < 5000 * 100  # names and ids, and no ciphertext


def test_an_id_goes_before_a_name_that_looks_like_it_and_no_text_is_too_strange(store: Store) -> None:
    lot = store.cameras.add("lot")
    other = store.cameras.add(str(lot.id))
    assert store.cameras.get(str(lot.id)) == lot
    assert store.cameras.get(other) == other
    for strange in ("a\0b", "\ud800", "", 7, lot.id.hex[:-1]):
        with pytest.raises(UnknownCameraError):
            store.cameras.get(strange)  # type: ignore[arg-type]


def test_a_camera_with_history_stays_even_when_its_raw_rows_are_gone(store: Store) -> None:
    lot = store.cameras.add("North Lot")
    at = datetime(2026, 5, 1, tzinfo=UTC)
    store.record([OccupancyEvent(lot.id, at, 5)])
    with pytest.raises(CameraInUseError, match="has history"):
        store.cameras.remove(lot)
    assert store.cameras.get(lot) == lot
