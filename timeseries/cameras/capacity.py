"""How many spaces a lot had when: a camera's capacity over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from timeseries.errors import InvalidInputError
from timeseries.model.quarters import Moment, on_a_quarter


@dataclass(frozen=True, slots=True)
class Capacity:
    """The capacity from `since`, in UTC (None: from the beginning), until the next one; None where it is unknown."""

    since: datetime | None
    capacity: int | None


def capacities(past: Sequence[Mapping[str, Any]], today: int | None) -> tuple[Capacity, ...]:
    """The capacities in the order of time, from the column of past ones and today's."""
    since = [None, *(datetime.fromisoformat(one["until"]) for one in past)]
    return tuple(map(Capacity, since, [*(one["capacity"] for one in past), today]))


def check_capacity(capacity: object) -> None:
    if capacity is not None and (not isinstance(capacity, int) or not 0 < capacity < 2**31):
        raise InvalidInputError(f"capacity {capacity!r}: it must be a whole number of at least 1, or None")


def check_past_capacities(past: object) -> list[dict[str, Any]]:
    """Past capacities as their column has them, or InvalidInputError: a list of `{"until": …, "capacity": …}`, oldest
    first, with aware moments or ISO 8601, on quarters of an hour.
    """
    if not isinstance(past, list | tuple) or not all(isinstance(one, dict) for one in past):
        raise InvalidInputError(f"past capacities {past!r:.200} are not a list of objects with until and capacity")
    found = []
    for one in past:
        if set(one) != {"until", "capacity"} or one["until"] is None:
            raise InvalidInputError(f"past capacity {one!r:.200}: it has until and capacity, and nothing else")
        check_capacity(one["capacity"])
        found.append({"until": utc_text(past_quarter("until", one["until"], "UTC")), "capacity": one["capacity"]})
    untils = [one["until"] for one in found]
    if untils != sorted({*untils}):
        raise InvalidInputError(f"past capacities end at {', '.join(untils):.200}: give each once, oldest first")
    return found


def past_quarter(what: str, moment: Moment, zone: str) -> datetime:
    """A quarter of an hour that has begun, in UTC, or InvalidInputError; of a date the midnight in `zone`."""
    at = on_a_quarter(what, moment, zone)
    if at is None or not datetime(1970, 1, 1, tzinfo=UTC) <= at <= datetime.now(UTC):
        raise InvalidInputError(
            f"{what} {moment!s} of a capacity lies ahead or before 1970; change it when the time has come, because the"
            " camera's own capacity is today's"
        )
    return at


def utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
