"""From a question to its answer: the scopes, the query of each, one frame or table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypedDict

from analytics.arrow_client import fetch
from analytics.frames import DtypeBackend, attributes, frame, table
from analytics.ranges import DECADE, SOON, Moment, check_filled
from analytics.request import Question, Scope, scopes


class Asked(TypedDict, total=False):
    """What every question of a range takes, for type checkers."""

    start: Moment
    end: Moment
    timezone: str | None
    dtype_backend: DtypeBackend | None
    url: str | None


class Filled(Asked, total=False):
    """The same, and whether there is a row of which nothing is known."""

    fill: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A query, the columns of its frame in order, those by which its rows are ordered, and how far ahead of now its
    range may go: where rows are sums over a range the future in it counts, as time of which nothing is known.
    """

    query: str
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ("camera",)
    unit: str = "cars"
    ahead: timedelta = SOON

    def sent(self, scope: Scope, *, fill: bool, exact: bool) -> Scope:
        """What the server is asked: with `fill` all the future there is to be rows of."""
        filled = fill and "bucket" in self.columns
        if filled:
            check_filled(scope.end)
        return scope.within_reach(DECADE if filled else self.ahead, exact=exact)


def ask(
    answer: Answer,
    question: Question,
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
    asked = scopes(question, exact=exact)
    sent = [answer.sent(scope, fill=fill, exact=exact) for scope in asked]
    parameters |= {"time_zone": question.timezone, "fill": fill}
    parts = [fetch(answer.query, scope.parameters() | parameters, question.url) for scope in sent]
    attrs = attributes(asked, answer.unit)
    found = table(parts, asked, answer.columns, answer.keys, attrs)
    return found if as_arrow else frame(found, attrs, dtype_backend)
