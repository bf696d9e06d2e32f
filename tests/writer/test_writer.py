"""The writer and its spool, on a server that is well; faults have tests of their own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from timeseries import (
    ConfigurationError,
    HealthLog,
    OccupancyEvent,
    RecordResult,
    Rejection,
    Store,
    Writer,
    WriterFullError,
)
from timeseries.writer.spool import Spool

AT = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


def series(camera: Any, number: int, start: datetime = AT) -> list[OccupancyEvent]:
    return [OccupancyEvent(camera, start + timedelta(seconds=i), i % 50) for i in range(number)]


def stored(store: Store) -> int:
    with store.pool.connection() as connection:
        row = connection.execute("SELECT count(*) FROM occupancy_events").fetchone()
        assert row is not None
        return int(row[0])


def test_what_was_accepted_is_stored_when_the_writer_closes(store: Store) -> None:
    camera = store.cameras.add("lot").id
    with store.writer(batch_size=100) as writer:
        for event in series(camera, 1234):
            writer.record(event)
        writer.record(HealthLog(camera, AT, "degraded", "RTSP timeout"))
    assert stored(store) == 1234
    assert (writer.state.pending, writer.state.stored, writer.state.oldest_seconds) == (0, 1235, None)


def test_an_event_does_not_wait_longer_than_the_flush_interval(store: Store) -> None:
    camera = store.cameras.add("lot").id
    with store.writer(flush_interval=0.05) as writer:
        writer.record(series(camera, 1)[0])
        deadline = time.monotonic() + 20
        while stored(store) == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert stored(store) == 1


def test_flush_waits_for_what_was_accepted(store: Store) -> None:
    camera = store.cameras.add("lot").id
    with store.writer(flush_interval=3600) as writer:
        for event in series(camera, 10):
            writer.record(event)
        writer.flush()
        assert stored(store) == 10


@pytest.mark.parametrize("spooled", [False, True])
def test_bad_events_go_to_the_callback_and_the_others_are_stored(store: Store, tmp_path: Path, spooled: bool) -> None:
    camera = store.cameras.add("lot").id
    rejected: list[Rejection] = []
    bad = [
        OccupancyEvent(camera, AT, -1),
        OccupancyEvent(uuid.UUID(int=7), AT, 1),
        OccupancyEvent(camera, datetime(2106, 1, 1, tzinfo=UTC), 1),
    ]
    with store.writer(on_rejected=rejected.append, spool=tmp_path / "spool" if spooled else None) as writer:
        for event in [*series(camera, 50), *bad, *series(camera, 50, AT + timedelta(days=1))]:
            writer.record(event)
    assert stored(store) == 100
    assert [r.event for r in rejected] == bad
    assert writer.state.rejected == 3


def test_several_threads_share_a_writer(store: Store, tmp_path: Path) -> None:
    cameras = [store.cameras.add(f"lot {i}").id for i in range(4)]
    for spool in (None, tmp_path / "spool"):
        with store.writer(batch_size=200, max_pending=500, spool=spool) as writer:
            start = AT if spool is None else AT + timedelta(days=1)

            def produce(camera: Any, writer: Writer = writer, start: datetime = start) -> None:
                for event in series(camera, 300, start):
                    writer.record(event)

            threads = [threading.Thread(target=produce, args=(camera,)) for camera in cameras]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert writer.state.stored == 1200
    assert stored(store) == 2400


def test_asyncio_goes_on_while_the_writer_waits(store: Store) -> None:
    camera = store.cameras.add("lot").id

    async def produce() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        with store.writer(batch_size=50, max_pending=50, flush_interval=0.01) as writer:
            for event in series(camera, 1000):
                await writer.arecord(event)
            ticking.cancel()
        return ticks

    assert asyncio.run(produce()) > 5
    assert stored(store) == 1000


class Held:
    """Stands where the store would, and holds what it gets until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.events: list[Any] = []

    def __call__(self, events: Any) -> RecordResult:
        self.go.wait()
        self.events += events
        return RecordResult(inserted=len(events))


