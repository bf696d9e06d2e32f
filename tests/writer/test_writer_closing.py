"""How a writer ends: closed, given up, left alone by its thread, or forgotten."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.support.faults import series
from timeseries import NotStoredError, RecordResult, Rejection, ServerUnavailableError, Writer
from timeseries.writer.spool import Spool


def test_closing_says_what_was_not_stored_and_a_closed_writer_accepts_nothing() -> None:
    def away(events: Any) -> RecordResult:
        raise ServerUnavailableError("away")

    writer = Writer(away)
    for event in series(UUID(int=7), 3):
        writer.record(event)
    with pytest.raises(NotStoredError, match="3 events were accepted and not stored"):
        writer.close(timeout=0.2)
    assert writer.state.retries > 0
    with pytest.raises(NotStoredError, match="closed"):
        writer.record(series(UUID(int=7), 1)[0])


def test_a_call_that_does_not_end_keeps_neither_close_nor_the_next_writer_for_ever(tmp_path: Path) -> None:
    for path in (None, tmp_path / "spool"):
        called, go = threading.Event(), threading.Event()

        def held(events: Any, called: threading.Event = called, go: threading.Event = go) -> RecordResult:
            called.set()
            go.wait()
            return RecordResult(inserted=len(events))

        writer = Writer(held, flush_interval=0.01, spool=path)
        writer.record(series(UUID(int=7), 1)[0])
        assert called.wait(20)
        start = time.monotonic()
        with pytest.raises(NotStoredError, match=r"1 events were accepted and not stored.*under way"):
            writer.close(timeout=0.1)
        assert time.monotonic() - start < 5
        go.set()
        writer.close()
        assert writer.state.pending == 0
        if path is not None:
            Spool(path).close()


def test_flush_raises_where_the_writer_ended_before() -> None:
    def broken(events: Any) -> RecordResult:
        return RecordResult(rejected=(Rejection(len(events), "there is no such event"),))

    writer = Writer(broken, flush_interval=0.01)
    writer.record(series(UUID(int=7), 1)[0])
    for _ in range(2):
        with pytest.raises(NotStoredError, match=r"1 events are not stored yet \(IndexError"):
            writer.flush(timeout=20)
    with pytest.raises(NotStoredError, match="1 events were accepted"):
        writer.close()


FORGETFUL = """
import sys, uuid
from datetime import UTC, datetime, timedelta
from timeseries import OccupancyEvent, RecordResult, ServerUnavailableError, Writer

def record(events):
    if sys.argv[1] == "away":
        raise ServerUnavailableError("away")
    print(len(events), "stored")
    return RecordResult(inserted=len(events))

writer = Writer(record, flush_interval=3600, close_timeout=0.2)
for i in range(3):
    writer.record(OccupancyEvent(uuid.UUID(int=7), datetime(2026, 9, 1, tzinfo=UTC) + timedelta(seconds=i), i))
"""


def test_a_writer_that_nobody_closes_is_closed_when_the_program_ends() -> None:
    def ended(server: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", FORGETFUL, server], capture_output=True, text=True, timeout=60)

    assert ended("there").stdout == "3 stored\n"
    assert "3 events were accepted and not stored, they are lost" in ended("away").stderr
