"""Late events of several writers, beside one another and beside refreshes: no average is lost or doubled."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from tests.support.faults import opened, repeated
from tests.support.histories import LEVELS, add_cameras, answers, assert_averages, events_of, same
from tests.support.servers import RunningServer
from timeseries import Camera, OccupancyEvent, ServerKind, Store
from timeseries.schema import migrations
from timeseries.settings import Settings

pytestmark = pytest.mark.kinds(ServerKind.COMMUNITY)

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
LONG_AGO = NOW - timedelta(days=100)
QUARTER = (NOW - timedelta(days=3)).replace(hour=13)
AFTERNOON = (NOW - timedelta(days=1)).replace(hour=17, minute=25)
INSERT = "INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES (%s, %s, 10)"
MATERIALIZE = "SELECT timeseries.materialize('occupancy', ARRAY[%s], ARRAY[%s], ARRAY[1])"
SAMPLES = "SELECT samples FROM occupancy_{} WHERE camera_id = %s AND bucket <= %s ORDER BY bucket DESC"
# Of a writer that waits for a row while it holds none of what a refresh ends with.
WAITS_WITHOUT_SLOTS = """
    SELECT count(*) FROM pg_stat_activity AS a
    WHERE a.wait_event_type = 'Lock' AND a.application_name = 'timeseries' AND NOT EXISTS (
        SELECT FROM pg_locks AS l WHERE l.pid = a.pid AND l.relation = 'timeseries.late_writers'::regclass)
