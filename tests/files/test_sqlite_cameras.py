"""Cameras of a SQLite database: secrets are encrypted on the way in, and nobody takes another one's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.keys import SECRET_KEY
from tests.support.sqlite_databases import LAYOUT, NORTH, PLAINTEXT, SOUTH, ask, database, old
from timeseries import CameraExistsError, InvalidInputError, SecretError, Store
from timeseries.access.keyring import Keyring, generate_key
from timeseries.settings import Settings

__all__ = ["old"]


def test_connection_strings_are_encrypted_on_the_way_in_and_need_a_key(database_url: str, old: Path) -> None:
    with Store.open(database_url, settings=Settings()) as store:
        with pytest.raises(SecretError, match="there is no key"):
            store.import_file(old)
        assert store.cameras.list() == []
    with Store.open(database_url, settings=Settings(secret_key=SECRET_KEY)) as store:
        store.import_file(old)
        assert store.cameras.connection_string(NORTH) == PLAINTEXT
        assert PLAINTEXT not in str(ask(store, "SELECT * FROM cameras"))


@pytest.fixture
def database_url(store: Store) -> str:
    return store.url


def test_a_connection_string_of_ours_is_kept_where_it_opens(store: Store, tmp_path: Path) -> None:
    ours = Keyring(SECRET_KEY).encrypt(PLAINTEXT, NORTH)
    theirs = Keyring(generate_key()).encrypt(PLAINTEXT, NORTH)

    def with_secret(name: str, secret: str) -> Path:
        cameras = [{"id": str(NORTH), "name": "North Lot", "connection_string": secret}]
        return database(tmp_path / name, LAYOUT, cameras=cameras)

    for secret in (theirs, Keyring(SECRET_KEY).encrypt(PLAINTEXT, SOUTH)):
        with pytest.raises(SecretError, match=str(NORTH)):
            store.import_file(with_secret(f"{len(list(tmp_path.iterdir()))}.db", secret))
    assert store.cameras.list() == []
    store.import_file(with_secret("ours.db", ours))
    assert store.cameras.connection_string(NORTH) == PLAINTEXT


def test_a_camera_that_is_here_is_left_alone_and_a_name_of_another_is_refused_or_matched(
    store: Store, old: Path
) -> None:
    store.cameras.add("renamed", id=SOUTH, timezone="Asia/Kolkata")
    namesake = store.cameras.add("North Lot")
    with pytest.raises(CameraExistsError, match=r"'North Lot'.*--match-names"):
        store.import_file(old)
    assert ask(store, "SELECT count(*) FROM occupancy_events") == [(0,)]
    result = store.import_file(old, match_names=True)
    assert (result.cameras, result.inserted) == (0, 2500)
    assert dict(ask(store, "SELECT camera_id, count(*) FROM occupancy_events GROUP BY 1")) == {
        SOUTH: 1200, namesake.id: 1200,
    }  # fmt: skip
    south = store.cameras.get(SOUTH)
    assert (south.name, south.timezone) == ("renamed", "Asia/Kolkata")


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({"id": "7", "name": "a"}, "camera 'a': the id '7' is not a UUID"),
        ({"id": str(NORTH)}, "needs an id and a name"),
        ({"id": str(NORTH), "name": "a", "timezone": "Mars"}, "Mars"),
        ({"id": str(NORTH), "name": "a", "hold": "long"}, "camera 'a': 'long' is not a length of time"),
        ({"id": str(NORTH), "name": "a", "zone_config": "{"}, "camera 'a': .*not JSON"),
        ({"id": str(NORTH), "name": "a", "created_at": "2026-05-04 10:00:00"}, "camera 'a': .*naive"),
        ({"id": str(NORTH), "name": "a", "desired_state": "gone"}, "gone"),
    ],
)
def test_a_camera_that_cannot_be_is_named_and_nothing_is_stored(
    store: Store, tmp_path: Path, camera: dict[str, Any], message: str
) -> None:
    cameras = [{"id": str(SOUTH), "name": "0", "connection_string": PLAINTEXT}, camera]
    with pytest.raises(InvalidInputError, match=message) as caught:
        store.import_file(database(tmp_path / "cameras.db", LAYOUT, cameras=cameras))
    assert "hunter2" not in str(caught.value)
    assert store.cameras.list() == []
