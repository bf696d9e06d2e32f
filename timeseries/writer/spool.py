"""Events on disk that are not stored yet, so that accepted events survive a crash: SQLite in WAL mode.

An append returns when its record is synced; appends of several threads share a commit. Each record has a checksum, and
a checkpoint beside the file says which positions were accepted, so that damaged and missing records are counted. A torn
end of SQLite's log beyond the checkpoint was never accepted.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import secrets
import sqlite3
import threading
import time
import zlib
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from timeseries.errors import ConfigurationError, SpoolError
from timeseries.model.events import Event, HealthLog, OccupancyEvent
from timeseries.writer.checkpoint import SpoolCheckpoint

log = logging.getLogger(__name__)
# Beside the events: up to which position was delivered when, and to which database.
CREATE_TABLES = (
    "CREATE TABLE IF NOT EXISTS events (position INTEGER PRIMARY KEY AUTOINCREMENT, checksum INTEGER, event BLOB)",
    "CREATE TABLE IF NOT EXISTS deliveries (position INTEGER PRIMARY KEY, at REAL)",
    "CREATE TABLE IF NOT EXISTS receiver (only_row INTEGER PRIMARY KEY, identity TEXT)",
)
# A row beyond the last accepted position is left from an interrupted commit, and is overwritten.
INSERT_EVENT = "INSERT OR REPLACE INTO events (position, checksum, event) VALUES (?, ?, ?)"
SELECT_WAITING = """
    SELECT position, checksum, event FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?
"""
COUNT_EVENTS = """
    SELECT count(*), count(*) FILTER (WHERE position <= ?), coalesce(max(position), 0) FROM events WHERE position > ?
"""
INSERT_DELIVERY = "INSERT OR REPLACE INTO deliveries (position, at) VALUES (?, ?)"
# The last delivered event always stays, because whether a recovered database has it tells whether events are lost.
DELETE_DELIVERED = """
    DELETE FROM events
    WHERE position < ? AND position <= (SELECT coalesce(max(position), 0) FROM deliveries WHERE at <= ?)
"""
DELETE_DELIVERIES = "DELETE FROM deliveries WHERE position < (SELECT max(position) FROM deliveries WHERE at <= ?)"
SELECT_KEPT = """
    SELECT number, first, (SELECT min(at) FROM deliveries WHERE position >= first)
    FROM (SELECT count(*) AS number, min(position) AS first FROM events WHERE position <= ?)
