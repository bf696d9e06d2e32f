"""Refresh on request: aggregates of a range are recomputed from the raw rows that are left; no bucket is erased."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.retries import LOCKED, retried
from timeseries.database.rows import row
from timeseries.database.server import ServerKind, inspect_server
from timeseries.errors import InvalidInputError, ServerUnavailableError
from timeseries.model.relations import AGGREGATES, FAMILIES, Family
from timeseries.progress import Progress, track

STEP = timedelta(days=1)  # of one transaction, because late events of its hours wait for its end
# The range in whole days is clipped to chunks and to now, because elsewhere there are no raw rows to compute from.
SELECT_RANGE = """
    SELECT greatest(date_trunc('day', %(start)s::timestamptz, 'UTC'), min(range_start)),
           least(%(end)s::timestamptz, max(range_end), now()), now()
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = %(events)s
"""
SELECT_WHOLE_BUCKETS = "SELECT date_bin(%s, %s, 'epoch'), date_bin(%s, %s, 'epoch')"

REFRESH_RANGE = "CALL public.refresh_continuous_aggregate(%s::regclass, %s::timestamptz, %s::timestamptz)"


@dataclass(frozen=True, slots=True)
class Refreshed:
    """One aggregate and the range, in whole buckets, that was computed again."""

    aggregate: str
    start: datetime
    end: datetime


def refresh(
    pool: Pool, start: datetime | None = None, end: datetime | None = None, *, progress: Progress = None
) -> tuple[Refreshed, ...]:
    """Compute the aggregates of [start, end) again: quarters, then hours and days. A bound may be open.

    The range is widened to whole buckets and clipped to the days that have raw rows and to what is over by now. An
    aggregate whose raw rows are gone stays as it is, wherever the bounds lie. It can be interrupted and repeated.
    Where the aggregates are views nothing needs to be done: the result is empty.

    Raises:
        InvalidInputError: a naive bound, or a range that ends before it begins.
        NotAllowedError: the role does not own the aggregates.
        ServerUnavailableError: the server is away, or other refreshes of the range did not end.
    """
    for name, bound in (("start", start), ("end", end)):
        if bound is not None and bound.tzinfo is None:
            raise InvalidInputError(f"{name} {bound!r} is naive; give it a time zone, for example tzinfo=UTC")
    if start is not None and end is not None and end <= start:
        raise InvalidInputError(f"the range ends at {end.isoformat()}, not after it begins at {start.isoformat()}")
    with connected(pool) as connection:
        if inspect_server(connection).kind is not ServerKind.COMMUNITY:
            return ()
        found = [part for family in FAMILIES for part in _ranges(connection, family, start=start, end=end)]
        connection.commit()
        steps = [step for part in found for step in _steps(part)]
        connection.autocommit = True
        try:
            for step in track(steps, progress):
                refresh_view(connection, f"public.{step.aggregate}", step.start, step.end)
        finally:
            connection.autocommit = False
    return tuple(found)


def _ranges(connection: Connection, family: Family, **bounds: datetime | None) -> Iterator[Refreshed]:
    first, last, now = row(connection, SELECT_RANGE, {**bounds, "events": family.table})
    if first is None:
        return
    for name, aggregate in AGGREGATES.items():
        if aggregate.family is family:
            bucket = aggregate.bucket
            widened = last + bucket - timedelta(microseconds=1)
            start, end = row(connection, SELECT_WHOLE_BUCKETS, [bucket, first, bucket, min(widened, now)])
            if start < end:
                yield Refreshed(name, start, end)


def _steps(whole: Refreshed) -> Iterator[Refreshed]:
    """Parts of a day, each of which TimescaleDB refreshes in a transaction or several."""
    start = whole.start
    while start < whole.end:
        yield Refreshed(whole.aggregate, start, min(start + STEP, whole.end))
        start += STEP


def refresh_view(connection: Connection, view: str, start: datetime, end: datetime) -> None:
    """Refresh a continuous aggregate by its qualified name, on a connection in autocommit, since it has transactions of
    its own. Another refresh of the same range, as a background job's, is waited for.

    Raises ServerUnavailableError where that does not end.
    """
    try:
        retried(lambda: connection.execute(REFRESH_RANGE, [view, start, end]), pause=1)
    except LOCKED as error:
        raise ServerUnavailableError(f"another refresh of {view} does not end; try again") from error
