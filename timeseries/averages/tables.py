"""Tables of what is configured as files: of cameras and groups every column that another store can take, so that one
that is added to a table travels by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from timeseries.database.connections import Connection
from timeseries.errors import InvalidInputError
from timeseries.files.export import ARROW_TYPES
from timeseries.model.relations import WATERMARK_CAMERA

Row = dict[str, Any]
# Texts of dates and intervals are then the same whatever a server is set to.
SET_STYLES = "SET LOCAL datestyle = 'ISO'; SET LOCAL intervalstyle = 'postgres'"
SELECT_COLUMNS = """
    SELECT a.attname, t.typname
    FROM pg_attribute AS a
    JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
      AND a.attname <> ALL (%s)
    ORDER BY a.attnum
"""
SELECT_ROWS = sql.SQL("SELECT {columns} FROM {relation} ORDER BY {columns}")
NOTHING = sql.SQL("")
INSERT_ROW = sql.SQL("INSERT INTO {relation} ({columns}) VALUES ({values}) {conflict}")


@dataclass(frozen=True, slots=True)
class Configured:
    """A table, its file, and its columns that stay behind: secrets, and what the database alone sets."""

    schema: str
    name: str
    file: str
    stay: tuple[str, ...] = ()

    @property
    def relation(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


CAMERAS = Configured(
    "public", "cameras", "cameras.parquet", ("connection_string", "revision", "changed_at", "changed_by")
)
GROUPS = Configured("public", "camera_groups", "groups.parquet")
MEMBERS = Configured("public", "group_members", "group_members.parquet", ("id",))
PERIODS = Configured("timeseries", "periods", "periods.parquet", ("id", "changed_at", "changed_by"))
ALL = (CAMERAS, GROUPS, MEMBERS, PERIODS)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is configured of some cameras. A group is there where all its members are, because a part of a lot would
    have its name and other numbers.
    """

    cameras: pa.Table
    groups: pa.Table
    members: pa.Table
    periods: pa.Table


def configuration(connection: Connection, chosen: Collection[str] | None) -> Configuration:
    """Of the cameras of these ids, of all without any."""
    cameras, groups, members, periods = (read(connection, table) for table in ALL)
    cameras = cameras.filter(pc.not_equal(cameras["name"], WATERMARK_CAMERA))
    if chosen is None:
        return Configuration(cameras, groups, members, periods)
    inside = _having(members, "camera_id", chosen)
    whole = {*inside["group_id"].to_pylist()} - {
        row["group_id"] for row in members.to_pylist() if row["camera_id"] not in chosen
    }
    return Configuration(
        _having(cameras, "id", chosen), _having(groups, "id", whole), _having(inside, "group_id", whole),
        _having(periods, "camera_id", chosen),
    )  # fmt: skip


def _having(table: pa.Table, column: str, values: Collection[str]) -> pa.Table:
    return table.filter(pa.array([value in values for value in table[column].to_pylist()], pa.bool_()))


def columns_of(connection: Connection, table: Configured) -> dict[str, str]:
    """The columns that travel, and the PostgreSQL type of each."""
    named = f"{table.schema}.{table.name}"
    return dict(connection.execute(SELECT_COLUMNS, [named, list(table.stay)]).fetchall())


def read(connection: Connection, table: Configured) -> pa.Table:
    """All rows, in the order of their columns."""
    connection.execute(SET_STYLES)
    columns = columns_of(connection, table)
    rows = connection.execute(SELECT_ROWS.format(columns=_as_written(columns), relation=table.relation)).fetchall()
    schema = pa.schema({name: ARROW_TYPES.get(kind, pa.string()) for name, kind in columns.items()})
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], schema)


def _as_written(columns: dict[str, str]) -> sql.Composed:
    """Numbers and times as they are, anything else as its text, which every server reads."""
    shown = [
        sql.Identifier(name) if kind in ARROW_TYPES else sql.SQL("{}::text").format(sql.Identifier(name))
        for name, kind in columns.items()
    ]
    return sql.SQL(", ").join(shown)


def require_columns(connection: Connection, table: Configured, rows: Sequence[Row]) -> None:
    """Raise InvalidInputError where rows of a file have a column that this store lacks."""
    unknown = sorted({name for row in rows for name in row} - {*columns_of(connection, table)})
    if unknown:
        raise InvalidInputError(
            f"this store does not know the column {unknown[0]!r} of {table.name}: a newer version exported it; install"
            " that version and run timeseries migrate"
        )


def insert(connection: Connection, table: Configured, row: Row, conflict: sql.SQL = NOTHING) -> bool:
    """Store a row; False where `conflict` says that it is not to be."""
    query = INSERT_ROW.format(
        relation=table.relation, columns=sql.SQL(", ").join(map(sql.Identifier, row)),
        values=sql.SQL(", ").join(sql.Placeholder() * len(row)), conflict=conflict,
    )  # fmt: skip
    return connection.execute(query, [*row.values()]).rowcount == 1
