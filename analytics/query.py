"""From a request to its answer: a selection of cameras per time zone, the query of each, one frame or table."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import update_wrapper
from typing import Any, Literal, Protocol, TypedDict, TypeVar, Unpack, cast, overload

import pandas as pd
import pyarrow as pa

from analytics import calendars
from analytics.arrow_client import ask
from analytics.calendars import Calendar, Dates, Hours
from analytics.docstrings import documented
from analytics.frames import DtypeBackend, attributes, frame, table
from analytics.left_out import read_left_out
from analytics.ranges import LOOKAHEAD, MAX_FILL_AHEAD, Moment, check_filled
from analytics.request import Cameras, Request, Weekdays, ZoneSelection, by_opening_hours, by_zone
from analytics.session import Fetch

A = TypeVar("A")
Table_co = TypeVar("Table_co", covariant=True)
Frame_co = TypeVar("Frame_co", covariant=True)
Parameters = dict[str, object]
ALL_TIME = Calendar()
EXTREMES_EXACT = "extremes_exact"  # a column of answers that a group is in
# A query beside the shares of those whose capacity has changed: today's would do for the others.
WITH_SHARES = f"""
    SELECT q.*, s.occupied_share
    FROM ({{query}}) AS q
    LEFT JOIN timeseries.{{family}}_share_buckets(
        $sized_ids::uuid[], $start_at::timestamptz, $end_at::timestamptz, $time_zone, {{buckets}}, {calendars.COUNTED}
    ) AS s ON s.{{kind}}_id = q.camera_id AND {{same}}
