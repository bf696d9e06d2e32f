"""From a question to its answer: the scopes, the query of each, one frame or table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

from analytics.frames import DtypeBackend, attributes, frame, table
from analytics.questions import Moment, Question, scopes
from analytics.source import fetch


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
    """A query, the columns of its frame in order, and those by which its rows are ordered."""

    query: str
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ("camera",)
    unit: str = "cars"


def ask(
    answer: Answer,
    question: Question,
    *,
    as_arrow: bool,
    dtype_backend: DtypeBackend | None,
    exact: bool = False,
    **parameters: object,
) -> Any:
    """The answer as a DataFrame or, with `as_arrow`, as a `pyarrow.Table`.

    Raises UnknownCameraError, InvalidInputError, ServerUnavailableError or NotMigratedError.
    """
    asked = scopes(question, exact=exact)
    parameters |= {"time_zone": question.timezone}
    parts = [fetch(answer.query, scope.parameters() | parameters, question.url) for scope in asked]
    attrs = attributes(asked, answer.unit)
    found = table(parts, asked, answer.columns, answer.keys, attrs)
    return found if as_arrow else frame(found, attrs, dtype_backend)
