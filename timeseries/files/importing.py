"""Import of files: cameras are created, events stored, rejected rows written beside the input with their reasons."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np

from timeseries.cameras import Cameras, Groups
from timeseries.database.connections import Pool
from timeseries.errors import InvalidInputError
from timeseries.files.import_cameras import import_cameras, merge_cameras
from timeseries.files.import_groups import import_groups
from timeseries.files.readers import Block, TableFile
from timeseries.files.sqlite_reader import is_sqlite, open_database
from timeseries.ingest import record
from timeseries.ingest.batches import QUARTER_MICROSECONDS, Batch
from timeseries.ingest.columns import Unreadable
from timeseries.ingest.frames import Waiting, camera_ids, family_of, moved, to_batch
from timeseries.model.events import RecordResult, Rejection
from timeseries.model.parsing import parse_zone
from timeseries.model.relations import Family
from timeseries.progress import Progress

FEEDS = {".json": "--format parkapi", ".xml": "--format datex2"}


@dataclass(slots=True)
class Group:
    """Blocks whose events are stored together, and the rejections of their rows; a row is numbered through all."""

    blocks: list[Block] = field(default_factory=list)
    rows: int = 0
    waiting: Waiting = field(default_factory=Waiting)
    rejected: dict[int, Rejection] = field(default_factory=dict)

    def add(self, block: Block, batch: Batch, rejected: Iterable[Rejection]) -> None:
        self.blocks.append(block)
        self.waiting.add(batch, self.rows)
        self.rejected |= moved(rejected, self.rows)
        self.rows += block.table.num_rows

    def reject(self, file: RejectedRows, refused: Iterable[Rejection]) -> None:
        """Write the rejected rows in their order, those that were `refused` by the server, too."""
        reasons = {one.index: one.reason for one in (*self.rejected.values(), *refused)}
        start = 0
        for block in self.blocks:
            end = start + block.table.num_rows
            file.add_rows(block, {row - start: reasons[row] for row in reasons if start <= row < end})
            start = end


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of a file: rows inserted, duplicate and rejected, cameras created, where the rejected rows went (None
    where there are none), and how many memberships of groups were made.
    """

    cameras: int
    inserted: int
    duplicates: int
    rejected: int
    rejected_file: Path | None
    members: int = 0


class EventSource(Protocol):
    """A file of events: how far it is read, of how much, and its blocks, family by family (None: its columns tell)."""

    position: int
    size: int

    def streams(self) -> Iterator[tuple[Family | None, Iterator[Block]]]: ...


def import_file(
    pool: Pool,
    cameras: Cameras,
    path: Path,
    cameras_path: Path | None = None,
    groups: tuple[Groups, Path] | None = None,
    *,
    connections: int = 2,
    naive_timezone: str | None = None,
    match_names: bool = False,
    progress: Progress = None,
) -> ImportResult:
    """Store a file of events in bounded memory: CSV, gzipped CSV, Parquet or a SQLite database.

    Columns of a CSV or Parquet file: `camera` (name or id), `timestamp` (ISO 8601 with offset, or a zoned type), then
    `occupied_count` and perhaps `raw_data` (JSON), or `status` and perhaps `message`. `cameras_path` names a file with
    a row per camera: `camera` (or `name`), and what is known of `timezone`, `capacity`, `hold`, `connection_string`,
    `zone_config`; cameras that exist are left as they are. `groups` come with a file that has a row per membership:
    `group`, `camera`, and perhaps `since`, `until` and, of a new group, `timezone` and `opening_hours`.

    A SQLite database is only read. Its tables are `cameras` (`id`, a UUID, and `name`) and `occupancy_events`
    (`camera_id`, `timestamp`, `occupied_count`) or `health_logs` (`camera_id`, `timestamp`, `status`), or both; the
    other columns of ours may be there. Timestamps are ISO 8601 or seconds since 1970. A camera whose id is known is
    left as it is. One whose name belongs to another id is refused before anything is stored, unless `match_names` says
    that they are the same: the events go to the camera that is there. Connection strings are encrypted on the way; what
    this store's keys have encrypted already is kept.

    History of any age can be imported: its aggregates are committed in the same transaction, so retention cannot run
    between. While some blocks are read, `connections` groups of others are being stored. A second import finds
    duplicates only, and goes on where the first broke off. A naive timestamp is a rejected row, and a SQLite database
    of naive timestamps is refused, unless `naive_timezone` says whose clocks they are of, by IANA name ("UTC", if the
    program wrote UTC).
    `progress` is called with bytes read and bytes in all, of a SQLite database with events.

    Raises:
        InvalidInputError: a file is missing or unreadable, lacks columns, or has a camera that cannot be stored.
        NaiveTimestampError: a SQLite database of naive timestamps, and no `naive_timezone`.
        CameraExistsError: a name of a SQLite database belongs to another camera here.
        SecretError: a connection string, and no key to encrypt it with or to decrypt it.
    """
    zone = parse_zone(naive_timezone) if naive_timezone else None
    with ExitStack() as stack:
        source: EventSource
        if is_sqlite(path):
            if cameras_path is not None:
                raise InvalidInputError(f"{path} has its cameras in it; leave out the file {cameras_path}")
            source = database = stack.enter_context(open_database(path))
            database.refuse_naive(zone)
            created, ids = merge_cameras(cameras, database, zone, match_names)
        elif feed := FEEDS.get(path.suffix):
            raise InvalidInputError(f"{path} is no table; a feed of parking sites is imported by its format: {feed}")
        else:
            source = stack.enter_context(closing(TableFile(path)))
            created = import_cameras(cameras, cameras_path) if cameras_path else 0
            ids = camera_ids(cameras)
        members = import_groups(*groups) if groups else 0
        rejected = stack.enter_context(RejectedRows(path))
        executor = stack.enter_context(ThreadPoolExecutor(connections, "timeseries-import"))
        inserted = duplicates = 0
        for family, blocks in source.streams():
            run = Storing(pool, path, ids, rejected, executor, connections, zone, family=family)
            for block in blocks:
                run.store(block)
                if progress is not None:
                    progress(source.position, source.size)
            run.finish()
            inserted, duplicates = inserted + run.inserted, duplicates + run.duplicates
        where = rejected.path if rejected.count else None
        return ImportResult(created, inserted, duplicates, rejected.count, where, members)