"""
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'refresh' AND wait_event_type = 'Lock'"


def refresh(url: str, *levels: str) -> None:
    with psycopg.connect(url, autocommit=True, application_name="refresh") as connection:
        for level in levels or LEVELS:
            connection.execute(f"CALL refresh_continuous_aggregate('occupancy_{level}', NULL, now(), force => true)")


def samples(url: str, camera: uuid.UUID) -> list[list[int]]:
    """Of each level the samples of each row of a camera."""
    with psycopg.connect(url) as connection:
        return [
            [count for (count,) in connection.execute(SAMPLES.format(level), [camera, NOW]).fetchall()]
            for level in LEVELS
        ]


@contextmanager
def late_event(url: str, camera: uuid.UUID, at: datetime) -> Iterator[Any]:
    """A writer that has materialized an event of a quarter, and commits at the end."""
    with psycopg.connect(url, autocommit=False) as connection:
        connection.execute(INSERT, [camera, at + timedelta(minutes=5)])
        connection.execute(MATERIALIZE, [camera, at])
        yield connection


@contextmanager
def refresh_in_flight(url: str, camera: uuid.UUID, quarter: datetime) -> Iterator[Callable[[], None]]:
    """A refresh that has deleted a quarter; called, it inserts it again as it was. It commits at the end."""
    with psycopg.connect(url, autocommit=False) as connection:
        row = connection.execute(
            "SELECT relation::text FROM timeseries.materializations WHERE name = 'occupancy_quarter_hourly'"
        ).fetchone()
        assert row is not None
        where = f"FROM {row[0]} WHERE camera_id = %s AND bucket = %s"
        connection.execute(f"CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * {where}", [camera, quarter])
        connection.execute(f"DELETE {where}", [camera, quarter])

        def insert() -> None:
            connection.execute(f"INSERT INTO {row[0]} SELECT * FROM kept")

        yield insert


def until_it_waits(url: str, thread: threading.Thread, waiting: LiteralString = WAITING) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        while thread.is_alive() and connection.execute(waiting).fetchone() != (1,):
            thread.join(0.02)
    assert thread.is_alive()


@pytest.mark.parametrize("before", ["nothing", "a materialized event", "a stray event"])
def test_a_refresh_waits_for_a_late_event_in_flight(store: Store, before: str) -> None:
    """Where a stray event has no materialized row yet, the refresh inserts one beside that of the late event."""
    camera, event = store.cameras.add("lot").id, OccupancyEvent
    if before == "a materialized event":
        store.record([event(camera, QUARTER, 1)])
    if before == "a stray event":
        with psycopg.connect(store.url) as connection:
            connection.execute(INSERT, [camera, QUARTER])
    store.record([event(camera, QUARTER - timedelta(minutes=15), 1)])  # so that each refresh has a row to insert
    thread = threading.Thread(target=refresh, args=(store.url, "quarter_hourly"))
    with late_event(store.url, camera, QUARTER):
        thread.start()
        until_it_waits(store.url, thread)
    thread.join()
    found = 1 if before == "nothing" else 2
    assert samples(store.url, camera)[0] == [found, 1]
    refresh(store.url)
    assert samples(store.url, camera) == [[found, 1], [found, 1], [found + 1]]


def test_late_events_of_two_cameras_do_not_wait_for_each_other(store: Store) -> None:
    cameras = [store.cameras.add(f"lot {i}").id for i in range(12)]
    with psycopg.connect(store.url) as connection:
        found = connection.execute("SELECT uuid_hash(id) & 63, min(id::text)::uuid FROM cameras GROUP BY 1").fetchall()
    (_, one), (_, other), *_ = found
    store.record([OccupancyEvent(cameras[0], QUARTER - timedelta(hours=1), 1)])  # so that both find the chunk there
    with late_event(store.url, one, QUARTER):
        assert store.record([OccupancyEvent(other, QUARTER, 1)]).inserted == 1
    assert samples(store.url, one)[0][0] == samples(store.url, other)[0][0] == 1


def test_a_late_event_of_other_hours_does_not_wait_for_a_refresh(store: Store) -> None:
    camera, other = (store.cameras.add(name).id for name in ("lot", "garage"))
    store.record([OccupancyEvent(one, QUARTER + timedelta(hours=h), 1) for one in (camera, other) for h in (0, 6)])
    with refresh_in_flight(store.url, camera, QUARTER) as insert:
        insert()
        began = time.monotonic()
        late = [OccupancyEvent(one, QUARTER + timedelta(hours=6, minutes=1), 2) for one in (camera, other)]
        assert [store.record([event]).inserted for event in late] == [1, 1]
        assert time.monotonic() - began < 2
    assert [samples(store.url, one) for one in (camera, other)] == [[[2, 1], [2, 1], [3]]] * 2


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_a_late_event_waits_for_a_refresh_and_does_not_hold_it_up(store: Store, ends: str) -> None:
    camera = store.cameras.add("lot").id
    store.record([OccupancyEvent(camera, QUARTER, 1)])
    stored = []
    event = OccupancyEvent(camera, QUARTER + timedelta(minutes=1), 2)
    thread = threading.Thread(target=lambda: stored.append(store.record([event]).inserted))
    with suppress(RuntimeError), refresh_in_flight(store.url, camera, QUARTER) as insert:
        thread.start()
        until_it_waits(store.url, thread, WAITS_WITHOUT_SLOTS)
        insert()
        if ends == "badly":
            raise RuntimeError
    thread.join()
    assert stored == [1]
    assert samples(store.url, camera) == [[2], [2], [2]]


def compress(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for level in LEVELS:
            connection.execute(
                "SELECT compress_chunk(c) FROM show_chunks(%s::regclass, older_than => now() - interval '5 days') AS c",
                [f"occupancy_{level}"],
            )


def test_many_late_writers_beside_refreshes_and_compression_leave_what_one_alone_would(store: Store) -> None:
    chance = random.Random(5)
    cameras = add_cameras(store)
    store.record(
        event for camera in cameras for event in events_of(camera, LONG_AGO, LONG_AGO + timedelta(days=3), chance)
    )
    store.prune()
    kept = answers(store.url, LONG_AGO, LONG_AGO + timedelta(days=4))
    start = NOW - timedelta(days=20)
    events = [
        event for camera in cameras for event in events_of(camera, start, NOW, chance, 3000)
        if isinstance(event, OccupancyEvent)
    ]  # fmt: skip
    chance.shuffle(events)
    stored = []

    def write(part: list[OccupancyEvent]) -> None:
        with Store.open(store.url, settings=Settings()) as own:
            for at in range(0, len(part), 7):
                stored.append(own.record(part[at : at + 7]).inserted)

    writers = [threading.Thread(target=write, args=(events[i::4],)) for i in range(4)]
    with repeated(lambda: refresh(store.url), lambda: compress(store.url)):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    assert sum(stored) == len(events)
    found = answers(store.url, start, NOW)
    refresh(store.url)
    assert same(answers(store.url, start, NOW), found)
    assert sum(row[2] for row in found["occupancy_quarter_hourly"]) == len(events)  # type: ignore[misc]
    assert same(answers(store.url, LONG_AGO, LONG_AGO + timedelta(days=4)), kept)


@pytest.fixture
def store_of_afternoon(server: RunningServer) -> Iterator[Store]:
    """A store where it is the afternoon, and the watermark of days is half a day behind."""
    if server.found.cluster is None:
        pytest.skip("needs a server whose clock the test may set")
    cluster = server.found.cluster()
    try:
        if not cluster.set_clock(datetime.now(UTC) - AFTERNOON):
            pytest.skip("needs libfaketime")
        cluster.start()
        migrations.migrate(cluster.url())
        with opened(cluster.url()) as store:
            yield store
    finally:
        cluster.remove()


def test_late_events_of_today_one_by_one_leave_what_a_refresh_would(store_of_afternoon: Store) -> None:
    store, chance = store_of_afternoon, random.Random(11)
    end = AFTERNOON.replace(minute=0)
    start = end - timedelta(hours=30)
    events = [event for camera in add_cameras(store) for event in events_of(camera, start, AFTERNOON, chance, 1800)]
    in_time = [event for event in events if chance.random() < 0.5]
    store.record(in_time)
    refresh(store.url)  # of today quarters and hours are materialized, its day is not
    with psycopg.connect(store.url) as connection:
        watermarks = connection.execute(
            "SELECT DISTINCT watermark FROM timeseries.materializations WHERE family = 'occupancy' ORDER BY 1"
        ).fetchall()
    assert [at for (at,) in watermarks] == [end.replace(hour=0), end, AFTERNOON.replace(minute=15)]
    late = [event for event in events if event not in in_time]
    chance.shuffle(late)
    assert [store.record([event]).inserted for event in late] == [1] * len(late)
    found = answers(store.url, start, end)
    assert_averages(store, events, start, end)
    refresh(store.url)
    assert same(answers(store.url, start, end), found)


@pytest.fixture
def finalized(store: Store) -> Iterator[Camera]:
    """A camera with a finalized quarter of thirty samples."""
    camera = store.cameras.add("lot")
    store.record(OccupancyEvent(camera.id, LONG_AGO + timedelta(seconds=i), 10) for i in range(30))
    assert store.prune().removed == 30
    yield camera
    assert samples(store.url, camera.id) == [[30], [30], [30]]


def test_no_setting_of_a_session_lets_a_refresh_erase_history(store: Store, finalized: Camera) -> None:
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("SET timeseries.complete = '{(,)}'")
        connection.execute("SET timeseries.late_writer = '1'")
        connection.execute("CALL refresh_continuous_aggregate('occupancy_quarter_hourly', NULL, now(), force => true)")


@pytest.mark.parametrize("added", [0, 1, -100, None])
def test_nobody_erases_history_by_materializing_it_again(store: Store, finalized: Camera, added: int | None) -> None:
    with psycopg.connect(store.url) as connection:
        connection.execute(INSERT, [finalized.id, LONG_AGO + timedelta(seconds=7)])
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute(
                "SELECT timeseries.materialize('occupancy', ARRAY[%s], ARRAY[%s], ARRAY[%s]::integer[])",
                [finalized.id, LONG_AGO, added],
            )
        connection.rollback()


def test_as_many_late_events_as_a_finalized_quarter_has_are_rejected(store: Store, finalized: Camera) -> None:
    result = store.record(OccupancyEvent(finalized.id, LONG_AGO + timedelta(seconds=100 + i), 99) for i in range(40))
    assert (result.inserted, len(result.rejected)) == (0, 40)
