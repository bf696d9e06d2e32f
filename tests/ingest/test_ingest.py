"""Storing events: exactly once, each one accounted for."""

from __future__ import annotations

import math
import threading
import uuid
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from tests.support.faults import opened, own_cluster
from tests.support.peak_memory import peak_memory
from tests.support.servers import RunningServer
from timeseries import HealthLog, InvalidInputError, OccupancyEvent, ServerKind, ServerUnavailableError, Store
from timeseries.ingest.batches import DAY_MICROSECONDS, Batch, camera_array, from_events
from timeseries.model.relations import OCCUPANCY
from timeseries.settings import Settings

AT = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


def stored(store: Store, table: str = "occupancy_events") -> int:
    with store.pool.connection() as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])


def series(camera: uuid.UUID, number: int, start: datetime = AT, every: float = 60.0) -> list[OccupancyEvent]:
    return [OccupancyEvent(camera, start + timedelta(seconds=every * i), i % 50) for i in range(number)]


def test_both_kinds_of_event_are_committed_on_return(store: Store) -> None:
    camera = store.cameras.add("lot")
    result = store.record([
        OccupancyEvent(camera.id, AT, 42, raw_data={"boxes": [[1, 2.5]], "text": "ü\\u0000 is not a NUL"}),
        HealthLog(camera.id, AT, "degraded", "RTSP timeout"),
    ])  # fmt: skip
    assert (result.inserted, result.duplicates, result.rejected) == (2, 0, ())
    with psycopg.connect(store.url) as other:
        assert other.execute("SELECT occupied_count, raw_data ->> 'text' FROM occupancy_events").fetchone() == (
            42, "ü\\u0000 is not a NUL",
        )  # fmt: skip
        assert other.execute("SELECT status, message FROM health_logs").fetchone() == (
            "degraded",
            "RTSP timeout",
        )


def test_storing_again_stores_nothing(store: Store) -> None:
    events = series(store.cameras.add("lot").id, 500)
    assert store.record(events).inserted == 500
    again = store.record([*events[100:], *series(store.cameras.get("lot").id, 100, AT + timedelta(days=1)), events[0]])
    assert (again.inserted, again.duplicates, again.rejected) == (100, 401, ())
    assert stored(store) == 600


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("unknown camera", {"camera_id": uuid.UUID(int=7)}, "no camera has the id 00000000-0000", "unknown_camera"),
    ("no uuid", {"camera_id": "North Lot"}, "'North Lot' is not a UUID", "camera_id"),
    ("negative count", {"occupied_count": -1}, "-1 is negative", "occupied_count"),
    ("huge count", {"occupied_count": 2**31}, "2147483648 is beyond 2147483647", "occupied_count"),
    ("NaN", {"occupied_count": math.nan}, "nan is not a whole number", "occupied_count"),
    ("a share", {"occupied_count": 0.5}, "0.5 is not a whole number", "occupied_count"),
    ("naive datetime", {"timestamp": datetime(2026, 9, 1)}, "naive", "timestamp"),  # noqa: DTZ001
    ("no datetime", {"timestamp": "2026-09-01T00:00Z"}, "is not a datetime", "timestamp"),
    ("far future", {"timestamp": datetime(2106, 1, 1, tzinfo=UTC)}, "5 minutes ahead", "future"),
    ("NUL in JSON", {"raw_data": {"a": "x\0"}}, "NUL", "raw_data"),
    ("NaN in JSON", {"raw_data": [math.nan]}, "JSON", "raw_data"),
    ("lone surrogate in JSON", {"raw_data": "\ud800"}, "surrogate", "raw_data"),
    ("an object in JSON", {"raw_data": object()}, "JSON", "raw_data"),
]


@pytest.mark.parametrize("position", [0, 1])
def test_each_bad_event_comes_back_with_index_and_reason_and_the_others_are_stored(store: Store, position: int) -> None:
    camera = store.cameras.add("lot").id
    good = series(camera, len(BAD) + 1)
    if position:
        store.record(good[:3])  # so that the batch cannot go straight in
    mixed: list[Any] = []
    for (_, change, *_), event in zip(BAD, good, strict=False):
        fields = {"camera_id": camera, "timestamp": AT - timedelta(days=1), "occupied_count": 1} | change
        mixed += [event, OccupancyEvent(**fields)]  # type: ignore[arg-type]
    mixed += [good[-1], "nonsense"]
    result = store.record(mixed)
    assert result.inserted == len(good) - 3 * position
    assert [r.index for r in result.rejected] == [*range(1, 2 * len(BAD), 2), len(mixed) - 1]
    for rejection, (name, _, reason, kind) in zip(result.rejected, BAD, strict=False):
        assert reason in rejection.reason, name
        assert rejection.kind == kind, name
        assert rejection.event is mixed[rejection.index]
    assert result.inserted + result.duplicates + len(result.rejected) == len(mixed)
    assert stored(store) == len(good)


