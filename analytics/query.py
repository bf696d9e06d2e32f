"""From a request to its answer: a selection of cameras per time zone, the query of each, one frame or table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

from analytics.arrow_client import fetch
from analytics.frames import DtypeBackend, attributes, frame, table
from analytics.ranges import LOOKAHEAD, MAX_FILL_AHEAD, Moment, check_filled
from analytics.request import Request, ZoneSelection, by_zone


class Asked(TypedDict, total=False):
    """What every request of a range takes, for type checkers."""

    start: Moment
    end: Moment
    timezone: str | None
    dtype_backend: DtypeBackend | None
    url: str | None


class Filled(Asked, total=False):
    """The same, and whether there is a row of which nothing is known."""

    fill: bool


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """A query and the shape of its result: column order, sort keys, unit, and `ahead`, how far into the future its
    range may reach. Future time matters to answers that total a range (weekday averages, uptime): it lowers their
    coverage.
    """

    query: str
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ("camera",)
    unit: str = "cars"
    ahead: timedelta = LOOKAHEAD

    def sent(self, selection: ZoneSelection, *, fill: bool, exact: bool) -> ZoneSelection:
        """What the server is asked: with `fill` all the future there is to be rows of."""
        filled = fill and "bucket" in self.columns
        if filled:
            check_filled(selection.end)
        return selection.clamp_to_observable(MAX_FILL_AHEAD if filled else self.ahead, exact=exact)


def run(
    answer: QuerySpec,
    request: Request,
    *,
    as_arrow: bool,
    dtype_backend: DtypeBackend | None,
    exact: bool = False,
    fill: bool = False,
    **parameters: object,
) -> Any:
    """The answer as a DataFrame or, with `as_arrow`, as a `pyarrow.Table`.

    Raises UnknownCameraError, InvalidInputError, ServerUnavailableError, QueryCancelledError or NotMigratedError.
    """
    asked = by_zone(request, exact=exact)
    sent = [answer.sent(selection, fill=fill, exact=exact) for selection in asked]
    parameters |= {"time_zone": request.timezone, "fill": fill}
    parts = [fetch(answer.query, selection.parameters() | parameters, request.url) for selection in sent]
    attrs = attributes(asked, answer.unit)
    found = table(parts, asked, answer.columns, answer.keys, attrs)
    return found if as_arrow else frame(found, attrs, dtype_backend)
