"""The averages once more, from raw events, in NumPy: what every answer of the store is compared with.

Nothing here knows of summaries, aggregates or SQL. An observation stands until the next one, at most for
`hold`, never past `now`; local buckets are found by walking over quarters of an hour with zoneinfo.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

QUARTER = timedelta(minutes=15)
MICROSECOND = timedelta(microseconds=1)


class Known(NamedTuple):
    """What is known of one bucket: car-seconds, seconds known, seconds of the span, samples."""

    car_seconds: float
    known_seconds: float
    span_seconds: float
    samples: int

    @property
    def average(self) -> float | None:
        return self.car_seconds / self.known_seconds if self.known_seconds else None

    @property
    def coverage(self) -> float:
        return self.known_seconds / self.span_seconds


def micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // MICROSECOND


def quarters(start: datetime, end: datetime) -> list[datetime]:
    return [start + QUARTER * i for i in range((end - start) // QUARTER)]


def hour_label(quarter: datetime, zone: ZoneInfo) -> Hashable:
    local = quarter.astimezone(zone)
    return local.date(), local.hour, local.utcoffset()


def day_label(quarter: datetime, zone: ZoneInfo) -> Hashable:
    return quarter.astimezone(zone).date()


def week_label(quarter: datetime, zone: ZoneInfo) -> Hashable:
    day = quarter.astimezone(zone).date()
    return day - timedelta(days=day.isoweekday() - 1)


def month_label(quarter: datetime, zone: ZoneInfo) -> Hashable:
    return quarter.astimezone(zone).date().replace(day=1)


def year_label(quarter: datetime, zone: ZoneInfo) -> Hashable:
    return quarter.astimezone(zone).date().replace(month=1, day=1)


def slot_label(minutes: int) -> Callable[[datetime, ZoneInfo], Hashable]:
    """Buckets of so many minutes, counted from midnight on the wall; up to an hour, each offset has its own."""

    def label(quarter: datetime, zone: ZoneInfo) -> Hashable:
        local = quarter.astimezone(zone)
        slot = (local.hour * 60 + local.minute) // minutes
        return local.date(), slot, local.utcoffset() if minutes <= 60 else None

    return label


def counts(
    quarter: datetime,
    zone: ZoneInfo,
    *,
    hours: tuple[str, str] | None = None,
    weekdays: Collection[int] | None = None,
    dates: Collection[date] | None = None,
    without: Collection[date] | None = None,
    opening: Mapping[str, Sequence[str]] | None = None,
    opening_zone: ZoneInfo | None = None,
) -> bool:
    """Whether a quarter of an hour counts, by what the clock and the calendar on the wall say when it begins."""
    local = quarter.astimezone(zone)
    if hours is not None:
        first, last = hours
        now = f"{local:%H:%M}"
        if not (first <= now < last if first < last else now >= first or now < last):
            return False
    return (
        (opening is None or is_open(quarter.astimezone(opening_zone or zone), opening))
        and (weekdays is None or local.isoweekday() in weekdays)
        and (dates is None or local.date() in dates)
        and (without is None or local.date() not in without)
    )


def is_open(local: datetime, opening: Mapping[str, Sequence[str]]) -> bool:
    """Whether a lot is open: since a time of this day, or since one of the day before that passes midnight."""
    for days_ago in (0, 1):
        weekday = f"{local.date() - timedelta(days=days_ago):%A}".lower()
        if weekday in opening:
            first, last = (60 * int(text[:2]) + int(text[3:]) for text in opening[weekday])
            since_midnight = 1440 * days_ago + 60 * local.hour + local.minute
            if first <= since_midnight < (last if first < last else last + 1440):
                return True
    return False


def profile_label(quarter: datetime, zone: ZoneInfo) -> Hashable:
    local = quarter.astimezone(zone)
    return local.isoweekday(), local.hour


def weekday_label(quarter: datetime, zone: ZoneInfo) -> Hashable:
    return quarter.astimezone(zone).isoweekday()


def integrate(
    times: np.ndarray,
    counts: np.ndarray,
    edges: np.ndarray,
    hold: timedelta,
    now: datetime,
    stops: Collection[datetime] = (),
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Car-seconds, known seconds and samples between neighbouring `edges` (microseconds, sorted). At `stops` whatever
    stood becomes unknown.
    """
    order = np.argsort(times)
    times, counts = times[order], counts[order]
    ends = np.minimum(times + hold // MICROSECOND, micros(now))
    ends[:-1] = np.minimum(ends[:-1], times[1:])
    for stop in map(micros, stops):
        ends = np.where(times < stop, np.minimum(ends, stop), ends)
    cars, known = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for begin, end, count in zip(times, ends, counts, strict=True):
        first = max(np.searchsorted(edges, begin, "right") - 1, 0)
        last = min(np.searchsorted(edges, end, "left"), len(edges) - 1)
        for i in range(first, last):
            seconds = max(min(end, edges[i + 1]) - max(begin, edges[i]), 0) / 1e6
            cars[i] += float(count) * seconds
            known[i] += seconds
    samples = np.histogram(times, edges)[0] if len(edges) > 1 else np.zeros(0, int)
    samples[-1:] -= np.count_nonzero(times == edges[-1])  # the last edge of a histogram is closed
    return cars, known, samples


def answer(
    times: Iterable[datetime],
    counts: Iterable[int],
    *,
    start: datetime,
    end: datetime,
    labels: Iterable[Hashable],
    hold: timedelta = timedelta(days=1),
    now: datetime | None = None,
    stops: Collection[datetime] = (),
) -> dict[Hashable, Known]:
    """Group [start, end) by one label per quarter of an hour; both ends lie on quarters. What has the label None is
    left out.
    """
    moments = np.array([micros(t) for t in times], dtype=np.int64)
    keys = list(labels)
    grid = np.array([micros(q) for q in [*quarters(start, end), end]], dtype=np.int64)
    cuts = [0, *(i for i in range(1, len(keys)) if keys[i] != keys[i - 1]), len(keys)]
    cars, known, samples = integrate(
        moments, np.fromiter(counts, dtype=np.int64), grid[cuts], hold, now or datetime.now(UTC), stops
    )
    spans = np.diff(grid[cuts]) / 1e6
    result: dict[Hashable, Known] = {}
    for i, cut in enumerate(cuts[:-1]):
        before = result.get(keys[cut], Known(0, 0, 0, 0))
        result[keys[cut]] = Known(
            before.car_seconds + cars[i],
            before.known_seconds + known[i],
            before.span_seconds + spans[i],
            before.samples + int(samples[i]),
        )
    result.pop(None, None)
    return result


def extremes(
    times: list[datetime],
    counts: list[int],
    *,
    start: datetime,
    end: datetime,
    labels: list[Hashable],
    hold: timedelta,
    now: datetime,
    stops: Collection[datetime] = (),
) -> dict[Hashable, tuple[int, int]]:
    """Least and most of the step function per label: what stood for any time at all, and what was observed."""
    seen: dict[Hashable, set[int]] = {}
    order = sorted(zip(times, counts, strict=True))
    for i, (at, count) in enumerate(order):
        until = min(
            at + hold, now, end, *(later for later, _ in order[i + 1 : i + 2]), *(stop for stop in stops if stop > at)
        )
        if start <= at < end:
            seen.setdefault(labels[(at - start) // QUARTER], set()).add(count)
        first = max(at, start)
        for position in range((first - start) // QUARTER, -((start - until) // QUARTER) if until > first else 0):
            seen.setdefault(labels[position], set()).add(count)
    seen.pop(None, None)
    return {label: (min(found), max(found)) for label, found in seen.items()}


def outages(
    logs: list[tuple[datetime, str, str | None]], *, start: datetime, end: datetime, hold: timedelta, now: datetime
) -> list[tuple[datetime, datetime | None, str, str | None]]:
    """From, to (None where it lasts), status and first message of each unbroken time that is not healthy."""
    found: list[tuple[datetime, datetime, str, str | None]] = []
    last = min(end, now)
    for i, (at, status, message) in enumerate(logs):
        until = min(at + hold, last, *(later for later, _, _ in logs[i + 1 : i + 2]))
        begin = max(at, start)
        if status == "healthy" or until <= begin:
            continue
        if found and found[-1][1] == begin and found[-1][2] == status:
            begin, _, _, earlier = found.pop()
            message = message if earlier is None else earlier
        found.append((begin, until, status, message))
    return [(begin, None if until == last else until, status, message) for begin, until, status, message in found]


class Member(NamedTuple):
    """What a member of a group saw, how long it stands, from when to before when it is a member (None: always), and its
    periods, in which it is not known.
    """

    seen: list[tuple[datetime, int]]
    hold: timedelta
    since: datetime | None = None
    until: datetime | None = None
    periods: tuple[tuple[datetime, datetime], ...] = ()

    def trusted(self) -> list[tuple[datetime, int]]:
        return [one for one in self.seen if not any(start <= one[0] < end for start, end in self.periods)]


class Sum(NamedTuple):
    """The sum of a group's members in one bucket: car-seconds and seconds that count, seconds of the span, samples, the
    least and the most (None where nothing counts).
    """

    car_seconds: float = 0
    counted_seconds: float = 0
    span_seconds: float = 0
    samples: int = 0
    least: int | None = None
    most: int | None = None

    def plus(self, other: Sum) -> Sum:
        least = [part.least for part in (self, other) if part.least is not None]
        most = [part.most for part in (self, other) if part.most is not None]
        return Sum(
            self.car_seconds + other.car_seconds, self.counted_seconds + other.counted_seconds,
            self.span_seconds + other.span_seconds, self.samples + other.samples,
            min(least, default=None), max(most, default=None),
        )  # fmt: skip


def steps(member: Member, now: datetime) -> list[tuple[int, int, int]]:
    """From, to (microseconds) and count of each observation for as long as it stands."""
    seen = sorted(member.trusted())
    stops = [start for start, _ in member.periods]
    found = []
    for i, (at, count) in enumerate(seen):
        until = min(
            at + member.hold, now, *(later for later, _ in seen[i + 1 : i + 2]), *(stop for stop in stops if stop > at)
        )
        found.append((micros(at), max(micros(until), micros(at)), count))
    return found


def group_answer(
    members: list[Member], *, start: datetime, end: datetime, labels: list[Hashable], now: datetime | None = None
) -> dict[Hashable, Sum]:
    """The sum over a group: a quarter of an hour counts where it has members and each is known in all of it until now.
    Looked at quarter by quarter, from what stood in each. What has the label None is left out.
    """
    now = now or datetime.now(UTC)
    stood = [steps(member, now) for member in members]
    result: dict[Hashable, Sum] = {}
    for quarter, label in zip(quarters(start, end), labels, strict=True):
        present = [
            (member, of)
            for member, of in zip(members, stood, strict=True)
            if (member.since is None or member.since <= quarter) and (member.until is None or quarter < member.until)
        ]
        found = sum_of([of for _, of in present], micros(quarter), min(micros(quarter + QUARTER), micros(now)))
        samples = sum(quarter <= at < quarter + QUARTER for member, _ in present for at, _ in member.trusted())
        result[label] = result.get(label, Sum()).plus(found._replace(span_seconds=900, samples=samples))
    result.pop(None, None)
    return result


def sum_of(stood: list[list[tuple[int, int, int]]], begin: int, end: int) -> Sum:
    """The sum of what stood in [begin, end), nothing where one of them is unknown in a part of it."""
    parts = [
        [(max(begin, at), min(end, until), count) for at, until, count in of if at < end and until > begin]
        for of in stood
    ]
    if end <= begin or not parts or any(sum(until - at for at, until, _ in of) < end - begin for of in parts):
        return Sum()
    moments = {at for of in parts for at, until, _ in of if at < until}
    sums = [sum(count for of in parts for at, until, count in of if at <= moment < until) for moment in moments]
    cars = sum((until - at) * count for of in parts for at, until, count in of)
    return Sum(cars / 1e6, (end - begin) / 1e6, 0, 0, min(sums), max(sums))