"""  # noqa: S608 - names of our own
SAME_ROW = {
    "bucket": "s.bucket = q.bucket", "weekday": "s.label = q.weekday", "profile": "s.label = q.weekday * 24 + q.hour",
}  # fmt: skip
EXACT_ROWS = 20_000  # raw rows that are read unasked for exact extremes of a group, as in the functions of the database


class Ranged(TypedDict, total=False):
    """What every answer about a range takes."""

    start: Moment
    end: Moment
    timezone: str | None
    dtype_backend: DtypeBackend | None
    url: str | None


class Counted(Ranged, total=False):
    """The same, and which time counts."""

    hours: Hours
    weekdays: Weekdays
    dates: Dates
    without: Dates


class Grouped(Counted, total=False):
    """The same, of groups, too: whether all raw rows are read for their exact extremes."""

    exact_extremes: bool


class Filled(Grouped, total=False):
    """The same, and `fill`: whether buckets without any known time have a row."""

    fill: bool


class RangeAnswer(Protocol[Table_co, Frame_co]):
    """A function that `answered_by` made, as type checkers see it: what it returns with `as_arrow`, and what without.
    That is an Arrow table and a DataFrame; in `analytics.aio` they are awaited.

    An answer with an argument of its own has a Protocol of its own, because no keyword can stand beside a ParamSpec.
    """

    @overload
    def __call__(self, cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Ranged]) -> Table_co: ...
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Ranged]
    ) -> Frame_co: ...


class CountedAnswer(Protocol[Table_co, Frame_co]):
    """The same for an answer of which a calendar may be asked."""

    @overload
    def __call__(self, cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Counted]) -> Table_co: ...
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Counted]
    ) -> Frame_co: ...


class FilledAnswer(Protocol[Table_co, Frame_co]):
    """The same for an answer that takes `fill`."""

    @overload
    def __call__(self, cameras: Cameras = None, *, as_arrow: Literal[True], **asked: Unpack[Filled]) -> Table_co: ...
    @overload
    def __call__(
        self, cameras: Cameras = None, *, as_arrow: Literal[False] = False, **asked: Unpack[Filled]
    ) -> Frame_co: ...


def typed(takes: Callable[..., A]) -> Callable[[Callable[..., Any]], A]:
    """Let type checkers see a function as this Protocol."""
    return lambda function: cast(A, function)


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """A query and the shape of its result: column order, sort keys, unit, and `ahead`, how far into the future its
    range may reach. Future time matters to answers that total a range (weekday averages, uptime): it lowers their
    coverage. An `exact` range is neither rounded to quarters of an hour nor cut at 1970. A query with
    `calendars.COUNTED` can be asked of a calendar. `group_query` asks the same of groups, whose ids it calls camera_id;
    without one the answer is of cameras alone. Where there are shares of the capacity, `width` is that of the buckets,
    in SQL, and `per` what they are added up by.
    """

    query: str
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ("camera",)
    unit: str = "cars"
    ahead: timedelta = LOOKAHEAD
    exact: bool = False
    group_query: str | None = None
    width: str | None = None
    per: Literal["weekday", "profile"] | None = None

    def fetched(self, fetch: Fetch, selection: ZoneSelection, parameters: Parameters) -> pa.Table:
        """The rows of a selection; in an answer of both, those of cameras say that their extremes are exact, too."""
        query = self.group_query if selection.of_groups and self.group_query else self.query
        if self.width and (sized := [camera.id for camera in selection.cameras if camera.has_capacities]):
            query, parameters = self.with_shares(query, selection), parameters | {"sized_ids": f"{{{','.join(sized)}}}"}
        found = fetch(query, selection.parameters() | parameters)
        if EXTREMES_EXACT in self.columns and EXTREMES_EXACT not in found.column_names:
            return found.append_column(EXTREMES_EXACT, pa.repeat(pa.scalar(True), found.num_rows))
        return found

    def with_shares(self, query: str, selection: ZoneSelection) -> str:
        family, kind = ("group", "group") if selection.of_groups else ("occupancy", "camera")
        buckets = f"{self.width}, '{self.per}'" if self.per else f"{self.width}, NULL"
        return WITH_SHARES.format(
            query=query, family=family, kind=kind, buckets=buckets, same=SAME_ROW[self.per or "bucket"]
        )

    def answering(self, asked: Iterable[ZoneSelection]) -> QuerySpec:
        """The same with the column that says whether extremes are exact, where a group is asked for."""
        mixed = "occupied_min" in self.columns and any(selection.of_groups for selection in asked)
        return replace(self, columns=(*self.columns, EXTREMES_EXACT)) if mixed else self

    @property
    def has_calendar(self) -> bool:
        return calendars.COUNTED in self.query

    @property
    def left_out(self) -> tuple[str, ...]:
        """The kinds of periods that an answer of which a calendar may be asked leaves out."""
        return ("maintenance",) if "healthy_share" in self.columns else ("wrong", "closed")

    def clamped(self, selection: ZoneSelection, *, fill: bool) -> ZoneSelection:
        """What the server is asked: with `fill` all the future that there are to be rows of."""
        filled = fill and "bucket" in self.columns
        if filled:
            check_filled(selection.end)
        return selection.clamp_to_observable(MAX_FILL_AHEAD if filled else self.ahead, exact=self.exact)


def run(
    spec: QuerySpec,
    request: Request,
    *,
    as_arrow: bool,
    dtype_backend: DtypeBackend | None,
    fill: bool = False,
    calendar: Calendar = ALL_TIME,
    **parameters: object,
) -> Any:
    """The answer as a DataFrame or, with `as_arrow`, as a `pyarrow.Table`; the errors are those of
    `analytics.docstrings.ERRORS`.
    """
    parameters |= {"time_zone": request.timezone, "fill": fill}

    def work(fetch: Fetch) -> tuple[list[ZoneSelection], dict[str, Any], list[pa.Table]]:
        asked = by_zone(request, fetch, exact=spec.exact, groups=spec.group_query is not None)
        if calendar.is_of_opening_hours:
            asked = list(by_opening_hours(asked, fetch))
        answering = spec.answering(asked)
        clamped = [spec.clamped(selection, fill=fill) for selection in asked]
        counted = calendar.found(clamped)
        parts = [
            answering.fetched(fetch, selection, counts.parameters() | parameters)
            for selection, counts in zip(clamped, counted, strict=True)
        ]
        left_out = read_left_out(fetch, clamped, *spec.left_out) if spec.has_calendar else []
        return asked, calendars.attributes(counted) | ({"left_out": left_out} if left_out else {}), parts

    asked, counted, parts = ask(work, request.url)
    attrs = attributes(asked, spec.unit) | counted
    found = table(parts, asked, spec.answering(asked).columns, spec.keys, attrs)
    return found if as_arrow else frame(found, attrs, dtype_backend)


def counting(*, hours: Hours = None, weekdays: Weekdays = None, dates: Dates = None, without: Dates = None) -> None:
    """The arguments of every answer of which a calendar may be asked."""


def answered_by(spec: QuerySpec, takes: Callable[..., A]) -> Callable[[Callable[..., Parameters]], A]:
    """Make an answer of a function that has the docstring and the answer's own arguments, which it checks and returns
    as parameters of the query. The common arguments are added; `takes` is the Protocol of all arguments together.
    """

    def made(prepare: Callable[..., Parameters]) -> A:
        def answer(
            cameras: Cameras = None,
            *,
            start: Moment = None,
            end: Moment = None,
            timezone: str | None = None,
            as_arrow: bool = False,
            dtype_backend: DtypeBackend | None = None,
            url: str | None = None,
            **own: Any,
        ) -> pd.DataFrame | pa.Table:
            request = Request(cameras, start, end, timezone, url)
            counted = {name: own.pop(name) for name in calendar if name in own}
            options = cast(Any, prepare(**own) | {"calendar": Calendar(**counted)})
            return run(spec, request, as_arrow=as_arrow, dtype_backend=dtype_backend, **options)

        calendar = inspect.signature(counting).parameters if spec.has_calendar else {}
        signature = inspect.signature(answer)
        first, *common, _ = signature.parameters.values()
        every = [first, *inspect.signature(prepare).parameters.values(), *calendar.values(), *common]
        named = cast(
            Any, update_wrapper(answer, prepare, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        )
        named.__signature__ = signature.replace(parameters=every)
        del named.__wrapped__  # a tool that unwraps would show the arguments of `prepare` alone
        of_groups = spec.group_query is not None
        return cast(A, documented(spec.columns, exact=spec.exact, groups=of_groups)(named))

    return made


def extremes(exact: bool) -> Parameters:
    """How many raw rows may be read for the exact extremes of a group."""
    return {"exact_rows": None if exact else EXACT_ROWS}
