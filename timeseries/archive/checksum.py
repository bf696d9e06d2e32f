"""Count and checksum of raw rows, the same from the table on the server and from a file of the archive.

The checksum is the sum, over the rows, of the first 60 bits of each row's MD5. It depends on no order. MD5 is what
every PostgreSQL has; here it guards against faults and not against forgery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from timeseries.database.connections import Connection
from timeseries.database.rows import row
from timeseries.model.relations import Family

MICROSECONDS = """round(date_part('epoch', "timestamp") * 1000000)::bigint"""
SELECT_CHECKSUM = """
    SELECT count(*), coalesce(sum(('x' || left(md5(concat_ws('|', camera_id, {micros}, {value}, {extra})), 15))
                                  ::bit(60)::bigint), 0)
    FROM public.{events}
    WHERE "timestamp" >= %s AND "timestamp" < %s
"""


class Checked(NamedTuple):
    """How many rows, and their checksum."""

    rows: int
    checksum: int


def of_table(connection: Connection, family: Family, start: datetime, end: datetime) -> Checked:
    """Of the raw rows in [start, end)."""
    query = sql.SQL(SELECT_CHECKSUM).format(
        micros=sql.SQL(MICROSECONDS), value=sql.Identifier(family.value), extra=sql.Identifier(family.extra),
        events=sql.Identifier(family.table),
    )  # fmt: skip
    rows, checksum = row(connection, query, [start, end])
    return Checked(rows, int(checksum))


def of_batches(batches: Iterable[pa.RecordBatch]) -> Checked:
    """Of batches with the columns of an archived file."""
    rows = checksum = 0
    for batch in batches:
        camera, at, value, extra = batch.columns
        texts = [camera, at.cast(pa.int64()).cast(pa.string()), value.cast(pa.string()), extra, "|"]
        joined = pc.binary_join_element_wise(*texts, null_handling="skip").cast(pa.binary())
        rows += len(joined)
        checksum += sum(
            int.from_bytes(hashlib.md5(text, usedforsecurity=False).digest()[:8]) >> 4 for text in joined.to_pylist()
        )
    return Checked(rows, checksum)
