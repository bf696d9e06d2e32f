"""Quarters of an hour as rows of a file: their columns, and a count and checksum that every server computes alike."""

from __future__ import annotations

from typing import NamedTuple

import psycopg
import pyarrow as pa
from psycopg import sql

from timeseries.database.connections import Connection
from timeseries.database.rows import row
from timeseries.files.export import ARROW_TYPES
from timeseries.model.relations import Family

Columns = dict[str, str]  # the PostgreSQL type of each, by its name; all but camera_id
TIME = "timestamptz"
# The checksum is the sum of the first 60 bits of each row's MD5, so it depends on no order. Floats are written with all
# their digits, times as microseconds, because both are then the same text whatever a server is set to.
SET_DIGITS = "SET LOCAL extra_float_digits = 1"
SELECT_CHECKED = sql.SQL("""
    SELECT count(*), coalesce(sum(('x' || left(md5(ROW ({values})::text), 15))::bit(60)::bigint), 0)
    FROM {rows} AS q
""")
MICROSECONDS = sql.SQL("round(date_part('epoch', {}) * 1000000)::bigint")


class Checked(NamedTuple):
    """How many quarters, and their checksum."""

    rows: int
    checksum: int


def columns_of(connection: Connection, family: Family) -> Columns:
    """The columns of the quarters that this store keeps."""
    query = sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier("public", family.quarters))
    description = connection.execute(query).description or ()
    found = {column.name: psycopg.adapters.types.get(column.type_code) for column in description}
    return {name: info.name if info else "text" for name, info in found.items() if name != "camera_id"}


def values(columns: Columns) -> sql.Composed:
    """The columns of `q`, as they are compared and written."""
    found = {name: sql.Identifier("q", name) for name in columns}
    return sql.SQL(", ").join(
        MICROSECONDS.format(found[name]) if kind == TIME else found[name] for name, kind in columns.items()
    )


def check(connection: Connection, rows: sql.Composable, columns: Columns) -> Checked:
    """Count and checksum of a relation, or of a query in parentheses."""
    connection.execute(SET_DIGITS)
    number, checksum = row(connection, SELECT_CHECKED.format(values=values(columns), rows=rows))
    return Checked(number, int(checksum))


def schema_of(columns: Columns) -> pa.Schema:
    """The columns of a file. Times are in UTC."""
    return pa.schema({name: ARROW_TYPES.get(kind, pa.string()) for name, kind in columns.items()})


def copied_schema(columns: Columns) -> pa.Schema:
    """The same as COPY sends them: times as microseconds since 1970."""
    kinds = {name: pa.int64() if kind == TIME else ARROW_TYPES.get(kind, pa.string()) for name, kind in columns.items()}
    return pa.schema(kinds)
