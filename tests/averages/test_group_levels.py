"""Time in which a group is at or above a level, against brute force on raw events: exact with raw rows, else bounds."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import analytics
from tests.support import brute_force
from tests.support.brute_force import QUARTER, Member, micros
from tests.support.levels import LABELS, Above, Bounds, check, extremes, quarter_of
from tests.support.questions import calendar_of, kinds_of_time
from tests.support.roles import MakeRole, as_role, make_role
from timeseries import Group, OccupancyEvent, Store
from timeseries.access.roles import grant

__all__ = ["make_role"]

PROPERTY = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DAY = timedelta(days=1)
KEPT_FROM = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - 90 * DAY
DAYS = [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 4, 4, tzinfo=UTC), KEPT_FROM - DAY, KEPT_FROM - 2 * DAY]

seconds = st.one_of(st.integers(0, 3 * 96).map(lambda quarter: quarter * 900), st.integers(0, 3 * 86_400))
zones = st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"])


class Made(NamedTuple):
    """What a member is made of: every how many seconds it counts and what, besides irregularly (seconds after a day),
    its hold, when it joined and left (quarters after the day), a period, and its capacity before and since a quarter.
    """

    step: int
    counts: list[int]
    seen: dict[int, int]
    hold: timedelta
    joined: int | None
    left: int | None
    period: tuple[str, int, int] | None
    capacities: tuple[int | None, int | None, int]


made = st.builds(
    Made, st.integers(150, 9000), st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.dictionaries(seconds, st.integers(0, 60), max_size=30),
    st.one_of(st.just(DAY), st.timedeltas(timedelta(minutes=15), timedelta(days=2))),
    st.one_of(st.none(), st.integers(-20, 150)), st.one_of(st.none(), st.integers(151, 300)),
    st.one_of(st.none(), st.tuples(st.sampled_from(["wrong", "closed"]), st.integers(-20, 290), st.integers(1, 60))),
    st.tuples(st.integers(1, 60), st.one_of(st.none(), st.integers(1, 60)), st.integers(-100, 400)),
)  # fmt: skip


class Gate(NamedTuple):
    """A member, and its capacity: before, since, and since when."""

    member: Member
    before: int | None
    since: int | None
    at: datetime

    def is_there(self, quarter: datetime) -> bool:
        since, until = self.member.since, self.member.until
        return (since is None or since <= quarter) and (until is None or quarter < until)

    def capacity(self, quarter: datetime) -> int | None:
        return self.since if quarter >= self.at else self.before


def add(store: Store, group: Group, day: datetime, what: Made) -> Gate:
    before, since, changed = what.capacities
    camera = store.cameras.add(str(uuid.uuid4()), hold=what.hold, capacity=before)
    at = day + changed * QUARTER
    store.cameras.update(camera, capacity=since, since=at)
    regular = {i * what.step: count for i, count in enumerate(what.counts * (3 * 86_400 // what.step))}
    seen = {day + timedelta(seconds=s): n for s, n in (regular | what.seen).items() if s < 3 * 86_400}
    assert store.record([OccupancyEvent(camera.id, moment, n) for moment, n in seen.items()]).rejected == ()
    joined, left = (None if bound is None else day + bound * QUARTER for bound in (what.joined, what.left))
    store.groups.join(group, camera, since=joined, until=left)
    periods: tuple[tuple[datetime, datetime], ...] = ()
    if what.period:
        kind, first, size = what.period
        periods = ((day + first * QUARTER, day + (first + size) * QUARTER),)
        store.periods.add(camera, *periods[0], kind)  # type: ignore[arg-type]
    return Gate(Member([*seen.items()], what.hold, joined, left, periods), before, since, at)


def above(
    gates: Sequence[Gate], level: int | None, share: int, grid: Sequence[datetime], labels: Sequence[Any],
    gone_until: datetime | None,
) -> Bounds:  # fmt: skip
    """By label; the level is given, or a share of the capacity in percent."""
    now = datetime.now(UTC)
    stood = [brute_force.steps(gate.member, now) for gate in gates]
    result: Bounds = {}
    for quarter, label in zip(grid, labels, strict=True):
        if label is None:
            continue
        present = [(gate, steps) for gate, steps in zip(gates, stood, strict=True) if gate.is_there(quarter)]
        wanted = level or (level_of([gate.capacity(quarter) for gate, _ in present], share) if present else None)
        is_gone = gone_until is not None and quarter < gone_until
        end = min(micros(quarter + QUARTER), micros(now))
        found = above_in([steps for _, steps in present], micros(quarter), end, wanted, is_gone=is_gone)
        result[label] = result[label].plus(found) if label in result else found
    return result


def level_of(capacities: Sequence[int | None], share: int) -> int | None:
    return None if None in capacities else -(-share * sum(filter(None, capacities)) // 100)


def above_in(
    stood: Sequence[Sequence[tuple[int, int, int]]], begin: int, end: int, level: int | None, *, is_gone: bool
) -> Above:
    """Of one quarter: only its level where there is no member, or one of them is not known in all of it."""
    parts = [
        [(max(begin, at), min(end, until), count) for at, until, count in steps if at < end and until > begin]
        for steps in stood
    ]
    if not parts or any(sum(until - at for at, until, _ in part) < end - begin for part in parts):
        return Above.of(0, 0, 0, 900, level)
    known = (end - begin) / 1e6
    if level is None:
        return Above.of(0, 0, known, 900, None)
    if is_gone:
        least, most = (sum(pick(count for _, _, count in part) for part in parts) for pick in (min, max))
        cars = sum((until - at) * count for part in parts for at, until, count in part) / 1e6
        return Above.of(*extremes(known, cars, least, most, level), known, 900, level)
    moments = sorted({at for part in parts for at, _, _ in part} | {end})
    full = sum(
        later - moment
        for moment, later in pairwise(moments)
        if sum(count for part in parts for at, until, count in part if at <= moment < until) >= level
    )
    return Above.of(full / 1e6, full / 1e6, known, 900, level)


def gone_until(store: Store, group: Group) -> datetime:
    query = """
        SELECT min(e.timestamp) FROM occupancy_events AS e JOIN group_members USING (camera_id) WHERE group_id = %s
    """
    with store.pool.connection() as connection:
        (first,) = connection.execute(query, [group.id]).fetchone() or (None,)
    return datetime.max.replace(tzinfo=UTC) if first is None else quarter_of(first)


# The level changes as the first count comes: the row has two levels, though in the time of the one nothing is known.
FIRST_COUNT = Made(150, [0], {}, DAY, None, None, None, (21, 1, 0))


@PROPERTY
@example(DAYS[0], [FIRST_COUNT], "Europe/Berlin", "day", 1, 5, -1, 2, {})
@given(
    day=st.sampled_from(DAYS), members=st.lists(made, min_size=1, max_size=3), zone=zones,
    by=st.sampled_from([*LABELS]), level=st.integers(1, 150), share=st.integers(0, 110), start=st.integers(-96, 250),
    length=st.integers(1, 400), asked=kinds_of_time,
)  # fmt: skip
def test_the_time_above_of_a_group_is_that_of_brute_force_before_and_after_retention(
    store: Store, day: datetime, members: list[Made], zone: str, by: str, level: int, share: int, start: int,
    length: int, asked: dict[str, Any],
) -> None:  # fmt: skip
    group = store.groups.add(str(uuid.uuid4()), timezone="UTC")
    gates = [add(store, group, day, what) for what in members]
    begin = day + start * QUARTER
    grid, calendar = brute_force.quarters(begin, begin + length * QUARTER), calendar_of(asked, begin)
    wall = ZoneInfo(zone)
    labels = [LABELS[by](quarter, wall) if brute_force.counts(quarter, wall, **calendar) else None for quarter in grid]
    more: dict[str, Any] = {"start": begin, "end": begin + length * QUARTER, "timezone": zone} | calendar
    for gone in (None, gone_until):
        if gone:
            store.prune()
        until = gone(store, group) if gone else None
        check(store.url, group, above(gates, level, share, grid, labels, until), by, level=level, **more)
        check(store.url, group, above(gates, None, share, grid, labels, until), by, share=share / 100, **more)


def test_a_group_of_now_is_above_a_level_until_now(store: Store) -> None:
    start = quarter_of(datetime.now(UTC)) - timedelta(hours=2)
    for name, count in (("one", 4), ("other", 6)):
        camera = store.cameras.add(name, timezone="Asia/Kathmandu", capacity=10)
        store.record([OccupancyEvent(camera.id, start + i * timedelta(hours=1), i * count) for i in range(2)])
    store.groups.add("lot", ["one", "other"])
    questions: list[tuple[dict[str, Any], int]] = [({"level": 10}, 1), ({"share": 0.3}, 1), ({"level": 11}, 0)]
    for asked, hours in questions:
        row: Any = analytics.time_above("lot", by="total", start=start, url=store.url, **asked).iloc[0]
        assert row["known_hours"] == pytest.approx((datetime.now(UTC) - start) / timedelta(hours=1), abs=0.1)
        assert row["hours_at_least"] == row["hours_at_most"] == pytest.approx(hours * (row["known_hours"] - 1))


def test_a_reader_is_answered_for_groups_and_cameras_together(store: Store, make_role: MakeRole) -> None:
    start = KEPT_FROM + 60 * DAY
    for name in ("one", "other"):
        camera = store.cameras.add(name, capacity=10)
        store.record([OccupancyEvent(camera.id, start + i * timedelta(minutes=5), i % 8) for i in range(500)])
    store.groups.add("lot", ["one", "other"])
    role = make_role(store.url, "reader")
    grant(store.url, readers=[role])
    asked: dict[str, Any] = {"share": 0.5, "start": start, "end": start + DAY, "url": as_role(store.url, role)}
    found = analytics.time_above(["one", "lot"], **asked).reset_index()
    assert found["camera"].tolist() == ["lot", "one"]
    assert found["level"].tolist() == [10, 5]
    assert found["hours_at_least"].tolist() == [pytest.approx(9)] * 2


def test_members_of_several_zones_are_an_error_that_names_the_group(store: Store) -> None:
    for name, zone in (("one", "Europe/Berlin"), ("other", "Asia/Kathmandu")):
        store.cameras.add(name, timezone=zone)
    store.groups.add("lot", ["one", "other"], timezone="UTC")
    with store.pool.connection() as connection:
        connection.execute("UPDATE camera_groups SET timezone = NULL")
        with pytest.raises(Exception, match="'lot' have several time zones"):
            connection.execute("SELECT * FROM group_above(level => 5)")
        connection.rollback()
