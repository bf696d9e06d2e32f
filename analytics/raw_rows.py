"""Rows as they are stored: raw events in bounded memory, and the rows of an aggregate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol, Unpack, overload
from uuid import UUID

import pandas as pd
import pyarrow as pa

from analytics.arrow_client import fetch
from analytics.docstrings import documented
from analytics.frames import DtypeBackend, attributes, frame, table
from analytics.query import Frame_co, QuerySpec, Ranged, Table_co, run, typed
from analytics.ranges import EPOCH, Moment
from analytics.request import Cameras, Request, ZoneSelection, by_zone
from timeseries import InvalidInputError
from timeseries.model.relations import AGGREGATES, FAMILIES

FamilyName = Literal["occupancy", "health"]
LONGEST = timedelta(days=64)
SHORTEST = timedelta(days=1)

SELECT_BOUNDS = """
    SELECT min(f.at) AS first_at, max(l.at) AS last_at
    FROM unnest($camera_ids::uuid[]) AS camera_id
    CROSS JOIN LATERAL (
        SELECT e."timestamp" AS at FROM public.{events} AS e
        WHERE e.camera_id = camera_id.camera_id AND e."timestamp" >= coalesce($start_at::timestamptz, '-infinity')
        ORDER BY e."timestamp" LIMIT 1
    ) AS f
    CROSS JOIN LATERAL (
        SELECT e."timestamp" AS at FROM public.{events} AS e
        WHERE e.camera_id = camera_id.camera_id AND e."timestamp" < coalesce($end_at::timestamptz, 'infinity')
        ORDER BY e."timestamp" DESC LIMIT 1
    ) AS l
"""
# A page begins where the one before it ended: after a camera at one moment, or at a moment.
SELECT_PAGE = """
    SELECT e.camera_id, e."timestamp", e.{value}, e.{extra}::text AS {extra}
    FROM public.{events} AS e
    WHERE e.camera_id IN (SELECT unnest($camera_ids::uuid[]))
      AND e."timestamp" >= $start_at::timestamptz AND e."timestamp" < $end_at::timestamptz
      AND ($after::uuid IS NULL OR e."timestamp" > $start_at::timestamptz OR e.camera_id > $after::uuid)
    ORDER BY e."timestamp", e.camera_id
    LIMIT $size::integer