def test_bad_health_logs_come_back(store: Store) -> None:
    camera = store.cameras.add("lot").id
    result = store.record([
        HealthLog(camera, AT, "sleepy"), HealthLog(camera, AT, "healthy"), HealthLog(camera, AT, "degraded", "a\0b"),
    ])  # fmt: skip
    assert [(r.index, r.kind) for r in result.rejected] == [(0, "status"), (2, "message")]
    assert "healthy, degraded, disconnected" in result.rejected[0].reason
    assert stored(store, "health_logs") == 1


def test_the_table_itself_refuses_infinity_and_the_future(store: Store) -> None:
    camera = store.cameras.add("lot").id
    for moment in ("infinity", "-infinity", "2106-01-01"):
        with (
            psycopg.connect(store.url) as other,
            pytest.raises((psycopg.errors.CheckViolation, psycopg.DataError)),
        ):
            other.execute(
                "INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES (%s, %s, 1)",
                [camera, moment],
            )


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.APACHE)
def test_one_call_may_touch_more_chunks_than_the_server_has_locks(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"max_locks_per_transaction": "40", "max_connections": "10"}
    with own_cluster(server, **few) as cluster, opened(cluster.url()) as store:
        camera = store.cameras.add("lot").id
        events = [OccupancyEvent(camera, AT - timedelta(days=15 * i), 1) for i in range(600)]  # 9,000 days
        with monkeypatch.context() as patched:
            patched.setattr("timeseries.ingest.batches.LARGEST_SPAN", 9_001 * DAY_MICROSECONDS)
            with pytest.raises(ServerUnavailableError, match="out of shared memory"):
                store.record(events)
        assert store.record(events).inserted == 600


