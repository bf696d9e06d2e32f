"""A database that was recovered to an earlier moment: what it forgot and the spool kept is stored again, or it is said.

The database here is a list of keys, which a test cuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from tests.support.faults import series
from timeseries import RecordResult, Writer
from timeseries.model.events import Event

CAMERA = UUID(int=7)
EVENTS = series(CAMERA, 60)


class Database:
    """Keeps events in the order in which they came, and forgets the last of them."""

    def __init__(self) -> None:
        self.events: dict[Event, None] = {}
        self.identity: str | None = "1"

    def record(self, events: Sequence[Event]) -> RecordResult:
        new = [event for event in events if event not in self.events]
        self.events |= dict.fromkeys(new)
        return RecordResult(inserted=len(new), duplicates=len(events) - len(new))

    def recover(self, number: int) -> None:
        self.events = dict.fromkeys(list(self.events)[:number])
        self.identity = str(number) + "'"


def opened(database: Database, folder: Path, keep: float) -> Writer:
    return Writer(
        database.record, spool=folder / "spool", batch_size=5, flush_interval=0.02, keep_delivered=keep,
        identify=lambda: database.identity,
    )  # fmt: skip


def store(writer: Writer, events: Sequence[Event]) -> None:
    for event in events:
        writer.record(event)
    writer.flush(10)


@pytest.mark.parametrize("restarted", [False, True])
def test_what_the_spool_kept_is_stored_again(tmp_path: Path, restarted: bool) -> None:
    database = Database()
    writer = opened(database, tmp_path, 3600)
    store(writer, EVENTS[:40])
    if restarted:
        writer.close()
    database.recover(17)
    if restarted:
        writer = opened(database, tmp_path, 3600)
    store(writer, EVENTS[40:])
    assert set(database.events) == set(EVENTS)
    assert (writer.state.replayed, writer.state.lost_before, writer.state.damaged) == (40, None, 0)
    writer.close()


def test_a_recovery_that_forgot_nothing_is_no_loss(tmp_path: Path) -> None:
    database = Database()
    with opened(database, tmp_path, 0) as writer:
        store(writer, EVENTS[:40])
        database.recover(40)
        store(writer, EVENTS[40:])
        assert (writer.state.replayed, writer.state.lost_before) == (1, None)
    assert list(database.events) == EVENTS


@pytest.mark.parametrize("forgotten", [2, 23])
def test_what_the_spool_did_not_keep_is_said_to_be_lost(
    tmp_path: Path, forgotten: int, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database()
    with opened(database, tmp_path, 0) as writer:
        store(writer, EVENTS[:40])
        database.recover(40 - forgotten)
        store(writer, EVENTS[40:])
        assert writer.state.replayed == 1
        assert writer.state.lost_before is not None
    assert set(EVENTS) - set(database.events) == set(EVENTS[40 - forgotten : 39])
    assert "events delivered before" in caplog.text


def test_a_second_recovery_is_seen_as_the_first_was(tmp_path: Path) -> None:
    database = Database()
    with opened(database, tmp_path, 3600) as writer:
        for end in (20, 40, 60):
            store(writer, EVENTS[end - 20 : end])
            assert set(database.events) == set(EVENTS[:end])
            database.recover(end // 3)
        store(writer, EVENTS[:1])
        assert set(database.events) == set(EVENTS)
        assert writer.state.lost_before is None


def test_a_server_that_does_not_say_which_it_is_changes_nothing(tmp_path: Path) -> None:
    database = Database()
    database.identity = None
    with opened(database, tmp_path, 3600) as writer:
        store(writer, EVENTS)
        assert writer.state.replayed == 0
