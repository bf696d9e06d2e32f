"""SQLite databases of a proof of concept, with the same three tables: their cameras, and their events as blocks."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID
from zoneinfo import ZoneInfo

import pyarrow as pa

from timeseries.errors import InvalidInputError, NaiveTimestampError
from timeseries.files.readers import BLOCK_ROWS, Block
from timeseries.model.parsing import localize, parse_count, parse_interval, parse_json, parse_timestamp
from timeseries.model.relations import FAMILIES, Family

MAGIC = b"SQLite format 3\0"
SECONDS = re.compile(r"\d{9,}(\.\d+)?")  # shorter ones are dates, like 20260504
FIELDS = ["table", "camera", "timestamp", *(name for family in FAMILIES for name in (family.value, family.extra))]
REQUIRED: dict[str, tuple[str, ...]] = {
    "cameras": ("id", "name"),
    **{family.table: family.columns[:3] for family in FAMILIES},
}
OPTIONAL: dict[str, tuple[str, ...]] = {
    "cameras": (
        "connection_string",
        "zone_config",
        "capacity",
        "desired_state",
        "timezone",
        "hold",
        "created_at",
        "past_capacities",
        "opening_hours",
    ),
    **{family.table: (family.extra,) for family in FAMILIES},
}


def is_sqlite(path: Path) -> bool:
    """Whether a file is a SQLite database, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class Database:
    """A SQLite database, read only and as it is at one moment."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Raises InvalidInputError where its tables are not the three that are wanted."""
        self.path = path
        self._connection = connection
        columns = {table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in REQUIRED}
        self.families = tuple(family for family in FAMILIES if columns[family.table])
        for table, wanted in REQUIRED.items():
            missing = [column for column in wanted if column not in columns[table]]
            if missing and (columns[table] or table == "cameras" or not self.families):
                raise InvalidInputError(
                    f"{path} has another layout: its table {table} lacks {', '.join(missing)}; it needs the tables"
                    " cameras (id, name), occupancy_events (camera_id, timestamp, occupied_count) or health_logs"
                    " (camera_id, timestamp, status); export the events as CSV and import that"
                )
        self.position, self.size = 0, sum(map(self._count, self.families))
        self._columns = {
            table: [*REQUIRED[table], *(column for column in OPTIONAL[table] if column in columns[table])]
            for table in REQUIRED
        }

    def cameras(self, zone: ZoneInfo | None) -> Iterator[dict[str, Any]]:
        """What is known of each camera, as `Cameras.add` takes it; the connection string as it stands there, perhaps
        encrypted. `zone` is that of naive timestamps.

        Raises InvalidInputError that names the camera.
        """
        parsers: dict[str, Callable[[Any], Any]] = {
            "id": parse_id, "name": str, "connection_string": str, "zone_config": parse_json, "capacity": parse_count,
            "desired_state": lowered, "timezone": str, "hold": parse_hold,
            "created_at": lambda value: parse_moment(value, zone), "past_capacities": parse_json,
            "opening_hours": parse_json,
        }  # fmt: skip
        columns = self._columns["cameras"]
        for row in self._connection.execute(f"SELECT {listed(columns)} FROM cameras ORDER BY name"):  # noqa: S608
            given = {column: value for column, value in zip(columns, row, strict=True) if value is not None}
            try:
                if "id" not in given or "name" not in given:
                    raise InvalidInputError("it needs an id and a name")
                yield {column: parsers[column](value) for column, value in given.items()}
            except InvalidInputError as error:
                raise InvalidInputError(f"{self.path}, camera {given.get('name')!r}: {error}") from error

    def refuse_naive(self, zone: ZoneInfo | None) -> None:
        """Raises NaiveTimestampError where the first timestamp of a table is naive; a later one is a rejected row."""
        for family in self.families:
            first = f'SELECT "timestamp" FROM {family.table} WHERE "timestamp" IS NOT NULL LIMIT 1'  # noqa: S608
            for (value,) in self._connection.execute(first):
                try:
                    parse_moment(value, zone)
                except NaiveTimestampError as error:
                    raise NaiveTimestampError(
                        f"{self.path}: {error}; on the command line: --naive-timezone UTC, if that is what it means"
                    ) from error
                except InvalidInputError:
                    pass  # the row will be rejected

    def _count(self, family: Family) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {family.table}").fetchone()[0])  # noqa: S608

    def streams(self) -> Iterator[tuple[Family, Iterator[Block]]]:
        """The blocks of each family that has a table."""
        for family in self.families:
            yield family, self._blocks(family)

    def _blocks(self, family: Family) -> Iterator[Block]:
        """The events in order of time, as text, with the columns `FIELDS`; the numbers are SQLite's row ids."""
        table = family.table
        columns = self._columns[table]
        cursor = self._connection.execute(
            f'SELECT rowid, {listed(columns)} FROM {table} ORDER BY "timestamp", camera_id'  # noqa: S608
        )
        while rows := cursor.fetchmany(BLOCK_ROWS):
            numbers, ids, moments, *others = zip(*rows, strict=True)
            values = {
                "table": [table] * len(rows),
                "camera": map(camera_text, ids),
                "timestamp": map(moment_text, moments),
            }
            values |= {
                name: map(lowered if name == "status" else plain_text, column)
                for name, column in zip(columns[2:], others, strict=True)
            }
            missing = [None] * len(rows)
            self.position += len(rows)
            arrays = [pa.array(list(values.get(name, missing)), pa.string()) for name in FIELDS]
            yield Block(pa.RecordBatch.from_arrays(arrays, FIELDS), list(numbers))


@contextmanager
def open_database(path: Path) -> Iterator[Database]:
    """A SQLite database for reading. Raises InvalidInputError where it cannot be read as such."""
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.text_factory = lambda data: data.decode(errors="backslashreplace")
            connection.execute("BEGIN")
            yield Database(path, connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise InvalidInputError(f"{path} cannot be read as a SQLite database: {error}") from error


def listed(columns: list[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def parse_id(value: object) -> UUID:
    """A camera's id: text with or without hyphens, or sixteen bytes."""
    try:
        return UUID(bytes=value) if isinstance(value, bytes) else UUID(str(value))
    except ValueError:
        raise InvalidInputError(f"the id {value!r:.100} is not a UUID, which a camera's id must be here") from None


@lru_cache(maxsize=10_000)
def camera_text(value: object) -> str:
    """A camera's id as the store writes it, or another value as text."""
    try:
        return str(parse_id(value))
    except InvalidInputError:
        return str(value)


def parse_hold(value: object) -> timedelta:
    """A number of seconds, or text like `12h`."""
    return timedelta(seconds=value) if isinstance(value, int | float) else parse_interval(value)


def parse_moment(value: object, zone: ZoneInfo | None) -> datetime:
    return localize(parse_timestamp(moment_text(value)), zone)


def moment_text(value: object) -> str | None:
    """ISO 8601: numbers, also those that a column of text has made text, are seconds since 1970 in UTC."""
    if isinstance(value, str) and SECONDS.fullmatch(value):
        value = float(value)
    if isinstance(value, int | float):
        try:
            return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)).isoformat()
        except (OverflowError, ValueError):
            pass
    return plain_text(value)


def lowered(value: object) -> str | None:
    """An enum's value; SQLAlchemy writes the names of Python's enums, mostly in capitals."""
    text = plain_text(value)
    return text and text.lower()


def plain_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