def test_two_writers_of_the_same_events_in_another_order_store_each_once(store: Store) -> None:
    cameras = [store.cameras.add(f"lot {i}").id for i in range(5)]
    events = [event for camera in cameras for event in series(camera, 400)]
    results = []

    def write(part: list[OccupancyEvent]) -> None:
        with Store.open(store.url, settings=Settings()) as own:
            results.append(own.record(part))

    threads = [threading.Thread(target=write, args=(part,)) for part in (events, events[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.inserted for result in results) == len(events)
    assert sum(result.duplicates for result in results) == len(events)
    assert stored(store) == len(events)


def test_a_late_event_is_in_every_average_when_record_returns(store: Store) -> None:
    camera = store.cameras.add("lot").id
    store.record(series(camera, 200, AT))
    store.record([OccupancyEvent(camera, AT + timedelta(seconds=30), 1000)])
    with store.pool.connection() as connection:
        for level in ("quarter_hourly", "hourly", "weekday"):
            row = connection.execute(f"SELECT sum(samples), max(occupied_max) FROM occupancy_{level}").fetchone()
            assert row == (201, 1000)


def test_a_server_that_is_away_is_named_without_the_password() -> None:
    with pytest.raises(ServerUnavailableError) as error:
        Store.open("postgresql://someone:hunter2@127.0.0.1:1/nothing?connect_timeout=1", settings=Settings())
    assert "hunter2" not in str(error.value)


def test_a_correction_replaces_what_was_stored_and_the_averages_follow(store: Store) -> None:
    camera = store.cameras.add("lot").id
    store.record(series(camera, 100))
    corrected = [
        OccupancyEvent(camera, AT, 777),
        OccupancyEvent(camera, AT, 500, {"why": "recounted"}),  # the last word counts
        *series(camera, 3)[1:],
        OccupancyEvent(camera, AT - timedelta(seconds=1), 3),
        OccupancyEvent(camera, AT, -1),
    ]
    result = store.record(corrected, on_conflict="replace")
    assert (result.inserted, result.replaced, result.duplicates) == (1, 1, 3)
    assert [rejection.index for rejection in result.rejected] == [5]
    with store.pool.connection() as connection:
        for level in ("quarter_hourly", "hourly", "weekday"):
            row = connection.execute(f"SELECT sum(samples), max(occupied_max) FROM occupancy_{level}").fetchone()
            assert row == (101, 500)
        raw = connection.execute("SELECT raw_data FROM occupancy_events WHERE occupied_count = 500").fetchone()
    assert raw == ({"why": "recounted"},)
    assert store.record(corrected[:1]).duplicates == 1
    assert stored(store) == 101
    with pytest.raises(InvalidInputError, match="'replace'"):
        store.record(corrected, on_conflict="overwrite")  # type: ignore[arg-type]


def test_an_event_that_repeats_a_rejected_one_is_rejected_too(store: Store) -> None:
    known, unknown = store.cameras.add("lot").id, uuid.uuid4()
    events = [OccupancyEvent(unknown, AT, 1), OccupancyEvent(known, AT, 2), OccupancyEvent(unknown, AT, 3),
              OccupancyEvent(known, AT, 4)]  # fmt: skip
    result = store.record(events)
    assert (result.inserted, result.duplicates) == (1, 1)
    assert [rejection.index for rejection in result.rejected] == [0, 2]
    assert [rejection.event for rejection in result.rejected] == [events[0], events[2]]


def test_one_event_in_place_of_several_is_named(store: Store) -> None:
    event = OccupancyEvent(store.cameras.add("lot").id, datetime.now(UTC), 1)
    with pytest.raises(InvalidInputError, match=r"OccupancyEvent\(.*give a list of them, \[event\] for one"):
        store.record(event)  # type: ignore[arg-type]


class Status(str, Enum):  # noqa: UP042 - its str() is not its value
    """An enum of the caller's own."""

    WELL = "healthy"
    UNKNOWN = "sleepy"


UNSET = "is before 1970: a clock that was never set?"
NO_EVENTS: dict[str, tuple[Any, str]] = {
    "no time": (OccupancyEvent(uuid.UUID(int=1), pd.NaT, 1), "timestamp NaT is naive or not a time"),  # type: ignore[arg-type]
    "before all years": (
        OccupancyEvent(uuid.UUID(int=1), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), 1), UNSET,
    ),
    "Go's zero time": (HealthLog(uuid.UUID(int=1), datetime(1, 1, 1, tzinfo=UTC), "healthy"), UNSET),
    "just before": (OccupancyEvent(uuid.UUID(int=1), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), 1), UNSET),
    "no status": (HealthLog(uuid.UUID(int=1), AT, pd.NA), "status <NA> is unknown"),  # type: ignore[arg-type]
    "statuses": (HealthLog(uuid.UUID(int=1), AT, np.array(["healthy", "a"])), "is unknown"),  # type: ignore[arg-type]
    "another enum": (HealthLog(uuid.UUID(int=1), AT, Status.UNKNOWN), "is unknown"),
    "an endless count": (OccupancyEvent(uuid.UUID(int=1), AT, 10**5000), "is beyond 2147483647"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_EVENTS)
def test_what_is_like_an_event_comes_back_alone(name: str) -> None:
    event, reason = NO_EVENTS[name]
    good = OccupancyEvent(uuid.UUID(int=1), datetime(1970, 1, 1, tzinfo=UTC), 1)
    batches, rejected = from_events([good, event])
    assert [rejection.index for rejection in rejected] == [1]
    assert reason in rejected[0].reason
    assert [len(batch) for batch in batches] == [1]


def test_an_enum_of_statuses_and_a_whole_float_are_stored(store: Store) -> None:
    camera = store.cameras.add("lot").id
    assert store.record([HealthLog(camera, AT, Status.WELL), OccupancyEvent(camera, AT, 3.0)]).inserted == 2  # type: ignore[arg-type]
    with store.pool.connection() as connection:
        query = "SELECT status::text, occupied_count FROM health_logs, occupancy_events"
        assert connection.execute(query).fetchall() == [("healthy", 3)]


def test_slices_come_to_an_end_whatever_the_times_are() -> None:
    times: Any = np.array([math.nan, math.nan])
    batch = Batch(OCCUPANCY, np.arange(2), camera_array([bytes(16)] * 2), times, np.array([1, 2], dtype=np.int32))
    assert [len(part) for part, _ in zip(batch.slices(10), range(5), strict=False)] == [1, 1]


def test_memory_does_not_grow_with_a_generator_of_events(store: Store) -> None:
    camera = store.cameras.add("lot").id
    script = f"""
from datetime import UTC, datetime, timedelta
from uuid import UUID
from timeseries import OccupancyEvent, Store
from timeseries.settings import Settings
start, camera = datetime(2026, 9, 1, tzinfo=UTC), UUID({str(camera)!r})
events = (OccupancyEvent(camera, start + timedelta(seconds=i), i % 50) for i in range(NUMBER))
assert Store.open({store.url!r}, settings=Settings()).record(events).inserted >= NUMBER * 9 // 10
"""
    peaks = [peak_memory(script.replace("NUMBER", number)) for number in ("60_000", "600_000")]
    assert peaks[1] < peaks[0] * 1.2


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.APACHE)
def test_chunks_are_made_before_a_long_transaction_and_hold_no_event(store: Store) -> None:
    camera = store.cameras.add("lot").id
    midnight = AT.replace(hour=0, minute=0, second=0, microsecond=0)
    store.record([OccupancyEvent(camera, midnight, 3)])
    days = [midnight - timedelta(days=i) for i in range(3)]
    with psycopg.connect(store.url, autocommit=True) as connection:
        numbers = []
        for made in ([], days, days):
            connection.execute("SELECT timeseries.make_chunks('occupancy', %s)", [made])
            numbers += connection.execute("SELECT count(*) FROM show_chunks('occupancy_events')").fetchall()
        events = connection.execute("SELECT count(*), sum(occupied_count) FROM occupancy_events").fetchone()
    ((before,), (after,), (again,)) = numbers
    assert (after, again) == (before + 2, after)
    assert events == (1, 3)
