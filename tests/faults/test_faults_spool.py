"""Processes that are killed and disks of the spool that are full: what was accepted is stored.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s -k faults"`
prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.clusters import is_root
from tests.support.faults import AT, assert_exactly, series, stored_keys
from timeseries import (
    NotStoredError,
    OccupancyEvent,
    RecordResult,
    ServerUnavailableError,
    SpoolError,
    Store,
    Writer,
)
from timeseries.model.events import Event
from timeseries.writer.spool import Spool

pytestmark = pytest.mark.slow

SPOOLING = """
import sys
from datetime import datetime, timedelta
from uuid import UUID
from timeseries import OccupancyEvent, Store
from timeseries.settings import Settings

url, path, camera, start = sys.argv[1:5]
store = Store.open(url, settings=Settings())
writer = store.writer(spool=path, batch_size=50, flush_interval=0.05)
for i in range(100_000):
    at = datetime.fromisoformat(start) + timedelta(seconds=i)
    writer.record(OccupancyEvent(UUID(camera), at, i % 50))
    print(at.isoformat(), flush=True)
"""


def test_a_killed_process_leaves_its_spool_to_the_next_writer(store: Store, tmp_path: Path) -> None:
    camera = store.cameras.add("lot").id
    chance = random.Random(7)
    accepted: set[datetime] = set()
    for i in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", SPOOLING, store.url, str(tmp_path / "spool"), str(camera),
             (AT + timedelta(days=i)).isoformat()],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(chance.randrange(50, 400)):
            accepted.add(datetime.fromisoformat(process.stdout.readline().strip()))
        process.send_signal(signal.SIGKILL)
        accepted |= {datetime.fromisoformat(line.strip()) for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
    with store.writer(spool=tmp_path / "spool"):
        pass
    found = stored_keys(store.url)
    times = {at for _, at in found}
    print(f"\nprocess killed: {len(accepted):,} events accepted, 4 faults, {len(accepted - times)} lost")
    assert len(found) == len(times)
    assert accepted <= times
    assert len(times - accepted) <= 4  # accepted, and killed before it could say so


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = Path(tempfile.mkdtemp(prefix="small-"))
    if (
        not is_root()
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
        ).returncode
    ):
        folder.rmdir()
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_full_disk_refuses_events_loudly_and_keeps_the_others(
    store: Store, small_disk: Path, restarted: bool
) -> None:
    camera = store.cameras.add("lot").id
    away = True

    def record(events: Sequence[Event]) -> RecordResult:
        if away:
            raise ServerUnavailableError("away")
        return store.record(events)

    def opened_writer() -> Writer:
        return Writer(record, spool=small_disk / "spool", batch_size=5, flush_interval=0.05)

    accepted, refused = [], 0
    writer = opened_writer()
    *events, another = series(camera, 401)
    for event in events:
        event = OccupancyEvent(camera, event.timestamp, event.occupied_count, {"boxes": "x" * 5000})
        try:
            writer.record(event)
            accepted.append(event)
        except SpoolError:
            refused += 1
    assert accepted
    if restarted:
        with pytest.raises(NotStoredError):
            writer.close(timeout=0)
        writer = opened_writer()
    away = False
    writer.flush(60)
    assert (writer.state.pending, writer.state.stored) == (0, len(accepted))
    writer.record(another)
    writer.close()
    assert_exactly(store.url, [*accepted, another], refused, "disk of the spool full")
    spool = Spool(small_disk / "spool")
    assert (len(spool), spool.damaged) == (0, 0)
    spool.close()


def test_a_spool_that_cannot_be_read_is_read_later(tmp_path: Path) -> None:
    class Broken:
        def __init__(self, file: sqlite3.Connection) -> None:
            self.file, self.faults = file, 3

        def execute(self, statement: str, *values: object) -> object:
            if self.faults and "SELECT" in statement:
                self.faults -= 1
                raise sqlite3.OperationalError("disk I/O error")
            return self.file.execute(statement, *values)  # type: ignore[arg-type]

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    with Writer(lambda events: RecordResult(inserted=len(events)), spool=tmp_path / "spool") as writer:
        assert writer._spool is not None
        writer._spool._file = Broken(writer._spool._file)  # type: ignore[assignment]
        for event in series(UUID(int=7), 10):
            writer.record(event)
        writer.flush(20)
        assert (writer.state.stored, writer.state.retries) == (10, 3)
        assert "disk I/O error" in str(writer.state.last_error)


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupted_commit_keeps_the_events_of_other_threads(tmp_path: Path, late: bool) -> None:
    spool = Spool(tmp_path / "spool")
    commit, write = spool._commit, spool._write
    mine, *others = series(UUID(int=7), 5)
    threads = [threading.Thread(target=spool.append, args=(event,)) for event in others]

    def commit_of_five() -> None:
        spool._commit = commit  # type: ignore[method-assign]
        for thread in threads:
            thread.start()
        while len(spool._buffer) < 5:
            time.sleep(0.001)
        commit()

    def interrupted(*changes: Any) -> None:
        spool._write = write  # type: ignore[method-assign]
        if late:
            write(*changes)
        raise KeyboardInterrupt

    spool._commit, spool._write = commit_of_five, interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        spool.append(mine)
    for thread in threads:
        thread.join()
    events = spool.take(100)[1]
    assert set(map(repr, others)) <= set(map(repr, events))
    assert len(events) == len(spool) <= 5
    assert spool.damaged == 0
    spool.close()
