"""Storing events: exactly once, every one accounted for, and in every average as soon as it is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import psycopg
from psycopg import sql

from timeseries.database.connections import Connection, Pool, connected, transaction
from timeseries.database.internals import find_wrong_internals
from timeseries.database.retries import LOCKED, Result, retried
from timeseries.database.rows import value
from timeseries.database.server import inspect_server
from timeseries.errors import InvalidInputError, NotMigratedError
from timeseries.ingest.batches import DAY_MICROSECONDS, QUARTER_MICROSECONDS, Batch, from_events
from timeseries.ingest.staging import copy, merge_staged
from timeseries.model.events import MICROSECOND, POSTGRES_EPOCH, RecordResult, Rejection, RejectionKind, microseconds

BATCH_SIZE = 50_000  # events of one COPY, because its duration is limited and a link may be slow
TRANSACTION_SIZE = 500_000  # events, because each transaction computes all that it touches: hours of 5,000 cameras, say
MANY = 10_000  # events that take long enough for others to wait for the chunks that they need
ATTEMPTS, PAUSE, PATIENCE = 25, 0.05, 15.0  # where locks are held: late events wait for rows for 0.3 seconds only

MATERIALIZE = "SELECT timeseries.materialize(%(family)s, %(cameras)s, %(quarters)s, %(added)s)"
MATERIALIZE_AND_NOTE = f"{MATERIALIZE}, timeseries.note_change(%(family)s, %(quarters)s)"
NOTE = "SELECT timeseries.note_change(%s, %s)"
TOO_OLD = (
    "the raw rows of this quarter of an hour were removed by retention and only its average is kept;"
    " an event cannot be added to it"
)
# A refresh policy has read back to here by the time that retention removes rows; into the far future without any.
SELECT_REFRESHED_FROM = """
    SELECT coalesce(now() - min((config ->> 'start_offset')::interval), '2100-01-01')
    FROM timescaledb_information.jobs
    WHERE proc_name = 'policy_refresh_continuous_aggregate' AND scheduled