"""
SELECT_RECEIVER = "SELECT identity FROM receiver"
SET_RECEIVER = "INSERT OR REPLACE INTO receiver (only_row, identity) VALUES (1, ?)"
Row = tuple[int, int, bytes]
Change = tuple[str, list[Any]]


class Kept(NamedTuple):
    """Delivered events that wait again: how many, and when the oldest was delivered (None: it is not known)."""

    number: int
    since: datetime | None


class Spool:
    """A queue of events in one file; one writer at a time. What was delivered stays for `keep_delivered` seconds."""

    def __init__(self, path: Path, keep_delivered: float = 0.0) -> None:
        """Raises ConfigurationError where the file is no spool, cannot be written, or another writer has it."""
        self.path = path
        self._keep_delivered = keep_delivered
        self._checkpoint = SpoolCheckpoint(path.with_name(path.name + ".mark"))
        self._tickets = count(1)
        self._buffer: dict[int, tuple[int, bytes]] = {}  # records on their way to disk, by ticket
        self._buffering = threading.Lock()
        self._using = threading.Lock()
        self._closed = False
        try:
            self._file = connect(path)
            self._identity, marked, self._delivered = self._identify()
            rows, known, last = self._file.execute(COUNT_EVENTS, [marked, self._delivered]).fetchone()
            self._receiver: str | None = (self._file.execute(SELECT_RECEIVER).fetchone() or [None])[0]
        except sqlite3.Error as error:
            raise ConfigurationError(
                f"cannot use the spool {path}: {error}; if another writer has it, give each writer its own file"
            ) from error
        self._top: int = max(marked, self._delivered, last)
        self._skipped: int = self._top - rows  # positions below the top that do not count
        self._settled = 0
        self._taken = self._delivered, 0
        self.damaged = max(0, marked - self._delivered - known)
        if self.damaged:
            log.error("the spool %s was damaged, %d accepted events are missing", path, self.damaged)

    def _identify(self) -> tuple[int, int, int]:
        """The checkpoint, unless it belongs to another file that had this name."""
        identity, marked, delivered = self._checkpoint.read()
        (own,) = self._file.execute("PRAGMA user_version").fetchone()
        if own not in (0, identity):
            return own, 0, 0
        identity = identity or secrets.randbelow(2**31 - 1) + 1
        if not own:
            self._file.execute(f"PRAGMA user_version = {identity}")
        return identity, marked, delivered

    @property
    def accepted(self) -> int:
        """Events found at the opening and accepted since."""
        return self._top - self._skipped

    @property
    def bytes(self) -> int:
        """On disk, with what SQLite keeps beside the file."""
        return sum(file.stat().st_size for file in self.path.parent.glob(f"{glob.escape(self.path.name)}*"))

    def __len__(self) -> int:
        return self.accepted - self._settled

    def append(self, event: Event) -> None:
        """Accept an event; it is on disk on return. Raises SpoolError where the disk refuses: it is not accepted."""
        record = encode(event)
        ticket = next(self._tickets)
        with self._buffering:
            self._buffer[ticket] = record
        try:
            with self._using:
                if ticket in self._buffer:  # else another thread's commit took it along
                    self._commit()
        except BaseException as error:
            with self._using, self._buffering:
                self._buffer.pop(ticket, None)
            if isinstance(error, sqlite3.Error | OSError):
                raise SpoolError(f"the spool {self.path} did not take the event: {error}") from error
            raise

    def _commit(self) -> None:
        """Write the buffer. A record leaves it only when it is accepted, so that records of other threads survive an
        interrupt of this one: the next thread writes them again at the same positions.
        """
        with self._buffering:
            records = list(self._buffer.items())
        rows = [(self._top + i, *record) for i, (_, record) in enumerate(records, 1)]
        try:
            self._write((INSERT_EVENT, rows))
        except sqlite3.Error:
            if len(self) or self._closed:
                raise
            self._renew()
            self._write((INSERT_EVENT, rows))
        top = self._top + len(rows)
        self._checkpoint.write(self._identity, top, self._delivered)
        self._top = top
        with self._buffering:
            for ticket, _ in records:
                del self._buffer[ticket]

    def take(self, number: int) -> tuple[int, list[Event]]:
        """The oldest records, up to this many: how many they are, and the events of those that can be read. They stay
        until `remove`. Raises SpoolError where the disk refuses.
        """
        try:
            with self._using:
                number = min(number, len(self))
                rows = self._file.execute(SELECT_WAITING, [self._delivered, self._top, number]).fetchall()
                self._taken = (rows[-1][0] if len(rows) == number > 0 else self._top), number
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self.path} cannot be read: {error}") from error
        events = [event for row in rows if (event := self._read(row)) is not None]
        if missing := number - len(rows):
            log.error("%d records of the spool %s are missing", missing, self.path)
        self.damaged += number - len(events)
        return number, events

    def _read(self, row: Row) -> Event | None:
        position, checksum, text = row
        try:
            if zlib.crc32(text) == checksum:
                return decode(text)
            reason = "its checksum does not match"
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = str(error)
        log.error("record %d of the spool %s is damaged and skipped: %s", position, self.path, reason)
        return None

    def remove(self) -> None:
        """Delete the records that were taken last, because they are stored, when they were kept for long enough. Where
        the disk refuses, they stay below the delivered position of the checkpoint, and the next call deletes them.
        """
        now = time.time()
        cut = now - self._keep_delivered
        with self._using:
            self._delivered, number = self._taken
            self._settled += number
            self._taken = self._delivered, 0
            self._checkpoint.write(self._identity, self._top, self._delivered, sync=True)
            try:
                self._write(
                    (INSERT_DELIVERY, [(self._delivered, now)]),
                    (DELETE_DELIVERED, [(self._delivered, cut)]),
                    (DELETE_DELIVERIES, [(cut,)]),
                )
            except sqlite3.Error as error:
                log.warning("the spool %s keeps events that are stored, for now: %s", self.path, error)

    def delivered_to(self, identity: str) -> Kept | None:
        """Note which database was delivered to, before `remove`. Where it is another than before, what is kept waits
        again, and what was taken last as well. Raises SpoolError where the disk refuses.
        """
        if identity == self._receiver:
            return None
        kept = None
        try:
            with self._using:
                if self._receiver is not None:
                    kept = self._rewind()
                self._write((SET_RECEIVER, [(identity,)]))
        except sqlite3.Error as error:
            raise SpoolError(f"the spool {self.path} cannot be read: {error}") from error
        self._receiver = identity
        return kept

    def _rewind(self) -> Kept:
        """The checkpoint goes back first, because a crash then repeats events and forgets none."""
        number, first, since = self._file.execute(SELECT_KEPT, [self._delivered]).fetchone()
        if number:
            self._delivered = first - 1
            self._settled -= number
            self._taken = self._delivered, 0
            self._checkpoint.write(self._identity, self._top, self._delivered, sync=True)
        return Kept(number, datetime.fromtimestamp(since, UTC) if since is not None else None)

    def _write(self, *changes: Change) -> None:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            for statement, rows in changes:
                self._file.executemany(statement, rows)
            self._file.execute("COMMIT")
        except BaseException:
            if self._file.in_transaction:
                self._file.execute("ROLLBACK")
            raise

    def _renew(self) -> None:
        """Begin with an empty file, which is safe because nothing waits: on a full disk SQLite has no room for a
        DELETE. What was kept of the delivered goes.

        The file is truncated before its log, and both under the lock, so that SQLite finds an empty spool at any
        moment.
        """
        os.truncate(self.path, 0)
        os.truncate(f"{self.path}-wal", 0)
        self._file.close()
        self._file = connect(self.path)
        self._file.execute(f"PRAGMA user_version = {self._identity}")
        if self._receiver is not None:
            self._write((SET_RECEIVER, [(self._receiver,)]))

    def close(self) -> None:
        """Close the file and release its lock."""
        with self._using:
            self._closed = True
            self._file.close()


def connect(path: Path) -> sqlite3.Connection:
    """A connection that has the file to itself."""
    file = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
            file.execute(f"PRAGMA {setting}")
        file.execute("BEGIN IMMEDIATE")
        for statement in CREATE_TABLES:
            file.execute(statement)
        file.execute("COMMIT")
    except BaseException:
        file.close()
        raise
    return file


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
