"""The Parquet file of one UTC day of raw rows: written from COPY, read back before it counts."""

from __future__ import annotations

from datetime import date, datetime
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql

from timeseries.archive.checksum import MICROSECONDS, Checked, of_batches
from timeseries.archive.destination import Destination
from timeseries.database.connections import Connection
from timeseries.errors import ArchiveError
from timeseries.files.copy_reader import CopyReader
from timeseries.model.relations import OCCUPANCY, Family

ROW_GROUP = 1_000_000
LARGEST_ROW = 64 << 20  # bytes of one row with its JSON, because a day that cannot be archived stays for good
ROW_GROUP_BYTES = 128 << 20
CHECKSUM = b"timeseries.checksum"
# By camera, because most readers want few of them: the statistics of row groups lead to their rows.
COPY_DAY = """
    COPY (
        SELECT camera_id, {micros}, {value}, {extra}
        FROM public.{events}
        WHERE "timestamp" >= {start} AND "timestamp" < {end}
        ORDER BY camera_id, "timestamp"
    ) TO STDOUT (FORMAT CSV)
"""


def path_of(family: Family, day: date, part: int) -> str:
    return f"{family.table}/day={day}/part-{part}.parquet"


def schema_of(family: Family) -> pa.Schema:
    """The columns of a file. `timestamp` is in UTC, JSON is text."""
    value = pa.int32() if family is OCCUPANCY else pa.string()
    return pa.schema(
        {
            "camera_id": pa.string(),
            "timestamp": pa.timestamp("us", tz="UTC"),
            family.value: value,
            family.extra: pa.string(),
        }
    )


def write(
    destination: Destination, path: str, connection: Connection, family: Family, start: datetime, end: datetime,
    wanted: Checked,
) -> None:  # fmt: skip
    """Write the raw rows of [start, end) in the caller's snapshot, in which they were `wanted`.

    Raises ArchiveError, and leaves an older file as it is, where what is read back is something else.
    """
    query = sql.SQL(COPY_DAY).format(
        micros=sql.SQL(MICROSECONDS), value=sql.Identifier(family.value), extra=sql.Identifier(family.extra),
        events=sql.Identifier(family.table), start=sql.Literal(start), end=sql.Literal(end),
    )  # fmt: skip
    destination.replace(
        path,
        partial(_copy, connection, query, schema_of(family), wanted.checksum),
        lambda written: verify(destination, written, wanted),
    )


def _copy(connection: Connection, query: sql.Composed, schema: pa.Schema, checksum: int, file: pa.NativeFile) -> None:
    sent = schema.set(1, pa.field("timestamp", pa.int64()))
    marked = schema.with_metadata({CHECKSUM: str(checksum).encode()})
    with connection.cursor().copy(query) as source, pq.ParquetWriter(file, marked, compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in CopyReader(source).batches(sent, LARGEST_ROW):
            waiting.append(batch)
            if sum(map(len, waiting)) >= ROW_GROUP or sum(one.nbytes for one in waiting) >= ROW_GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting).cast(marked))
                waiting = []
        writer.write_table(pa.Table.from_batches(waiting, sent).cast(marked))


def footer(destination: Destination, path: str) -> Checked | None:
    """What the file says of itself, None where there is none. Its rows are not read."""
    if not destination.exists(path):
        return None
    with destination.reporting(f"read {path}"), destination.files.open_input_file(path) as file:
        metadata = pq.read_metadata(file)
    return Checked(metadata.num_rows, int((metadata.metadata or {}).get(CHECKSUM, b"-1")))


def verify(destination: Destination, path: str, wanted: Checked) -> None:
    """Read all rows back. Raises ArchiveError where they are not those that are wanted."""
    with destination.reporting(f"read {path}"), destination.files.open_input_file(path) as file:
        found = of_batches(pq.ParquetFile(file).iter_batches())
    if found != wanted:
        raise ArchiveError(
            f"{path} in the archive {destination.name} holds {found.rows:,} rows (checksum {found.checksum}), and not"
            f" the {wanted.rows:,} rows (checksum {wanted.checksum}) that it should: the disk or the network changes"
            " what is written; check them, and archive again"
        )