"""

OnConflict = Literal["ignore", "replace"]
StoreRows = Callable[[Connection, Batch, datetime], RecordResult]


def record(pool: Pool, events: Iterable[object], on_conflict: OnConflict = "ignore") -> RecordResult:
    """Store events of both kinds; committed on return.

    Each batch of events is one transaction or a few, bounded in size and in time. Storing an event again stores
    nothing: after an error the same call can be made again. With "replace", an event takes the place of a stored one
    of the same camera and time, and the aggregates follow.

    Raises ServerUnavailableError where the server is away, NotMigratedError where it lacks the schema, and
    InvalidInputError where `events` is a single one.
    """
    if not isinstance(events, Iterable):
        raise InvalidInputError(f"{events!r} is not a collection of events; give a list of them, [event] for one")
    result = RecordResult()
    offset = 0
    for chunk in chunked(events, BATCH_SIZE):
        batches, rejected = from_events(chunk, offset)
        for batch in batches:
            stored = store(pool, batch, on_conflict)
            rejected += [replace(one, event=chunk[one.index - offset]) for one in stored.rejected]
            result += replace(stored, rejected=())
        result += RecordResult(rejected=tuple(sorted(rejected, key=lambda rejection: rejection.index)))
        offset += len(chunk)
    return result


def chunked(events: Iterable[object], size: int) -> Iterator[list[object]]:
    iterator = iter(events)
    while chunk := list(islice(iterator, size)):
        yield chunk


def store(pool: Pool, batch: Batch, on_conflict: OnConflict = "ignore") -> RecordResult:
    """Store one batch, whatever its size and span."""
    if on_conflict not in get_args(OnConflict):
        raise InvalidInputError(f"on_conflict {on_conflict!r} must be 'ignore' or 'replace'")
    batch, repeated = batch.ordered(keep_last=on_conflict == "replace")
    stored = RecordResult()
    for part in batch.slices(TRANSACTION_SIZE):
        stored += store_isolating(pool, part, on_conflict)
    return stored + account_for_duplicates(repeated, batch, stored)


def store_isolating(pool: Pool, batch: Batch, on_conflict: OnConflict) -> RecordResult:
    """Store a slice; one that the server refuses for its data is halved until what it refuses stands alone."""
    try:
        with connected(pool) as connection:
            if len(batch) > MANY:
                patiently(partial(make_chunks, connection, batch), on=LOCKED)
            return store_slice(connection, batch, on_conflict)
    except (NotMigratedError, psycopg.ProgrammingError) as error:
        return leave_to_refresh(pool, batch, on_conflict, error)
    except InvalidInputError as error:
        if len(batch) == 1:
            return rejections(batch, np.array([True]), str(error), RejectionKind.SERVER)
        first = np.arange(len(batch)) < len(batch) // 2
        return store_isolating(pool, batch.take(first), on_conflict) + store_isolating(
            pool, batch.take(~first), on_conflict
        )


def leave_to_refresh(pool: Pool, batch: Batch, on_conflict: OnConflict, error: Exception) -> RecordResult:
    """Store a slice where TimescaleDB's internals are not as expected: the refresh policies materialize it. Events that
    are older than their windows come back, because no refresh would read them before retention removes them.
    """
    with connected(pool) as connection:
        wrong = find_wrong_internals(connection, inspect_server(connection))
        if wrong is None:
            raise error
        refreshed_from = microseconds(value(connection, SELECT_REFRESHED_FROM))
        connection.commit()
        old = batch.times < refreshed_from
        store_rest = partial(store_unmaterialized, connection, batch.take(~old), on_conflict)
        refused = *LOCKED, psycopg.IntegrityError
        reason = f"too old for the refresh policies, and {wrong}"
        return rejections(batch, old, reason, RejectionKind.SERVER) + patiently(store_rest, on=refused)


def store_unmaterialized(connection: Connection, batch: Batch, on_conflict: OnConflict) -> RecordResult:
    with transaction(connection) as now:
        live, rejected = reject_finalized(connection, batch, now)
        stored = merge_staged(connection, live, replace=on_conflict == "replace")
        if reaches_back_a_day(live, now):
            connection.execute(NOTE, [batch.family.name, live.quarters()[1]])
        return rejected + stored


def account_for_duplicates(repeated: Batch, batch: Batch, stored: RecordResult) -> RecordResult:
    """An event that repeats a stored one is a duplicate, one that repeats a rejected one is rejected as well."""
    if not stored.rejected:
        return RecordResult(duplicates=len(repeated))
    by_row = {rejection.index: rejection for rejection in stored.rejected}
    refused = {key: by_row.get(row) for key, row in zip(batch.keys().tolist(), batch.rows.tolist(), strict=True)}
    fates = [refused[key] for key in repeated.keys().tolist()]
    rejected = tuple(replace(one, index=int(row)) for row, one in zip(repeated.rows, fates, strict=True) if one)
    return RecordResult(duplicates=len(repeated) - len(rejected), rejected=rejected)


def store_slice(connection: Connection, batch: Batch, on_conflict: OnConflict) -> RecordResult:
    """Store an ordered slice: by COPY, or through a staging table where COPY meets a duplicate, an unknown camera or a
    finalized quarter.
    """
    try:
        return patiently(partial(store_by, copy_directly, connection, batch), on=LOCKED, events=len(batch))
    except psycopg.IntegrityError:
        merge = partial(merge_accepted, replace=on_conflict == "replace")
        # A camera that is removed after the staging table was searched for it is found missing by the next attempt.
        refused = *LOCKED, psycopg.IntegrityError
        return patiently(partial(store_by, merge, connection, batch), on=refused, events=len(batch))


def make_chunks(connection: Connection, batch: Batch) -> None:
    """Make the chunks of a slice in a transaction of their own, because one transaction at a time can."""
    days = np.unique(batch.times // DAY_MICROSECONDS) * DAY_MICROSECONDS
    moments = [POSTGRES_EPOCH + day * MICROSECOND for day in days.tolist()]
    with transaction(connection):
        connection.execute("SELECT timeseries.make_chunks(%s, %s)", [batch.family.name, moments])


def patiently(work: Callable[[], Result], *, on: tuple[type[psycopg.Error], ...], events: int = 0) -> Result:
    """What `work` returns. Many events are given longer, because what holds the locks may be a transaction of as many:
    an import has two under way at once.
    """
    patience = PATIENCE * max(1.0, events / MANY)
    return retried(work, attempts=ATTEMPTS, pause=PAUSE, patience=patience, on=on)


def store_by(store_rows: StoreRows, connection: Connection, batch: Batch) -> RecordResult:
    """Store what can be stored of a slice, and bring the aggregates up to date, in one transaction."""
    with transaction(connection) as now:
        return store_rows(connection, batch, now)


def copy_directly(connection: Connection, batch: Batch, now: datetime) -> RecordResult:
    """Copy a slice into its table. Raises psycopg.IntegrityError, and stores nothing, where one row is refused."""
    for part in batch.parts(BATCH_SIZE):
        copy(connection, sql.Identifier("public", batch.family.table), part)
    follow(connection, batch, now)
    return RecordResult(inserted=len(batch))


def merge_accepted(connection: Connection, batch: Batch, now: datetime, *, replace: bool) -> RecordResult:
    """Store what is neither finalized nor refused of a slice."""
    live, rejected = reject_finalized(connection, batch, now)
    stored = merge_staged(connection, live, replace=replace)
    refused = {rejection.index for rejection in stored.rejected}
    if stored.inserted or stored.replaced:
        accepted = np.array([row not in refused for row in live.rows.tolist()])
        follow(connection, live.take(accepted), now, checked=True)
    return rejected + stored


def reject_finalized(connection: Connection, batch: Batch, now: datetime) -> tuple[Batch, RecordResult]:
    """Reject events whose quarter is finalized, because its raw rows were removed. Only events that are older than a
    day are checked, because retention keeps at least two. Age is measured by the server's clock, because an edge
    device may lack a battery-backed one.
    """
    if not reaches_back_a_day(batch, now):
        return batch, RecordResult()
    cameras, quarters, _ = batch.quarters()
    rows = connection.execute(
        "SELECT camera_id, quarter FROM timeseries.sealed(%s, %s, %s)", [batch.family.name, cameras, quarters]
    ).fetchall()
    if not rows:
        return batch, RecordResult()
    keys = batch.keys()
    keys["time"] -= keys["time"] % QUARTER_MICROSECONDS
    finalized = {(camera.bytes, microseconds(quarter)) for camera, quarter in rows}
    hit = np.array([key in finalized for key in keys.tolist()])
    return batch.take(~hit), rejections(batch, hit, TOO_OLD, RejectionKind.FINALIZED)


def reaches_back_a_day(batch: Batch, now: datetime) -> bool:
    """Whether an event of an ordered batch is older than a day."""
    return len(batch) > 0 and int(batch.times[0]) <= microseconds(now) - DAY_MICROSECONDS


def follow(connection: Connection, batch: Batch, now: datetime, *, checked: bool = False) -> None:
    """Bring the aggregates up to date for what lies behind their watermarks, and have the archive read the days of late
    events and corrections again; it has no day that ended within a day.

    Raises psycopg.IntegrityError where a quarter is finalized; of events that are `checked` some may have been stored
    before, so that none is counted as new.
    """
    if len(batch):
        cameras, quarters, added = batch.quarters()
        touched = {"family": batch.family.name, "cameras": cameras, "quarters": quarters}
        statement = MATERIALIZE_AND_NOTE if reaches_back_a_day(batch, now) else MATERIALIZE
        connection.execute(statement, {**touched, "added": None if checked else added})


def rejections(
    batch: Batch, where: np.ndarray[Any, np.dtype[np.bool_]], reason: str, kind: RejectionKind
) -> RecordResult:
    return RecordResult(rejected=tuple(Rejection(int(row), reason, kind=kind) for row in batch.rows[where]))
