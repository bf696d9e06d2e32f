"""Events on disk that are not stored yet, so that what was accepted survives a crash: SQLite in WAL mode.

An append returns when its record is synced; appends of several threads share a commit. Each record has a checksum:
one that does not match is skipped and counted. What SQLite finds torn at the end of its log was never accepted.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from uuid import UUID

from timeseries.errors import ConfigurationError, SpoolError
from timeseries.events import Event, HealthLog, OccupancyEvent

SCHEMA = "CREATE TABLE IF NOT EXISTS events (position INTEGER PRIMARY KEY AUTOINCREMENT, checksum INTEGER, event BLOB)"
ADD = "INSERT INTO events (checksum, event) VALUES (?, ?)"


class Spool:
    """A queue of events in one file; one writer at a time."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigurationError where the file is no spool, cannot be written, or another writer has it."""
        self.path = path
        self.damaged = 0
        self._buffer: list[tuple[int, bytes]] = []
        self._added = self._committed = 0
        self._buffering = threading.Lock()
        self._using = threading.Lock()
        try:
            self._file = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
            self._file.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.execute("BEGIN IMMEDIATE")
            self._file.execute(SCHEMA)
            self._file.execute("COMMIT")
            self._length = int(self._file.execute("SELECT count(*) FROM events").fetchone()[0])
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"cannot use the spool {path}: {error}; if another writer has it, give each writer its own file"
            ) from error

    def __len__(self) -> int:
        return self._length

    def append(self, event: Event) -> None:
        """Accept an event; it is on disk on return. Raises SpoolError where the disk refuses: it is not accepted."""
        record = encode(event)
        with self._buffering:
            self._buffer.append(record)
            self._added += 1
            ticket = self._added
        with self._using:
            if self._committed >= ticket:
                return  # another thread's commit took it along
            with self._buffering:
                records, self._buffer = self._buffer, []
                upto = self._added
            try:
                self._write(ADD, records)
            except sqlite3.Error as error:
                with self._buffering:
                    others = [other for other in records if other is not record]
                    self._buffer = others + self._buffer
                raise SpoolError(f"the spool {self.path} did not take the event: {error}") from error
            self._committed = upto
            self._length += len(records)

    def take(self, number: int) -> tuple[list[int], list[Event]]:
        """The oldest records, up to this many: their positions, and the events of those that can be read. They stay
        until `remove`.
        """
        with self._using:
            rows = self._file.execute(
                "SELECT position, checksum, event FROM events ORDER BY position LIMIT ?", [number]
            ).fetchall()
        events = [decode(text) for _, checksum, text in rows if zlib.crc32(text) == checksum]
        self.damaged += len(rows) - len(events)
        return [position for position, _, _ in rows], events

    def remove(self, positions: Iterable[int]) -> None:
        """Forget events that are stored. Failing is harmless: they are stored again as duplicates."""
        wanted = [(position,) for position in positions]
        with self._using:
            self._write("DELETE FROM events WHERE position = ?", wanted)
            self._length -= len(wanted)

    def _write(self, statement: str, rows: list[tuple[int, bytes]] | list[tuple[int]]) -> None:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            self._file.executemany(statement, rows)
            self._file.execute("COMMIT")
        except BaseException:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Give the file back."""
        with self._using:
            self._file.close()


def encode(event: Event) -> tuple[int, bytes]:
    """Checksum and JSON of a checked event."""
    fields = [str(event.camera_id), event.timestamp.isoformat()]
    values = (
        ["occupancy", *fields, int(event.occupied_count), event.raw_data]
        if isinstance(event, OccupancyEvent)
        else ["health", *fields, event.status, event.message]
    )
    text = json.dumps(values, ensure_ascii=False).encode()
    return zlib.crc32(text), text


def decode(text: bytes) -> Event:
    family, camera_id, timestamp, *values = json.loads(text)
    at = datetime.fromisoformat(timestamp)
    return (OccupancyEvent if family == "occupancy" else HealthLog)(UUID(camera_id), at, *values)
