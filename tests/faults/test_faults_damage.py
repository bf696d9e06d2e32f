"""Spools whose files are damaged: what is lost is counted, what is left is stored."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.faults import AT, series
from timeseries import OccupancyEvent, RecordResult, Writer
from timeseries.model.events import Event
from timeseries.writer.checkpoint import SpoolCheckpoint
from timeseries.writer.spool import Spool

pytestmark = pytest.mark.slow

ACKNOWLEDGING = """
import os, sys, uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from timeseries import OccupancyEvent
from timeseries.writer.spool import Spool

spool = Spool(Path(sys.argv[1]))
for i in range(20):
    spool.append(OccupancyEvent(uuid.UUID(int=7), datetime(2026, 9, 1, tzinfo=UTC) + timedelta(seconds=i), i))
if sys.argv[2:]:
    spool._checkpoint.write = lambda *positions: os._exit(0)
    spool.append(OccupancyEvent(uuid.UUID(int=7), datetime(2026, 9, 2, tzinfo=UTC), 20))
os._exit(0)
"""


class Kept:
    """Stands where the store would."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, events: Sequence[Event]) -> RecordResult:
        self.events += events
        return RecordResult(inserted=len(events))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Copies what is left of a spool whose process was killed after it acknowledged twenty events."""
    folders = {}
    for last in ("acknowledged", "not acknowledged"):
        folders[last] = tmp_path_factory.mktemp("killed")
        words = [str(folders[last] / "spool"), *([last] if last.startswith("not") else [])]
        subprocess.run([sys.executable, "-c", ACKNOWLEDGING, *words], check=True)

    def copy(to: Path, last: str = "acknowledged") -> Path:
        shutil.copytree(folders[last], to, dirs_exist_ok=True)
        return to / "spool"

    return copy


@pytest.mark.parametrize("damage", ["flipped", "cut", "header", "gone"])
def test_what_a_damaged_log_lost_is_counted(killed: Callable[..., Path], tmp_path: Path, damage: str) -> None:
    path = killed(tmp_path)
    wal = tmp_path / "spool-wal"
    content = wal.read_bytes()
    middle = len(content) // 2 if damage == "flipped" else 10
    if damage == "gone":
        wal.unlink()
    elif damage == "cut":
        wal.write_bytes(content[: len(content) // 2])
    else:
        wal.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    got = Kept()
    with Writer(got, spool=path, flush_interval=60) as writer:  # stores nothing before the look
        pending = writer.state.pending
        writer.record(OccupancyEvent(UUID(int=7), AT, 99))
    assert pending < 20
    assert writer.state.damaged == 20 - pending
    assert len(got.events) == pending + 1
    assert [event.occupied_count for event in got.events if isinstance(event, OccupancyEvent)] == [*range(pending), 99]
    with Writer(got, spool=path) as writer:
        assert (writer.state.pending, writer.state.damaged) == (0, 0)


@pytest.mark.parametrize("torn", [False, True])
def test_an_event_that_was_never_acknowledged_is_no_loss(
    killed: Callable[..., Path], tmp_path: Path, torn: bool
) -> None:
    path = killed(tmp_path, "not acknowledged")
    if torn:
        wal = tmp_path / "spool-wal"
        wal.write_bytes(wal.read_bytes()[:-1])
    spool = Spool(path)
    assert (len(spool), spool.damaged) == (20 if torn else 21, 0)
    spool.close()


@pytest.mark.parametrize("mark", ["none", "torn", "of another spool"])
def test_a_mark_that_is_not_its_own_is_not_believed(killed: Callable[..., Path], tmp_path: Path, mark: str) -> None:
    path = killed(tmp_path)
    beside = tmp_path / "spool.mark"
    if mark == "none":
        beside.unlink()
    elif mark == "torn":
        beside.write_bytes(beside.read_bytes()[:7])
    else:
        SpoolCheckpoint(beside).write(1, 10, 10)
    spool = Spool(path)
    assert (len(spool), spool.damaged) == (20, 0)
    assert len(spool.take(100)[1]) == 20
    spool.close()


def test_the_mark_is_synced_before_records_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool")
    for event in series(UUID(int=7), 10):
        spool.append(event)
    mark, on_disk = tmp_path / "spool.mark", b""

    def sync(file: int) -> None:
        nonlocal on_disk
        on_disk = mark.read_bytes()

    monkeypatch.setattr(os, "fsync", sync)
    spool.take(4)
    spool.remove()
    spool.append(*series(UUID(int=7), 1))
    spool.close()
    assert on_disk
    mark.write_bytes(on_disk)  # as after a power cut
    spool = Spool(tmp_path / "spool")
    assert (len(spool), spool.damaged) == (7, 0)
    spool.close()


def test_a_record_that_cannot_be_decoded_is_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    spool = Spool(path)
    for event in series(UUID(int=7), 10):
        spool.append(event)
    spool.close()
    with contextlib.closing(sqlite3.connect(path)) as file, file:
        for position, text in enumerate((b'["occupancy", "x", "NaT"]', b'["occupancy", 1, 2]', b"[1]", b"{}"), 3):
            values = [zlib.crc32(text), text, position]
            file.execute("UPDATE events SET checksum = ?, event = ? WHERE position = ?", values)
    got = Kept()
    with Writer(got, spool=path) as writer:
        pass
    assert (len(got.events), writer.state.damaged, writer.state.pending) == (6, 4, 0)
