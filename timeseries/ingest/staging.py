"""Storing through a staging table, where COPY meets a duplicate or an unknown camera: a slice is split by its fate."""

from __future__ import annotations

from functools import cache
from uuid import UUID

import numpy as np
from psycopg import sql

from timeseries.database.connections import Connection
from timeseries.ingest.batches import Batch
from timeseries.model.events import MICROSECOND, POSTGRES_EPOCH, RecordResult, Rejection, RejectionKind, microseconds
from timeseries.model.relations import Family

TOO_FAR_AHEAD = "the timestamp is more than 5 minutes ahead of the clock; check the camera's clock"
STAGING = sql.Identifier("pg_temp", "incoming")

CREATE_STAGING = sql.SQL("CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA")
DELETE_ORPHANS = sql.SQL("""
    DELETE FROM {staging} AS i WHERE NOT EXISTS (SELECT FROM public.cameras AS c WHERE c.id = i.camera_id)
    RETURNING i.camera_id, i."timestamp"
""")
DELETE_AHEAD = sql.SQL("""
    DELETE FROM {staging} AS i WHERE i."timestamp" > now() + interval '5 minutes'
    RETURNING i.camera_id, i."timestamp"
""")
UPDATE_REPLACED = sql.SQL("""
    UPDATE {target} AS t SET ({values}) = ROW ({new_values}) FROM {staging} AS i
    WHERE t.camera_id = i.camera_id AND t."timestamp" = i."timestamp"
      AND t."timestamp" BETWEEN %(first)s AND %(last)s AND t.camera_id = ANY (%(cameras)s)
      AND ({old_values}) IS DISTINCT FROM ({new_values})
""")
# Duplicates are deleted before the insert, because ON CONFLICT decompresses batches of a compressed chunk for each row.
DELETE_KNOWN = sql.SQL("""
    DELETE FROM {staging} AS i USING {target} AS t
    WHERE t.camera_id = i.camera_id AND t."timestamp" = i."timestamp"
      AND t."timestamp" BETWEEN %(first)s AND %(last)s AND t.camera_id = ANY (%(cameras)s)
""")
INSERT_NEW = sql.SQL("""
    INSERT INTO {target} ({columns}) SELECT {columns} FROM {staging} ORDER BY "timestamp", camera_id
    ON CONFLICT (camera_id, "timestamp") DO NOTHING
""")


def unknown(camera: bytes) -> tuple[str, RejectionKind]:
    """The reason against an event of a camera that is not there, and its kind."""
    return (
        f"no camera has the id {UUID(bytes=camera)}; add it with store.cameras.add",
        RejectionKind.UNKNOWN_CAMERA,
    )


def copy(connection: Connection, table: sql.Identifier, batch: Batch) -> None:
    """Binary COPY of a batch into a table with its columns."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, batch.family.columns))
    )
    with connection.cursor().copy(statement) as target:
        target.write(batch.copy_payload())


@cache
def _names(family: Family) -> dict[str, sql.Composable]:
    """What the statements of this module call the relations and columns of a family."""

    def list_of(names: tuple[str, ...], *table: str) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(*table, name) for name in names)

    return {
        "staging": STAGING,
        "target": sql.Identifier("public", family.table),
        "columns": list_of(family.columns),
        "values": list_of(family.columns[2:]),
        "old_values": list_of(family.columns[2:], "t"),
        "new_values": list_of(family.columns[2:], "i"),
    }


def merge_staged(connection: Connection, batch: Batch, *, replace: bool) -> RecordResult:
    """Split an ordered slice into inserted, replaced, duplicate and rejected, in the caller's transaction."""
    if not len(batch):
        return RecordResult()
    names = _names(batch.family)
    span: dict[str, object] = {
        "first": POSTGRES_EPOCH + int(batch.times[0]) * MICROSECOND,
        "last": POSTGRES_EPOCH + int(batch.times[-1]) * MICROSECOND,
        "cameras": [UUID(bytes=camera.tobytes()) for camera in np.unique(batch.cameras)],
    }
    connection.execute(CREATE_STAGING.format(**names))
    copy(connection, STAGING, batch)
    connection.execute("ANALYZE pg_temp.incoming")
    refused = {
        (camera.bytes, microseconds(at)): unknown(camera.bytes)
        for camera, at in connection.execute(DELETE_ORPHANS.format(**names)).fetchall()
    }
    for camera, at in connection.execute(DELETE_AHEAD.format(**names)).fetchall():
        refused[camera.bytes, microseconds(at)] = TOO_FAR_AHEAD, RejectionKind.FUTURE
    replaced = connection.execute(UPDATE_REPLACED.format(**names), span).rowcount if replace else 0
    connection.execute(DELETE_KNOWN.format(**names), span)
    inserted = connection.execute(INSERT_NEW.format(**names)).rowcount
    fates = zip(batch.rows.tolist(), map(refused.get, batch.keys().tolist()), strict=True) if refused else ()
    return RecordResult(
        inserted,
        len(batch) - len(refused) - inserted - replaced,
        tuple(Rejection(row, fate[0], kind=fate[1]) for row, fate in fates if fate),
        replaced,
    )
