"""The arithmetic, against brute force: any events in any order, any zone, any hold, daylight saving both ways."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import psycopg
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

import analytics
from tests.support import brute_force
from tests.support.histories import same
from timeseries import Camera, InvalidInputError, OccupancyEvent, Store

# Zones that a server and this machine both know by rules, not by leap seconds.
ZONES = sorted(zone for zone in available_timezones() if not zone.startswith(("right/", "posix")) and "/" in zone)
# Days around changes of the clock, in the north and the south, at midnight and by half an hour.
DAYS = [
    datetime(year, month, day, tzinfo=UTC)
    for year, month, day in ((2026, 3, 8), (2026, 3, 28), (2026, 4, 4), (2025, 10, 4), (2025, 10, 25), (2025, 11, 1))
]
HOURS = "SELECT bucket, occupied_avg, coverage, samples, occupied_min, occupied_max FROM occupancy_hours(%s, %s, %s)"
FUNCTIONS = ("occupancy_quarters", "occupancy_hours", "occupancy_days", "occupancy_weekdays", "occupancy_profile")
WEEKDAYS = "SELECT weekday, occupied_avg, coverage, samples FROM occupancy_weekdays(%s, %s, %s)"
PROPERTY = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

offsets = st.one_of(
    st.integers(0, 3 * 96).map(lambda quarter: quarter * 900 * 1_000_000),  # exactly on the edges
    st.integers(0, 3 * 86_400 * 1_000_000),
)
observations = st.dictionaries(offsets, st.integers(0, 2**31 - 1), min_size=1, max_size=40)
zones = st.one_of(
    st.sampled_from(["America/New_York", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns",
                     "America/Havana", "Atlantic/Azores", "Asia/Beirut", "Antarctica/Troll"]),
    st.sampled_from(ZONES),
)  # fmt: skip
holds = st.one_of(st.just(timedelta(days=1)), st.timedeltas(timedelta(minutes=15), timedelta(days=2)))


def compare(found: dict[object, tuple[object, ...]], wanted: dict[object, brute_force.Known]) -> None:
    """Averages to a relative 1e-9, samples exactly, and a row for everything that is asked for."""
    assert set(found) == set(wanted)
    for key, known in wanted.items():
        average, coverage, samples = found[key][:3]
        assert samples == known.samples
        assert coverage == pytest.approx(known.coverage, rel=1e-9, abs=1e-12)
        if known.average is None:
            assert average is None
        else:
            assert average == pytest.approx(known.average, rel=1e-9, abs=1e-12)


def check(
    connection: psycopg.Connection[tuple[object, ...]], camera: uuid.UUID, zone: str, hold: timedelta,
    events: Iterable[tuple[datetime, int]], start: datetime, end: datetime,
) -> None:  # fmt: skip
    """Both functions of one camera in its own zone, over one range."""
    times, counts = zip(*events, strict=True)
    local = ZoneInfo(zone)
    grid = brute_force.quarters(start, end)
    ask = ([camera], start, end)
    hours = [brute_force.hour_label(quarter, local) for quarter in grid]
    wanted = brute_force.answer(times, counts, start=start, end=end, labels=hours, hold=hold)
    found = {brute_force.hour_label(max(row[0], start), local): row[1:] for row in connection.execute(HOURS, ask)}  # type: ignore[call-overload]
    compare(found, wanted)
    for average, _, _, least, most in found.values():
        assert average is None or least - 1e-6 <= average <= most + 1e-6
    weekdays = [brute_force.weekday_label(quarter, local) for quarter in grid]
    wanted = brute_force.answer(times, counts, start=start, end=end, labels=weekdays, hold=hold)
    compare({row[0]: row[1:] for row in connection.execute(WEEKDAYS, ask)}, wanted)


def add_camera(store: Store, zone: str, hold: timedelta) -> Camera:
    try:
        return store.cameras.add(str(uuid.uuid4()), timezone=zone, hold=hold)
    except InvalidInputError:  # a zone that Python knows and this server's operating system does not
        reject()


@PROPERTY
@given(
    day=st.sampled_from(DAYS), seen=observations, zone=zones, hold=holds, order=st.randoms(use_true_random=False),
    start=st.integers(-96, 250), length=st.integers(1, 400),
)  # fmt: skip
def test_any_events_in_any_order_zone_and_hold_average_as_brute_force_does(
    store: Store,
    day: datetime,
    seen: dict[int, int],
    zone: str,
    hold: timedelta,
    order: random.Random,
    start: int,
    length: int,
) -> None:
    camera = add_camera(store, zone, hold)
    events = [(day + timedelta(microseconds=offset), count) for offset, count in seen.items()]
    order.shuffle(events)
    cut = order.randrange(len(events) + 1)
    for part in (events[:cut], events[cut:], events[: cut // 2]):  # late, and partly repeated
        assert store.record([OccupancyEvent(camera.id, at, count) for at, count in part]).rejected == ()
    begin = day + start * brute_force.QUARTER
    with store.pool.connection() as connection:
        check(connection, camera.id, zone, hold, events, begin, begin + length * brute_force.QUARTER)


@PROPERTY
@given(
    day=st.sampled_from(DAYS),
    seen=observations,
    before=st.tuples(zones, holds),
    after=st.tuples(zones, holds),
)
def test_a_changed_zone_or_hold_rebuilds_hours_and_days(
    store: Store,
    day: datetime,
    seen: dict[int, int],
    before: tuple[str, timedelta],
    after: tuple[str, timedelta],
) -> None:
    camera = add_camera(store, *before)
    events = [(day + timedelta(microseconds=offset), count) for offset, count in seen.items()]
    store.record([OccupancyEvent(camera.id, at, count) for at, count in events])
    try:
        store.cameras.update(camera, timezone=after[0], hold=after[1])
    except InvalidInputError:
        reject()
    with store.pool.connection() as connection:
        check(connection, camera.id, *after, events, day - timedelta(days=1), day + timedelta(days=5))


def test_an_answer_without_a_start_counts_the_observation_it_begins_with(store: Store) -> None:
    camera = store.cameras.add("lot")
    at = datetime.now(UTC).replace(hour=10, minute=40, second=0, microsecond=0) - timedelta(days=9)
    store.record([OccupancyEvent(camera.id, at, 7), OccupancyEvent(camera.id, at + timedelta(hours=3), 8)])
    with store.pool.connection() as connection:
        rows = connection.execute(f"{HOURS} ORDER BY 1", [[camera.id], None, at + timedelta(hours=4)]).fetchall()
    assert [row[1:4] for row in rows[:2]] == [(7, pytest.approx(2 / 3), 1), (7, 1, 0)]


def test_days_in_one_cameras_zone_are_right_for_cameras_of_other_zones(store: Store) -> None:
    cameras = [store.cameras.add(zone, timezone=zone) for zone in ("Europe/Berlin", "America/New_York")]
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=9)
    moments = [start + i * timedelta(hours=5) for i in range(15)]
    store.record([OccupancyEvent(camera.id, at, i) for camera in cameras for i, at in enumerate(moments)])
    ask = [start, start + timedelta(days=3), "Europe/Berlin"]
    days = "SELECT local_date, occupied_avg, samples, coverage FROM occupancy_days(%s, %s, %s, %s) ORDER BY 1"
    with store.pool.connection() as connection:
        berlin, new_york = (connection.execute(days, [[camera.id], *ask]).fetchall() for camera in cameras)
        together = connection.execute(days, [[camera.id for camera in cameras], *ask]).fetchall()
    assert len(berlin) == 4
    assert same({"days": new_york}, {"days": berlin})
    assert same({"days": together}, {"days": [row for row in berlin for _ in cameras]})


def test_hundreds_of_cameras_at_once_answer_as_each_alone(store: Store) -> None:
    ids = [store.cameras.add(f"lot {i}", hold=timedelta(hours=1 + i % 30)).id for i in range(230)]
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)
    chance = random.Random(3)
    moments = [(camera, start + timedelta(hours=96 * chance.random())) for camera in ids for _ in range(5)]
    now = datetime.now(UTC)
    store.record([OccupancyEvent(camera, at, chance.randrange(90)) for camera, at in moments if at < now])
    asks = (  # across quarters, hours and days, and of whole days alone
        [start + timedelta(minutes=40), start + timedelta(days=2, hours=7)],
        [start, start + timedelta(days=2)],
    )
    opening = "calendar => calendar(hours_from => '07:00', hours_to => '19:00')"
    for ask, function in itertools.product(asks, [*FUNCTIONS, "occupancy_weeks"]):
        calendar = f", {opening}" if function == "occupancy_weekdays" else ""
        query = f"SELECT * FROM {function}(%s, %s, %s{calendar}) ORDER BY 1, 2, 3"
        with store.pool.connection() as connection:
            together = connection.execute(query, [None, *ask]).fetchall()
            alone = [row for camera in sorted(ids)[::10] for row in connection.execute(query, [[camera], *ask])]
        assert {row[0] for row in together} == set(ids)
        assert same({function: [row for row in together if row[0] in sorted(ids)[::10]]}, {function: alone})


def test_the_aggregates_hold_what_neighbours_need(store: Store) -> None:
    """A row of each level by hand: first and last, the integral between, the average to the end of the bucket."""
    camera = store.cameras.add("lot", timezone="Europe/Berlin", hold=timedelta(minutes=30))
    at = datetime(2026, 7, 1, 10, 0, tzinfo=UTC)
    store.record([
        OccupancyEvent(camera.id, at + timedelta(minutes=5), 10),
        OccupancyEvent(camera.id, at + timedelta(minutes=10), 40),
        OccupancyEvent(camera.id, at + timedelta(minutes=55), 7),
    ])  # fmt: skip
    columns = "samples, occupied_min, occupied_max, occupied_avg, first_count, last_count, car_seconds, known_seconds"
    with store.pool.connection() as connection:
        quarter = connection.execute(f"SELECT {columns} FROM occupancy_quarter_hourly WHERE bucket = %s", [at])
        assert quarter.fetchone() == (2, 10, 40, 25.0, 10, 40, 3000.0, 300.0)
        hour = connection.execute(f"SELECT {columns} FROM occupancy_hourly WHERE bucket = %s", [at])
        known = 300 + 1800  # 40 cars stood for half an hour, not for 45 minutes
        cars = 3000.0 + 40 * 1800
        assert hour.fetchone() == (
            3,
            7,
            40,
            pytest.approx((cars + 7 * 300) / (known + 300)),
            10,
            7,
            cars,
            known,
        )
        day = connection.execute(f"SELECT weekday, local_date::text, {columns} FROM occupancy_weekday")
        average = pytest.approx((cars + 7 * 1800) / (known + 1800))
        assert day.fetchall() == [(3, "2026-07-01", 3, 7, 40, average, 10, 7, cars, known)]


def test_an_observation_stands_no_longer_than_now(store: Store) -> None:
    camera = store.cameras.add("lot")
    now = datetime.now(UTC)
    store.record([OccupancyEvent(camera.id, now - timedelta(hours=2), 5)])
    frame = analytics.weekday_averages(
        "lot", start=now - timedelta(hours=3), end=now + timedelta(days=2), url=store.url
    )
    known = (frame["coverage"] * weekday_seconds(now - timedelta(hours=3), now + timedelta(days=2), frame)).sum()
    assert known == pytest.approx(7200, abs=60)


def weekday_seconds(start: datetime, end: datetime, frame: object) -> list[float]:
    first = datetime.fromtimestamp(start.timestamp() // 900 * 900, UTC)
    last = datetime.fromtimestamp(-(-end.timestamp() // 900) * 900, UTC)
    labels = [quarter.isoweekday() for quarter in brute_force.quarters(first, last)]
    return [900.0 * labels.count(weekday) for weekday in frame["weekday"]]  # type: ignore[index]