"""
BOUNDS = {family.name: SELECT_BOUNDS.format(events=family.table) for family in FAMILIES}
EVENT_UNITS = {"occupancy": "cars", "health": "status"}
PAGES = {
    family.name: QuerySpec(
        SELECT_PAGE.format(events=family.table, value=family.value, extra=family.extra),
        ("camera", *family.columns),
        ("timestamp", "camera"),
        EVENT_UNITS[family.name],
    )
    for family in FAMILIES
}

AGGREGATE_UNITS = {"occupancy": "cars", "health": "share of the known time"}
ANSWER_COLUMNS = {
    "occupancy": ("samples", "occupied_min", "occupied_max", "occupied_avg"),
    "health": ("samples", "healthy_samples", "degraded_samples", "disconnected_samples", "healthy_share"),
}
SUMMARY_COLUMNS = {
    "occupancy": ("first_at", "first_count", "last_at", "last_count", "car_seconds", "known_seconds"),
    "health": (
        "first_at", "first_status", "last_at", "last_status", "healthy_seconds", "degraded_seconds",
        "disconnected_seconds",
    ),
}  # fmt: skip
# Each bound is a subquery, because a subquery is evaluated once and a setting once per row. An unbounded side has no
# condition, because the planner would take an index scan in place of a sequential one.
SINCE = "a.bucket >= (SELECT $start_at::timestamptz)"
UNTIL = "a.bucket < (SELECT $end_at::timestamptz)"
OF_CAMERAS = "a.camera_id IN (SELECT unnest($camera_ids::uuid[]))"


def rows_of(name: str, request: Request, *, summary: bool) -> QuerySpec:
    family = AGGREGATES[name].family.name
    labels = ("local_date", "weekday") if name == AGGREGATES[name].family.days else ()
    columns = ("bucket", *labels, *ANSWER_COLUMNS[family], *(SUMMARY_COLUMNS[family] if summary else ()))
    wanted = {
        SINCE: request.start is not None,
        UNTIL: request.end is not None,
        OF_CAMERAS: request.cameras is not None or request.timezone is None,  # else there is one selection: all
    }
    names = ", ".join(f"a.{column}" for column in ("camera_id", *columns))
    where = " AND ".join(condition for condition, given in wanted.items() if given) or "true"
    query = f"SELECT {names} FROM public.{name} AS a WHERE {where}"  # noqa: S608 - names of our own
    return QuerySpec(
        query, ("camera", "camera_id", *columns), ("camera", "bucket", *labels[:1]), AGGREGATE_UNITS[family], exact=True
    )


class RowsAnswer(Protocol[Table_co, Frame_co]):
    @overload
    def __call__(
        self, name: str, cameras: Cameras = None, *, as_arrow: Literal[True], summary: bool = False,
        **asked: Unpack[Ranged],
    ) -> Table_co: ...  # fmt: skip
    @overload
    def __call__(
        self, name: str, cameras: Cameras = None, *, as_arrow: Literal[False] = False, summary: bool = False,
        **asked: Unpack[Ranged],
    ) -> Frame_co: ...  # fmt: skip


@typed(RowsAnswer[pa.Table, pd.DataFrame])
@documented(exact=True)
def aggregate_rows(
    name: str,
    cameras: Cameras = None,
    *,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    as_arrow: bool = False,
    summary: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Any:
    """The rows of an aggregate, such as `occupancy_hourly`, as they are: buckets aligned in UTC, only those with
    observations, nothing carried in. Millions of them arrive in seconds.

    Args:
        name: occupancy_ or health_, and quarter_hourly, hourly or weekday.
        summary: also the columns from which rows can be merged, such as first_at and known_seconds.

    Returns:
        A row per camera and bucket, by camera and time, indexed by `bucket`; a bucket belongs to the range in which it
        begins. The columns are those of the aggregate, after camera and camera_id.
    """
    if name not in AGGREGATES:
        raise InvalidInputError(f"aggregate {name!r} is unknown; give one of {', '.join(AGGREGATES)}")
    request = Request(cameras, start, end, timezone, url)
    spec = rows_of(name, request, summary=summary)
    return run(spec, request, as_arrow=as_arrow, dtype_backend=dtype_backend)


class EventsAnswer(Protocol[Table_co, Frame_co]):
    @overload
    def __call__(
        self, cameras: Cameras = None, *, family: FamilyName = "occupancy", batch_size: int = 100_000,
        as_arrow: Literal[True], **asked: Unpack[Ranged],
    ) -> Table_co: ...  # fmt: skip
    @overload
    def __call__(
        self, cameras: Cameras = None, *, family: FamilyName = "occupancy", batch_size: int = 100_000,
        as_arrow: Literal[False] = False, **asked: Unpack[Ranged],
    ) -> Frame_co: ...  # fmt: skip


@typed(EventsAnswer[Iterator[pa.Table], Iterator[pd.DataFrame]])
@documented(exact=True)
def events(
    cameras: Cameras = None,
    *,
    family: FamilyName = "occupancy",
    batch_size: int = 100_000,
    start: Moment = None,
    end: Moment = None,
    timezone: str | None = None,
    as_arrow: bool = False,
    dtype_backend: DtypeBackend | None = None,
    url: str | None = None,
) -> Iterator[Any]:
    """Raw rows, a frame of at most `batch_size` at a time: memory is bounded, and no transaction stays open between.

    Args:
        family: "occupancy" or "health".
        batch_size: the most rows of one frame, at least 1.

    Returns:
        An iterator of frames, in the order of time; of cameras in several time zones, one zone after another. A row per
        event, indexed by `timestamp`. Columns: camera, camera_id and, of occupancy, occupied_count and raw_data (JSON
        as text), of health, status and message. All frames have the same types and categories, and where there is no
        row there is one frame without rows: `pd.concat` puts them together.
    """
    if family not in PAGES:
        raise InvalidInputError(f"family {family!r} is unknown; give 'occupancy' or 'health'")
    if batch_size < 1:
        raise InvalidInputError(f"batch size {batch_size!r}: it must be at least 1")
    spec = PAGES[family]
    request = Request(cameras, start, end, timezone, url)
    asked = by_zone(request, partial(fetch, url=url), exact=True)
    attrs = attributes(asked, spec.unit)
    parts = (part for selection in asked for part in pages(selection, family, batch_size, url))
    first = next(parts, None)
    if first is None:
        first = page(replace(asked[0], start=EPOCH, end=EPOCH), family, 0, url)
    for rows in itertools.chain([first], parts):
        found = table([rows], asked, spec.columns, spec.keys, attrs)
        yield found if as_arrow else frame(found, attrs, dtype_backend)


def page(selection: ZoneSelection, family: str, size: int, url: str | None, after: object = None) -> pa.Table:
    """The first rows of a range; at its start only those of cameras `after` one."""
    return fetch(PAGES[family].query, selection.parameters() | {"after": after, "size": size}, url)


def pages(selection: ZoneSelection, family: str, size: int, url: str | None) -> Iterator[pa.Table]:
    """Windows of time, since raw rows are stored by day: longer where there are few rows, cut where there are many."""
    (ends,) = fetch(BOUNDS[family], selection.parameters(), url).to_pylist()
    if ends["first_at"] is None or ends["last_at"] < ends["first_at"]:
        return
    at, last, window, after = ends["first_at"].astimezone(UTC), ends["last_at"], SHORTEST, None
    while at <= last:
        until = min(at + window, selection.end or datetime.max.replace(tzinfo=UTC), last + timedelta(microseconds=1))
        rows = page(replace(selection, start=at, end=until), family, size, url, after)
        if rows.num_rows:
            yield rows
        if rows.num_rows == size:
            at, camera = rows["timestamp"][-1].as_py(), rows["camera_id"][-1].as_py()
            after = UUID(bytes=camera) if isinstance(camera, bytes) else camera  # bytes to an older pyarrow
            window = max(window / 2, SHORTEST)
        else:
            at, after = until, None
            window = min(window * 2, LONGEST) if rows.num_rows < size / 4 else window