@dataclass(slots=True)
class Storing:
    """A file on its way into the store.

    The rows of the last quarter of an hour of a block wait for the next one: were a quarter split over two
    transactions, retention could take its first half in between, and the second could not be added to the average.
    Blocks are stored in groups, because a transaction computes each quarter, hour and day that it touches once.
    """

    pool: Pool
    path: Path
    ids: dict[str, bytes]
    rejected: RejectedRows
    executor: Executor
    connections: int
    zone: ZoneInfo | None = None
    group: Group = field(default_factory=Group)
    storing: deque[tuple[Group, Future[RecordResult]]] = field(default_factory=deque)
    family: Family | None = None
    held: Block | None = None
    inserted: int = 0
    duplicates: int = 0

    def store(self, block: Block) -> None:
        for number, reason, values in block.broken:
            self.rejected.add(number, reason, values, block.table.schema.names)
        if not block.table.num_rows:
            return
        self.family = self.family or family_of(str(self.path), block.table.schema.names)
        block = self.held.joined(block) if self.held else block
        batch, rejected = to_batch(block.table, self.family, self.ids, self.zone)
        cut = last_quarter(batch, block.table.num_rows)
        self.held = block.tail(cut)
        before = [rejection for row, rejection in rejected.items() if row < cut]
        self.group.add(block.head(cut), batch.take(batch.rows < cut), before)
        if self.group.waiting.is_full():
            self._submit()

    def finish(self) -> None:
        if self.held is not None and self.family is not None:
            batch, rejected = to_batch(self.held.table, self.family, self.ids, self.zone)
            self.group.add(self.held, batch, rejected.values())
        if self.group.blocks:
            self._submit()
        while self.storing:
            self._collect()

    def _submit(self) -> None:
        if len(self.storing) >= self.connections:
            self._collect()
        batch = self.group.waiting.taken()
        self.storing.append((self.group, self.executor.submit(record.store, self.pool, batch)))
        self.group = Group()

    def _collect(self) -> None:
        group, future = self.storing.popleft()
        result = future.result()
        self.inserted += result.inserted
        self.duplicates += result.duplicates
        group.reject(self.rejected, result.rejected)


def last_quarter(batch: Batch, rows: int) -> int:
    """Where the run of rows that share the last row's quarter begins; `rows` where that is more than half of them."""
    if not len(batch):
        return rows
    quarters = batch.times // QUARTER_MICROSECONDS
    others = np.flatnonzero(quarters != quarters[-1])
    cut = int(batch.rows[others[-1]]) + 1 if len(others) else 0
    return cut if cut > rows // 2 else rows


class RejectedRows:
    """The file of rejected rows, beside the input; made when the first row comes, an old one is replaced."""

    def __init__(self, source: Path) -> None:
        self.path = source.with_name(f"{Path(source.name.removesuffix('.gz')).stem}.rejected.csv")
        self.count = 0
        self._file: Any = None

    def __enter__(self) -> RejectedRows:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, number: int, reason: str, values: Sequence[Any], columns: Sequence[str] = ()) -> None:
        if self._file is None:
            self._file = self.path.open("w", newline="", encoding="utf-8", errors="backslashreplace")
            csv.writer(self._file).writerow(["row", "reason", *columns])
        csv.writer(self._file).writerow([number, reason, *values])
        self.count += 1

    def add_rows(self, block: Block, reasons: dict[int, str]) -> None:
        for position in sorted(reasons):
            row = block.row(position)
            values = [value.text if isinstance(value, Unreadable) else value for value in row.values()]
            self.add(block.numbers[position], reasons[position], values, list(row))
