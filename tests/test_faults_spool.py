"""Processes that are killed and disks of the spool that are full: what was accepted is stored.

Each test ends by comparing the set of stored keys with the set of accepted ones. `make test PYTEST="-s -k faults"`
prints how many events were sent and how many faults they met.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from faults import AT, assert_exactly, series, stored_keys
from servers import is_root

from timeseries import NotStoredError, OccupancyEvent, SpoolError, Store

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


def test_a_full_disk_refuses_events_loudly_and_keeps_the_others(store: Store, small_disk: Path) -> None:
    camera = store.cameras.add("lot").id
    accepted, refused = [], 0
    writer = store.writer(spool=small_disk / "spool", batch_size=1000, flush_interval=3600)
    for event in series(camera, 400):
        event = OccupancyEvent(camera, event.timestamp, event.occupied_count, {"boxes": "x" * 5000})
        try:
            writer.record(event)
            accepted.append(event)
        except SpoolError:
            refused += 1
    assert accepted
    with contextlib.suppress(NotStoredError, SpoolError):
        writer.close()
    assert_exactly(store.url, accepted, refused, "disk of the spool full")
