"""Groups against brute force: members that come and go, any zone and hold, late events, before and after retention."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from tests.support import brute_force
from tests.support.brute_force import QUARTER, Member
from timeseries import Camera, Group, OccupancyEvent, ServerKind, Store

DAYS = [datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 4, 4, tzinfo=UTC), datetime(2025, 10, 25, tzinfo=UTC)]
PROPERTY = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Label = Callable[[datetime, ZoneInfo], Hashable]
LABELS: dict[str, Label] = {
    "quarters": lambda quarter, _: quarter,
    "hours": brute_force.hour_label,
    "days": brute_force.day_label,
    "weekdays": brute_force.weekday_label,
    "profile": brute_force.profile_label,
    "months": brute_force.month_label,
    "averages": brute_force.slot_label(360),
}
OWN = {"averages": "width => '6 hours', "}
# What identifies a row, before the columns that are compared.
KEYS = {
    "quarters": "bucket", "hours": "bucket", "days": "local_date", "weekdays": "weekday", "profile": "weekday, hour",
    "months": "local_date", "averages": "bucket",
}  # fmt: skip
MEASURES = "occupied_avg, coverage, samples, occupied_min, occupied_max, extremes_exact"

offsets = st.one_of(
    st.integers(0, 3 * 96).map(lambda quarter: quarter * 900 * 1_000_000),
    st.integers(0, 3 * 86_400 * 1_000_000),
)
sights = st.dictionaries(offsets, st.integers(0, 200), max_size=40)
holds = st.one_of(st.just(timedelta(days=1)), st.timedeltas(timedelta(minutes=15), timedelta(days=2)))
zones = st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York"])
spans = st.one_of(
    st.just(((None, None),)),
    st.lists(st.integers(-20, 300), min_size=1, max_size=4, unique=True).map(
        lambda cuts: tuple((c, d) for c, d in zip([None, *sorted(cuts)], [*sorted(cuts), None], strict=True))[::2]
    ),
)


class Watched(NamedTuple):
    """A camera of a group, what it saw, its memberships and its periods."""

    camera: Camera
    seen: dict[datetime, int]
    spans: tuple[tuple[datetime | None, datetime | None], ...]
    periods: tuple[tuple[datetime, datetime], ...] = ()


class Made(NamedTuple):
    """What a history is made of: sights (by microseconds after a day), hold, zone, memberships (quarters after it)."""

    seen: dict[int, int]
    hold: timedelta
    zone: str
    spans: tuple[tuple[int | None, int | None], ...]


made = st.builds(Made, sights, holds, zones, spans)


def add(store: Store, group: Group, day: datetime, what: Made) -> Watched:
    camera = store.cameras.add(str(uuid.uuid4()), timezone=what.zone, hold=what.hold)
    seen = {day + timedelta(microseconds=offset): count for offset, count in what.seen.items()}
    spans = tuple(
        (None if c is None else day + c * QUARTER, None if d is None else day + d * QUARTER) for c, d in what.spans
    )
    for since, until in spans:
        store.groups.join(group, camera, since=since, until=until)
    return Watched(camera, seen, spans)


def check(
    store: Store,
    group: Group,
    watched: list[Watched],
    zone: str,
    start: datetime,
    end: datetime,
    *,
    exact: bool,
    **calendar: Any,
) -> None:
    """Every function of a group over one range; extremes are `exact`, or bounds."""
    members = [
        Member([*one.seen.items()], store.cameras.get(one.camera).hold, *span, one.periods)
        for one in watched
        for span in one.spans
    ]
    with store.pool.connection() as connection:
        for name in LABELS:
            check_function(connection, group, name, members, ZoneInfo(zone), start, end, calendar, exact=exact)


def check_function(
    connection: psycopg.Connection[tuple[Any, ...]], group: Group, name: str, members: list[Member],
    zone: ZoneInfo, start: datetime, end: datetime, calendar: dict[str, Any], *, exact: bool,
) -> None:  # fmt: skip
    labels = [
        LABELS[name](quarter, zone) if brute_force.counts(quarter, zone, **calendar) else None
        for quarter in brute_force.quarters(start, end)
    ]
    wanted = brute_force.group_answer(members, start=start, end=end, labels=labels)
    query = f"""
        SELECT {MEASURES}, {KEYS[name]}
        FROM group_{name}(%s, %s, %s, %s, {OWN.get(name, "")}exact_rows => NULL,
            calendar => calendar(%s, %s, %s, opening => %s))
    """
    hours, weekdays = calendar.get("hours", (None, None)), calendar.get("weekdays")
    opening = Jsonb(calendar["opening"]) if "opening" in calendar else None
    counted = [*hours, weekdays and [*weekdays], opening]
    found: dict[Hashable, tuple[Any, ...]] = {}
    for row in connection.execute(query, [[group.id], start, end, zone.key, *counted]):
        *_, key = row[:7]
        if KEYS[name] == "bucket":
            key = LABELS[name](max(key, start).astimezone(UTC), zone)
        found[row[6:] if name == "profile" else key] = row[:6]
    assert set(found) == set(wanted)
    for key, known in wanted.items():
        average, coverage, samples, least, most, is_exact = found[key]
        assert samples == known.samples
        assert coverage == pytest.approx(known.counted_seconds / known.span_seconds, rel=1e-9, abs=1e-12)
        if not known.counted_seconds:
            assert (average, least, most) == (None, None, None)
            continue
        assert average == pytest.approx(known.car_seconds / known.counted_seconds, rel=1e-9, abs=1e-12)
        assert is_exact or not exact
        if is_exact:
            assert (least, most) == (known.least, known.most)
        else:
            assert least <= known.least <= known.most <= most


@PROPERTY
@given(
    day=st.sampled_from(DAYS), histories=st.lists(made, min_size=1, max_size=3), zone=zones, change=made,
    order=st.randoms(use_true_random=False), start=st.integers(-96, 250), length=st.integers(1, 400),
)  # fmt: skip
def test_members_that_come_and_go_add_up_as_brute_force_says(
    store: Store, day: datetime, histories: list[Made], zone: str, change: Made, order: random.Random, start: int,
    length: int,
) -> None:  # fmt: skip
    group = store.groups.add(str(uuid.uuid4()), timezone="UTC")
    watched = [add(store, group, day, history) for history in histories]
    begin = day + start * QUARTER
    asked = (zone, begin, begin + length * QUARTER)
    events = [OccupancyEvent(one.camera.id, at, count) for one in watched for at, count in one.seen.items()]
    order.shuffle(events)
    cut = order.randrange(len(events) + 1)
    store.record(events[:cut])
    assert store.record(events[cut:]).rejected == ()
    check(store, group, watched, *asked, exact=True)

    # Another zone and hold of one member, and another one joins.
    store.cameras.update(watched[0].camera, timezone=change.zone, hold=change.hold)
    watched.append(add(store, group, day, change))
    late = [OccupancyEvent(watched[-1].camera.id, at, count) for at, count in watched[-1].seen.items()]
    store.record(late)
    check(store, group, watched, *asked, exact=True)

    store.prune()
    check(store, group, watched, *asked, exact=False)


@PROPERTY
@given(
    day=st.sampled_from(DAYS), histories=st.lists(made, min_size=1, max_size=3), zone=zones,
    periods=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["wrong", "closed"]), st.integers(-20, 290), st.integers(1, 120)),
        max_size=4,
    ),
    hours=st.sampled_from([("07:00", "19:00"), ("22:15", "05:30"), None]), weekdays=st.sampled_from([None, (1, 6, 7)]),
    opening=st.sampled_from([
        None, {"friday": ["06:00", "02:15"], "sunday": ["08:00", "20:00"]}, {"sunday": ["00:00", "24:00"]},
    ]),
    start=st.integers(-96, 250), length=st.integers(1, 400),
)  # fmt: skip
def test_periods_of_members_and_calendars_count_as_brute_force_says(
    store: Store, day: datetime, histories: list[Made], zone: str, periods: list[tuple[int, str, int, int]],
    hours: tuple[str, str] | None, weekdays: tuple[int, ...] | None, opening: dict[str, list[str]] | None, start: int,
    length: int,
) -> None:  # fmt: skip
    group = store.groups.add(str(uuid.uuid4()), timezone="UTC")
    watched = [add(store, group, day, history) for history in histories]
    store.record(OccupancyEvent(one.camera.id, at, count) for one in watched for at, count in one.seen.items())
    for member, kind, first, size in periods:
        number, begin = member % len(watched), day + first * QUARTER
        store.periods.add(watched[number].camera, begin, begin + size * QUARTER, kind)  # type: ignore[arg-type]
        spans = (*watched[number].periods, (begin, begin + size * QUARTER))
        watched[number] = watched[number]._replace(periods=spans)
    calendar: dict[str, Any] = {"hours": hours, "weekdays": weekdays, "opening": opening}
    calendar = {name: one for name, one in calendar.items() if one}
    asked = (zone, day + start * QUARTER, day + (start + length) * QUARTER)
    check(store, group, watched, *asked, exact=False, **calendar)
    store.prune()
    check(store, group, watched, *asked, exact=False, **calendar)


def test_members_unknown_for_parts_of_hours_and_days_count_as_brute_force_says(store: Store) -> None:
    """Before and after retention, which leaves summaries of days and hours that have gaps inside."""
    day, chance = DAYS[0], random.Random(11)
    group = store.groups.add("lot")
    watched = [
        add(store, group, day, Made(seen, hold, "Europe/Berlin", ((None, None),)))
        for hold, number in ((timedelta(minutes=50), 800), (timedelta(hours=3), 300), (timedelta(days=1), 20))
        for seen in [{chance.randrange(12 * 86_400_000_000): chance.randrange(90) for _ in range(number)}]
    ]
    store.record(OccupancyEvent(one.camera.id, at, count) for one in watched for at, count in one.seen.items())
    asked = ("Europe/Berlin", day + timedelta(hours=5), day + timedelta(days=11))
    check(store, group, watched, *asked, exact=True)
    store.prune()
    check(store, group, watched, *asked, exact=False)


def test_a_group_of_now_counts_until_now(store: Store) -> None:
    """The running quarter counts as far as it has come, and the extremes of today are exact unasked."""
    group = store.groups.add("lot", timezone="Asia/Kathmandu")
    now = datetime.now(UTC)
    start = brute_force.quarters(datetime(2026, 1, 1, tzinfo=UTC), now)[-1] - timedelta(days=3)
    chance = random.Random(5)
    seen = [
        {start + timedelta(minutes=7 * i + chance.random()): chance.randrange(50) for i in range(600)} for _ in range(3)
    ]
    cameras = [store.cameras.add(f"gate {i}", hold=timedelta(hours=1 + i)) for i in range(3)]
    for camera, counts in zip(cameras, seen, strict=True):
        store.groups.join(group, camera)
        events = [OccupancyEvent(camera.id, at, n) for at, n in counts.items() if at < now]
        assert store.record(events).rejected == ()
    with store.pool.connection() as connection, connection.transaction():
        (at,) = connection.execute("SELECT now()").fetchone() or (now,)
        end = start + timedelta(days=4)
        zone = ZoneInfo("Asia/Kathmandu")
        members = [
            Member([(t, n) for t, n in counts.items() if t < now], camera.hold)
            for camera, counts in zip(cameras, seen, strict=True)
        ]
        for name in ("hours", "days"):
            labels = [LABELS[name](quarter, zone) for quarter in brute_force.quarters(start, end)]
            wanted = brute_force.group_answer(members, start=start, end=end, labels=labels, now=at)
            rows = connection.execute(
                f"SELECT {KEYS[name]}, {MEASURES} FROM group_{name}(NULL, %s, %s)", [start, end]
            ).fetchall()
            assert len(rows) == len(wanted)
            for key, average, coverage, samples, *rest in rows:
                label = LABELS[name](max(key, start), zone) if name == "hours" else key
                known = wanted[label]
                assert samples == known.samples
                assert coverage == pytest.approx(known.counted_seconds / known.span_seconds, rel=1e-9, abs=1e-12)
                if known.counted_seconds:
                    assert average == pytest.approx(known.car_seconds / known.counted_seconds, rel=1e-9)
                    assert rest == [known.least, known.most, True]


def test_a_missing_member_lowers_coverage_and_never_the_average(store: Store) -> None:
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=2)
    for name, hours in (("one", 10), ("other", 4)):
        camera = store.cameras.add(name, hold=timedelta(minutes=15))
        moments = [start + i * QUARTER for i in range(4 * hours)]
        store.record([OccupancyEvent(camera.id, at, 10) for at in moments])
    store.groups.add("lot", ["one", "other"])
    ask = [start, start + timedelta(hours=10)]
    with store.pool.connection() as connection:
        query = "SELECT avg(occupied_avg), avg(coverage), sum(samples) FROM group_quarters(NULL, %s, %s)"
        assert connection.execute(query, ask).fetchone() == (20, pytest.approx(0.4), 56)


def test_without_a_start_a_group_begins_with_the_first_that_a_member_saw(store: Store) -> None:
    at = datetime.now(UTC).replace(hour=10, minute=40, second=0, microsecond=0) - timedelta(days=9)
    for name in ("one", "other"):
        store.cameras.add(name)
    group = store.groups.add("lot", ["one"])
    query = "SELECT bucket, coverage, occupied_avg FROM group_hours(NULL, NULL, %s) ORDER BY 1"
    ask = [at + timedelta(hours=3)]
    with store.pool.connection() as connection:
        assert connection.execute(query, ask).fetchall() == []
    store.record([OccupancyEvent(store.cameras.get("one").id, at, 7)])
    store.record([OccupancyEvent(store.cameras.get("other").id, at - timedelta(days=2), 9)])
    store.groups.join(group, "other", since=at.replace(minute=0) + timedelta(hours=1))
    with store.pool.connection() as connection:
        rows = connection.execute(query, ask).fetchall()
    hour = at.replace(minute=0)
    assert rows[:2] == [(hour, 1 / 2, 7), (hour + timedelta(hours=1), 0, None)]


def test_members_of_several_zones_are_an_error_that_names_the_group(store: Store) -> None:
    store.groups.add("North Lot", [store.cameras.add("one", timezone="Europe/Berlin")])
    with store.pool.connection() as connection:
        connection.execute("INSERT INTO cameras (name, timezone) VALUES ('other', 'UTC')")
        connection.execute(
            "INSERT INTO group_members (group_id, camera_id) SELECT g.id, c.id FROM camera_groups AS g, cameras AS c"
            " WHERE c.name = 'other'"
        )
    with store.pool.connection() as connection:
        assert connection.execute("SELECT count(*) FROM group_days(NULL, now(), now(), 'UTC')").fetchone() is not None
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="'North Lot' have several time zones"):
            connection.execute("SELECT * FROM group_days()")
        connection.rollback()


def test_extremes_are_exact_as_far_as_it_is_cheap_or_asked_for(store: Store) -> None:
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    for name, shift in (("one", 0), ("other", 5)):
        camera = store.cameras.add(name)
        moments = [start + timedelta(minutes=10 * i + shift) for i in range(144)]
        store.record([OccupancyEvent(camera.id, at, 10 * (i % 2)) for i, at in enumerate(moments)])
    store.groups.add("lot", ["one", "other"])
    query = "SELECT occupied_min, occupied_max, extremes_exact FROM group_hours(NULL, %s, %s, exact_rows => %s) LIMIT 1"
    with store.pool.connection() as connection:
        ask = [start + timedelta(hours=3), start + timedelta(hours=5)]
        assert connection.execute(query, [*ask, 10]).fetchone() == (0, 20, False)
        assert connection.execute(query, [*ask, None]).fetchone() == (0, 20, True)


def test_the_newest_counts_of_a_group_are_added_where_all_stand(store: Store) -> None:
    now = datetime.now(UTC)
    for name, ago, capacity in (("one", 1, 40), ("other", 3, 60)):
        camera = store.cameras.add(name, hold=timedelta(hours=2), capacity=capacity)
        store.record([OccupancyEvent(camera.id, now - timedelta(hours=ago), 10 * ago)])
    group = store.groups.add("lot", ["one"])
    query = "SELECT occupied_count, capacity, missing, counted_at FROM group_latest()"
    with store.pool.connection() as connection:
        assert connection.execute(query).fetchone() == (10, 40, None, now - timedelta(hours=1))
        store.groups.join(group, "other")
        assert connection.execute(query).fetchone()[:3] == (None, 100, "other")  # type: ignore[index]
        store.cameras.update("other", hold=timedelta(hours=4), capacity=None)
        assert connection.execute(query).fetchone()[:3] == (40, None, None)  # type: ignore[index]
        store.groups.leave(group, "other", wholly=True)
        store.groups.join(group, "other", until=datetime(2026, 1, 1, tzinfo=UTC))
        assert connection.execute(query).fetchone()[:3] == (10, 40, None)  # type: ignore[index]


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_raw_rows_that_are_gone_leave_exact_extremes_to_what_came_after(store: Store) -> None:
    """A count that was carried in from quarters whose raw rows are gone stands in the sum."""
    long_ago = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=95)
    for name in ("one", "other"):
        camera = store.cameras.add(name, hold=timedelta(days=30))
        store.record([OccupancyEvent(camera.id, long_ago + timedelta(hours=i), i) for i in range(5)])
    store.groups.add("lot", ["one", "other"])
    store.prune()
    store.record([OccupancyEvent(store.cameras.get("one").id, long_ago + timedelta(days=2, minutes=5), 50)])
    query = "SELECT occupied_min, occupied_max, extremes_exact FROM group_days(NULL, %s, %s) ORDER BY bucket"
    with store.pool.connection() as connection:
        rows = connection.execute(query, [long_ago, long_ago + timedelta(days=3)]).fetchall()
    assert rows == [(0, 8, False), (8, 8, True), (8, 54, True)]