def test_a_full_writer_raises_or_blocks_as_it_was_told() -> None:
    held = Held()
    writer = Writer(held, batch_size=5, max_pending=10, on_full="raise")
    events = series("00000000-0000-0000-0000-000000000007", 30)
    for event in events[:10]:
        writer.record(event)
    with pytest.raises(WriterFullError, match="10 events wait"):
        writer.record(events[10])
    assert writer.state.pending == 10
    held.go.set()
    writer.close()
    assert held.events == events[:10]

    held = Held()
    writer = Writer(held, batch_size=5, max_pending=10)
    thread = threading.Thread(target=lambda: [writer.record(event) for event in events])  # type: ignore[func-returns-value]
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert writer.state.pending == 10
    held.go.set()
    thread.join()
    writer.close()
    assert held.events == events


def test_settings_that_contradict_each_other_are_refused() -> None:
    for settings in (
        {"batch_size": 0},
        {"batch_size": 10, "max_pending": 5},
        {"flush_interval": 0},
        {"on_full": "drop"},
    ):
        with pytest.raises(ConfigurationError):
            Writer(Held(), **settings)


def test_a_batch_that_is_refused_for_good_is_halved_until_the_culprit_stands_alone() -> None:
    events = series("00000000-0000-0000-0000-000000000007", 40)
    kept: list[Any] = []

    def picky(batch: Any) -> RecordResult:
        if events[17] in batch:
            raise ValueError("17 is not welcome")
        kept.extend(batch)
        return RecordResult(inserted=len(batch))

    rejected: list[Rejection] = []
    writer = Writer(picky, on_rejected=rejected.append)
    for event in events:
        writer.record(event)
    writer.close()
    assert kept == events[:17] + events[18:]
    assert [r.event for r in rejected] == [events[17]]
    assert "not welcome" in rejected[0].reason


def test_a_spool_keeps_what_was_accepted_for_the_next_writer(store: Store, tmp_path: Path) -> None:
    camera = store.cameras.add("lot").id
    path = tmp_path / "spool"
    events = [OccupancyEvent(camera, AT + timedelta(seconds=i), i, {"ü": [1.5, None]}) for i in range(20)]
    spool = Spool(path)
    for event in events:
        spool.append(event)
    assert spool.take(100)[1] == events
    with pytest.raises(ConfigurationError, match="its own file"):
        Spool(path)
    spool.close()
    with store.writer(spool=path):
        pass
    assert stored(store) == 20
    reopened = Spool(path)
    assert len(reopened) == 0
    reopened.close()


def test_a_damaged_record_is_skipped_and_counted(store: Store, tmp_path: Path) -> None:
    camera = store.cameras.add("lot").id
    path = tmp_path / "spool"
    spool = Spool(path)
    for event in series(str(camera), 10):
        spool.append(event)
    spool.close()
    with sqlite3.connect(path) as file:
        file.execute("UPDATE events SET event = CAST(replace(event, '2026', '2O26') AS BLOB) WHERE position IN (3, 10)")
    file.close()
    with store.writer(spool=path) as writer:
        pass
    assert (stored(store), writer.state.damaged, writer.state.pending) == (8, 2, 0)


def test_a_file_that_is_no_spool_is_named(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigurationError, match="spool"):
        Spool(path)
    with pytest.raises(ConfigurationError):
        Spool(tmp_path / "missing" / "spool")


@pytest.mark.parametrize("form", ["pandas", "arrow"])
def test_a_frame_is_stored_and_its_bad_rows_come_back(store: Store, form: str) -> None:
    lot = store.cameras.add("lot")
    frame = pd.DataFrame({
        "camera": ["lot", str(lot.id), "nowhere", "lot", "lot"],
        "timestamp": pd.date_range(AT, periods=5, freq="min"),
        "occupied_count": [1, 2, 3, -4, 5],
    })  # fmt: skip
    given: Any = frame if form == "pandas" else pa.Table.from_pandas(frame)
    result = store.record_frame(given)
    assert (result.inserted, result.duplicates) == (3, 0)
    assert [(r.index, r.reason.split(";")[0]) for r in result.rejected] == [
        (2, "no camera has the name or id nowhere"), (3, "occupied_count -4 is negative"),
    ]  # fmt: skip
    assert store.record_frame(given).duplicates == 3
    naive = frame.assign(timestamp=frame["timestamp"].dt.tz_localize(None))
    assert len(store.record_frame(naive).rejected) == 5
