"""Keys: several at once, rotation that resumes, and ciphertexts that do not open."""

from __future__ import annotations

import json
import threading

import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.support.keys import SECRET_KEY
from timeseries import SecretError, Store
from timeseries.access.keyring import Keyring, generate_key, key_id_of
from timeseries.access.rotation import Keys, RotationResult
from timeseries.cli import main
from timeseries.settings import Settings

RTSP = "rtsp://admin:hunter2@10.0.0.7/stream"
NEW_KEY = generate_key()
BOTH = f"{NEW_KEY},{SECRET_KEY}"


def run(url: str, keys: str, *words: str) -> Result:
    return CliRunner(env={"TIMESERIES_DATABASE_URL": url, "TIMESERIES_SECRET_KEY": keys}).invoke(main, words)


def key_ids(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT connection_string FROM cameras WHERE connection_string IS NOT NULL"
        ).fetchall()
    return {key_id_of(row[0]) for row in rows}


def filled(store: Store, number: int = 5) -> None:
    for i in range(number):
        store.cameras.add(f"lot {i}", connection_string=f"{RTSP}/{i}")
    store.cameras.add("without")


def test_rotation_encrypts_everything_with_the_first_key(store: Store) -> None:
    filled(store)
    before = store.cameras.list()
    result = run(store.url, BOTH, "key", "rotate")
    assert result.exit_code == 0, result.output
    assert "Encrypted again: 5" in result.output
    assert "hunter2" not in result.output
    assert key_ids(store.url) == {Keyring(NEW_KEY).key_ids[0]}
    with Store.open(store.url, settings=Settings(secret_key=NEW_KEY)) as renewed:
        assert [renewed.cameras.connection_string(f"lot {i}") for i in range(5)] == [f"{RTSP}/{i}" for i in range(5)]
        assert [camera.id for camera in renewed.cameras.list()] == [camera.id for camera in before]
    assert "Encrypted again: 0" in run(store.url, BOTH, "key", "rotate").output


def test_an_interrupted_rotation_leaves_all_readable_and_resumes(store: Store) -> None:
    filled(store)
    keyring = Keyring(BOTH)

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Keys(store.pool, keyring).rotate(progress=interrupt)
    assert key_ids(store.url) == set(keyring.key_ids)
    with Store.open(store.url, settings=Settings(secret_key=BOTH)) as both:
        assert [both.cameras.connection_string(f"lot {i}") for i in range(5)] == [f"{RTSP}/{i}" for i in range(5)]
    assert Keys(store.pool, keyring).rotate() == RotationResult(3, 0, ())
    assert key_ids(store.url) == {keyring.key_ids[0]}


def test_two_rotations_at_once_agree(store: Store) -> None:
    filled(store, 20)
    keyring, results = Keyring(BOTH), []
    threads = [threading.Thread(target=lambda: results.append(Keys(store.pool, keyring).rotate())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.rotated for result in results) == 20
    assert Keys(store.pool, Keyring(NEW_KEY)).check().problems == ()


def test_what_is_changed_during_a_rotation_is_not_overwritten(store: Store) -> None:
    filled(store, 2)
    second = max((camera for camera in store.cameras.list() if camera.connection_string), key=lambda camera: camera.id)

    def change(done: int, total: int) -> None:
        if done == 1:
            store.cameras.update(second, connection_string="rtsp://changed")

    assert Keys(store.pool, Keyring(BOTH)).rotate(progress=change) == RotationResult(1, 1, ())
    assert store.cameras.connection_string(second) == "rtsp://changed"


def test_what_does_not_open_stays_and_is_reported(store: Store) -> None:
    filled(store, 3)
    lots = {camera.name: camera for camera in store.cameras.list()}
    with Store.open(store.url, settings=Settings(secret_key=generate_key())) as stranger:
        stranger.cameras.add("foreign", connection_string=RTSP)
    with psycopg.connect(store.url) as connection:
        for name, text in (
            ("lot 0", lots["lot 1"].connection_string),
            ("without", f"v1.{Keyring(SECRET_KEY).key_ids[0]}.AAA="),
        ):
            connection.execute("UPDATE cameras SET connection_string = %s WHERE name = %s", [text, name])
    result = run(store.url, BOTH, "key", "rotate", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["rotated"] == 2
    check = run(store.url, BOTH, "key", "check")
    assert check.exit_code == 1
    assert check.output.count("Problem: ") == 3
    for reason in ("belongs to another camera", "needs key", str(lots["lot 0"].id), "missing"):
        assert reason in check.output
    assert "hunter2" not in result.output + check.output


def test_check_names_the_key_that_can_be_taken_away(store: Store) -> None:
    filled(store)
    Keys(store.pool, Keyring(BOTH)).rotate()
    result = run(store.url, BOTH, "key", "check", "--json")
    assert result.exit_code == 0
    assert [(k["cameras"], k["encrypts"]) for k in json.loads(result.output)["keys"]] == [(5, True), (0, False)]
    assert NEW_KEY not in result.output
    assert SECRET_KEY not in result.output


def test_without_a_key_nothing_is_rotated(store: Store) -> None:
    filled(store)
    before = store.cameras.list()
    result = run(store.url, "", "key", "rotate")
    assert result.exit_code == 1
    assert "timeseries key generate" in result.output
    assert store.cameras.list() == before
    with pytest.raises(SecretError):
        Keyring("").decrypt(before[0].connection_string or "", before[0].id)
