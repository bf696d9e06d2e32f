"""Storing events: exactly once, every one accounted for, and in every average as soon as it is committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql

from timeseries.batches import (
    AHEAD,
    COLUMNS,
    DAY,
    QUARTER,
    TABLES,
    Batch,
    Family,
    camera_array,
    from_events,
    now_micros,
)
from timeseries.connections import Connection, Pool, connected, transaction
from timeseries.events import EPOCH, MICROSECOND, RecordResult, Rejection, microseconds

BATCH_SIZE = 50_000
ATTEMPTS = 3

TOO_FAR_AHEAD = "the timestamp is more than 5 minutes ahead of the clock; check the camera's clock"
TOO_OLD = (
    "the raw rows of this quarter of an hour were removed by retention and only its average is kept;"
    " an event cannot be added to it"
)


def unknown(camera: bytes) -> str:
    return f"no camera has the id {UUID(bytes=camera)}; add it with store.cameras.add"


def record(pool: Pool, events: Iterable[object]) -> RecordResult:
    """Store events of both kinds; committed on return.

    Each batch of events is one transaction or a few, bounded in size and in time. Storing an event again stores
    nothing: after an error the same call can be made again.

    Raises ServerUnavailableError where the server is away, NotMigratedError where it lacks the schema.
    """
    result = RecordResult()
    offset = 0
    for chunk in chunked(events, BATCH_SIZE):
        batches, rejected = from_events(chunk, offset)
        result += RecordResult(rejected=tuple(rejected))
        for batch in batches:
            result += store(pool, batch)
        offset += len(chunk)
    events_at = events if isinstance(events, Sequence) else None
    return RecordResult(
        result.inserted,
        result.duplicates,
        tuple(
            sorted(
                (
                    r if r.event is not None or events_at is None else Rejection(r.index, r.reason, events_at[r.index])
                    for r in result.rejected
                ),
                key=lambda r: r.index,
            )
        ),
    )


def chunked(events: Iterable[object], size: int) -> Iterator[list[object]]:
    iterator = iter(events)
    while chunk := list(islice(iterator, size)):
        yield chunk


def store(pool: Pool, batch: Batch) -> RecordResult:
    """Store one batch, whatever its size and span."""
    ahead = batch.times > now_micros() + AHEAD
    result = rejections(batch, ahead, TOO_FAR_AHEAD)
    batch, repeated = batch.take(~ahead).ordered()
    result += RecordResult(duplicates=repeated)
    for part in batch.slices(BATCH_SIZE):
        with connected(pool) as connection:
            result += store_slice(connection, part)
    return result


def store_slice(connection: Connection, batch: Batch) -> RecordResult:
    """Store an ordered slice: by COPY, or through a staging table where the server refuses that."""
    try:
        with transaction(connection):
            kept, result = without_sealed(connection, batch)
            copy(connection, sql.Identifier("public", TABLES[batch.family]), kept)
            materialize(connection, kept)
            return result + RecordResult(inserted=len(kept))
    except psycopg.IntegrityError:
        pass
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction(connection):
                kept, result = without_sealed(connection, batch)
                return result + store_staged(connection, kept)
        except psycopg.errors.ForeignKeyViolation:  # the camera was removed between the look and the insert
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def store_staged(connection: Connection, batch: Batch) -> RecordResult:
    """Split a slice into stored, duplicate and rejected."""
    names = {
        "staging": sql.Identifier("incoming"),
        "target": sql.Identifier("public", TABLES[batch.family]),
        "columns": sql.SQL(", ").join(map(sql.Identifier, COLUMNS[batch.family])),
    }
    if not len(batch):
        return RecordResult()
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {staging} ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA").format(
            **names
        )
    )
    copy(connection, sql.Identifier("pg_temp", "incoming"), batch)
    connection.execute("ANALYZE pg_temp.incoming")
    orphans = connection.execute(
        "DELETE FROM pg_temp.incoming AS i WHERE NOT EXISTS (SELECT FROM public.cameras AS c WHERE c.id = i.camera_id)"
        ' RETURNING camera_id, "timestamp"'
    ).fetchall()
    ahead = connection.execute(
        "DELETE FROM pg_temp.incoming WHERE \"timestamp\" > now() + interval '5 minutes'"
        ' RETURNING camera_id, "timestamp"'
    ).fetchall()
    # Looked for first: a conflict in a compressed chunk would decompress it for each row.
    connection.execute(
        sql.SQL(
            "DELETE FROM pg_temp.incoming AS i USING {target} AS t"
            ' WHERE t.camera_id = i.camera_id AND t."timestamp" = i."timestamp"'
            ' AND t."timestamp" BETWEEN %s AND %s'
        ).format(**names),
        [EPOCH + int(moment) * MICROSECOND for moment in (batch.times[0], batch.times[-1])],
    )
    inserted = connection.execute(
        sql.SQL(
            'INSERT INTO {target} ({columns}) SELECT {columns} FROM pg_temp.incoming ORDER BY "timestamp", camera_id'
            ' ON CONFLICT (camera_id, "timestamp") DO NOTHING'
        ).format(**names)
    ).rowcount
    refused = {(camera.bytes, microseconds(at)): unknown(camera.bytes) for camera, at in orphans}
    refused |= {(camera.bytes, microseconds(at)): TOO_FAR_AHEAD for camera, at in ahead}
    reasons = [refused.get(key) for key in batch.keys().tolist()] if refused else [None] * len(batch)
    if inserted:
        materialize(connection, batch.take(np.array([reason is None for reason in reasons])))
    return RecordResult(
        inserted,
        len(batch) - len(refused) - inserted,
        tuple(Rejection(int(row), reason) for row, reason in zip(batch.rows, reasons, strict=True) if reason),
    )


def copy(connection: Connection, table: sql.Identifier, batch: Batch) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, COLUMNS[batch.family]))
    )
    with connection.cursor().copy(statement) as target:
        target.write(batch.copy_payload())


def without_sealed(connection: Connection, batch: Batch) -> tuple[Batch, RecordResult]:
    """Leave out what falls into a quarter whose raw rows are gone; nothing younger than a day can."""
    if not len(batch) or batch.times[0] > now_micros() - DAY:
        return batch, RecordResult()
    rows = connection.execute(
        "SELECT camera_id, quarter FROM timeseries.sealed(%s, %s, %s)", [batch.family, *batch.quarters()]
    ).fetchall()
    if not rows:
        return batch, RecordResult()
    keys = batch.keys()
    keys["time"] -= keys["time"] % QUARTER
    sealed = np.empty(len(rows), dtype=keys.dtype)
    sealed["camera"] = camera_array([camera.bytes for camera, _ in rows])
    sealed["time"] = [(quarter - EPOCH) // MICROSECOND for _, quarter in rows]
    known = set(sealed.tolist())
    hit = np.array([key in known for key in keys.tolist()])
    return batch.take(~hit), rejections(batch, hit, TOO_OLD)


def materialize(connection: Connection, batch: Batch) -> None:
    """Bring the aggregates up to date for what lies behind their watermarks."""
    if len(batch) and batch.times[0] < now_micros() - QUARTER:
        connection.execute("SELECT timeseries.materialize(%s, %s, %s)", [batch.family, *batch.quarters()])


def rejections(batch: Batch, where: np.ndarray[Any, np.dtype[np.bool_]], reason: str) -> RecordResult:
    return RecordResult(rejected=tuple(Rejection(int(row), reason) for row in batch.rows[where]))


__all__ = ["BATCH_SIZE", "Family", "record", "store"]
