"""Every answer against brute force on raw events: whole years in six zones, ranges that begin and end anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import brute_force
import pandas as pd
import psycopg
import pytest
from brute_force import QUARTER
from conftest import SECRET_KEY, RunningServer

import analytics
from timeseries import Camera, HealthLog, OccupancyEvent, ServerKind, Store
from timeseries.models import HEALTH_STATUSES
from timeseries.settings import Settings

ZONES = (
    "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns",
)  # fmt: skip
YEAR = (datetime(2025, 11, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))


@dataclass
class Lot:
    """A camera and what it saw."""

    camera: Camera
    counts: list[tuple[datetime, int]]
    logs: list[tuple[datetime, str, str | None]]

    @property
    def zone(self) -> ZoneInfo:
        return self.camera.zone


@dataclass
class Year:
    """Six lots with irregular events of a year and a lot of today, in a database of one kind of server."""

    store: Store
    now: datetime
    lots: list[Lot] = field(default_factory=list)

    def ask(self, question: Callable[..., Any], lot: Lot, start: datetime, end: datetime, **more: Any) -> pd.DataFrame:
        found: pd.DataFrame = question(lot.camera, start=start, end=end, url=self.store.url, **more)
        return found


def irregular(chance: random.Random, start: datetime, end: datetime, mean: timedelta) -> list[datetime]:
    """Moments with gaps from a second to many times the mean; now and then exactly on a quarter of an hour."""
    times = [start]
    while (at := times[-1] + timedelta(seconds=1 + chance.expovariate(1 / mean.total_seconds()))) < end:
        if chance.random() < 0.1:
            at = datetime.fromtimestamp(-(-at.timestamp() // 900) * 900, UTC)
        times.append(max(at, times[-1] + timedelta(seconds=1)))
    return times[1:]


def add_lot(year: Year, name: str, zone: str, hold: timedelta, start: datetime, end: datetime, mean: timedelta) -> None:
    chance = random.Random(name)
    camera = year.store.cameras.add(name, timezone=zone, hold=hold, capacity=200)
    counts = [(at, chance.randrange(200)) for at in irregular(chance, start, end, mean)]
    logs = [
        (at, chance.choice(HEALTH_STATUSES), chance.choice([None, f"message {i}"]))
        for i, at in enumerate(irregular(chance, start, end, mean * 20))
    ]
    year.lots.append(Lot(camera, counts, logs))
    events = [OccupancyEvent(camera.id, *count) for count in counts] + [HealthLog(camera.id, *log) for log in logs]
    assert year.store.record(events).rejected == ()


@pytest.fixture(scope="module")
def year(server: RunningServer) -> Iterator[Year]:
    url = server.copy()
    with Store.open(url, settings=Settings(secret_key=SECRET_KEY)) as store:
        now = datetime.now(UTC)
        built = Year(store, now)
        for number, zone in enumerate(ZONES):
            hold = timedelta(days=1) if number % 2 else timedelta(hours=5)
            add_lot(built, zone, zone, hold, *YEAR, timedelta(hours=6))
        add_lot(built, "today", "Europe/Berlin", timedelta(hours=2), now - timedelta(days=4), now, timedelta(minutes=9))
        yield built
    server.drop()


def ranges(lot: Lot, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Any quarter to any quarter; from before the first event; into the future; only the future."""
    chance = random.Random(lot.camera.name)
    first = datetime.fromtimestamp(lot.counts[0][0].timestamp() // 900 * 900, UTC)
    length = lot.counts[-1][0] - first
    for quarters in (1, 5, 97, 4000):
        start = first + chance.randrange(length // QUARTER) * QUARTER
        yield start, start + quarters * QUARTER
    yield first - timedelta(days=40), first + timedelta(days=2, minutes=45)
    tomorrow = datetime.fromtimestamp(now.timestamp() // 900 * 900, UTC) + timedelta(days=1)
    yield tomorrow - timedelta(days=3), tomorrow
    yield tomorrow, tomorrow + timedelta(days=2)


def check(
    year: Year, lot: Lot, question: Callable[..., Any], label: Callable[..., Any], key: Callable[..., Any],
    start: datetime, end: datetime, zone: ZoneInfo,
) -> None:  # fmt: skip
    """A frame against brute force: a row for each label, averages to 1e-9, samples, least and most exactly.

    What stands now stands a little longer with each call: such a range is held to a looser measure.
    """
    before, found = datetime.now(UTC), year.ask(question, lot, start, end, fill=True, timezone=zone.key)
    labels = [label(quarter, zone) for quarter in brute_force.quarters(start, end)]
    times, counts = (list(part) for part in zip(*lot.counts, strict=True))
    asked: dict[str, Any] = {"start": start, "end": end, "labels": labels, "hold": lot.camera.hold, "now": before}
    wanted = brute_force.answer(times, counts, **asked)
    extremes = brute_force.extremes(times, counts, **asked)
    rows = {key(row): row for row in found.reset_index().itertuples()}
    assert set(rows) == set(wanted)
    open_ended = end > before - timedelta(days=1) and max(times) + lot.camera.hold > before
    loose: dict[str, Any] = {"rel": 1e-1, "abs": 5 / 900} if open_ended else {"rel": 1e-9, "abs": 1e-12}
    for name, known in wanted.items():
        row: Any = rows[name]
        assert row.samples == known.samples
        assert row.coverage == pytest.approx(known.coverage, **loose)
        if known.average is not None:
            assert row.occupied_avg == pytest.approx(known.average, **loose)
            assert row.occupied_share == pytest.approx(row.occupied_avg / 200, rel=1e-12)
            assert (row.occupied_min, row.occupied_max) == extremes[name]
        elif not open_ended:
            assert pd.isna(row.occupied_avg)


def check_all(year: Year, lot: Lot, start: datetime, end: datetime, zone: ZoneInfo) -> None:
    def at_hour(row: Any) -> object:
        return brute_force.hour_label(max(row.bucket, pd.Timestamp(start)).to_pydatetime(), zone)

    def at_day(row: Any) -> object:
        return row.local_date.date()

    check(year, lot, analytics.hourly_averages, brute_force.hour_label, at_hour, start, end, zone)
    check(year, lot, analytics.daily_averages, brute_force.day_label, at_day, start, end, zone)
    check(year, lot, analytics.weekday_averages, brute_force.weekday_label, lambda row: row.weekday, start, end, zone)
    if end - start > timedelta(days=8):
        check(year, lot, analytics.weekday_profile, brute_force.profile_label, lambda row: (row.weekday, row.hour),
              start, end, zone)  # fmt: skip
    if end - start < timedelta(days=30):
        check(year, lot, analytics.quarter_hourly_averages, lambda quarter, _: quarter,
              lambda row: row.bucket.to_pydatetime(), start, end, zone)  # fmt: skip


def test_averages_of_a_whole_year_are_those_of_brute_force_in_every_zone(year: Year) -> None:
    for lot in year.lots[:-1]:
        check_all(year, lot, *YEAR, lot.zone)


def test_averages_of_any_range_are_those_of_brute_force(year: Year) -> None:
    for lot in year.lots:
        for start, end in ranges(lot, year.now):
            check_all(year, lot, start, end, lot.zone)


def test_averages_in_a_zone_that_is_not_the_cameras_are_those_of_brute_force(year: Year) -> None:
    for lot, zone in zip(year.lots, [*ZONES[1:], ZONES[0], "Asia/Kathmandu"], strict=True):
        start, end = next(iter(ranges(lot, year.now)))
        check_all(year, lot, start - timedelta(days=9), end + timedelta(days=9), ZoneInfo(zone))


def test_a_range_without_a_start_begins_with_the_first_observation(year: Year) -> None:
    for lot in year.lots[:2]:
        first = datetime.fromtimestamp(lot.counts[0][0].timestamp() // 900 * 900, UTC)
        open_range = analytics.daily_averages(lot.camera, end=YEAR[1], url=year.store.url)
        same = analytics.daily_averages(lot.camera, start=first, end=YEAR[1], url=year.store.url)
        pd.testing.assert_frame_equal(open_range, same)


def test_peaks_are_the_greatest_hourly_averages_of_brute_force(year: Year) -> None:
    for lot in year.lots[:-1]:
        labels = [brute_force.hour_label(q, lot.zone) for q in brute_force.quarters(*YEAR)]
        times, counts = (list(part) for part in zip(*lot.counts, strict=True))
        hours = brute_force.answer(times, counts, start=YEAR[0], end=YEAR[1], labels=labels, hold=lot.camera.hold)
        wanted = sorted((known.average for known in hours.values() if known.average is not None), reverse=True)[:20]
        found = year.ask(analytics.peaks, lot, *YEAR, number=20)
        assert found["occupied_avg"].tolist() == pytest.approx(wanted, rel=1e-9)
        assert found["place"].tolist() == list(range(1, 21))


def test_uptime_is_the_share_of_time_of_each_status(year: Year) -> None:
    for lot in year.lots[:-1]:
        times = [at for at, _, _ in lot.logs]
        for start, end in [YEAR, *list(ranges(lot, year.now))[:4]]:
            (row,) = year.ask(analytics.uptime, lot, start, end).to_dict("records")
            for status in HEALTH_STATUSES:
                known = brute_force.answer(
                    times, [int(s == status) for _, s, _ in lot.logs], start=start, end=end,
                    labels=[0] * ((end - start) // QUARTER), hold=lot.camera.hold,
                )[0]  # fmt: skip
                assert row["coverage"] == pytest.approx(known.coverage, rel=1e-9, abs=1e-12)
                assert row["samples"] == known.samples
                if known.average is None:
                    assert pd.isna(row[f"{status}_share"])
                else:
                    assert row[f"{status}_share"] == pytest.approx(known.average, rel=1e-9, abs=1e-12)


def test_outages_are_the_unbroken_times_that_are_not_healthy(year: Year) -> None:
    for lot in year.lots[:-1]:
        for start, end in [YEAR, *list(ranges(lot, year.now))[:5]]:
            found = year.ask(analytics.outages, lot, start, end)
            wanted = brute_force.outages(lot.logs, start=start, end=end, hold=lot.camera.hold, now=year.now)
            rows = [
                (row.start.to_pydatetime(), None if pd.isna(row.end) else row.end.to_pydatetime(), row.status,
                 None if pd.isna(row.message) else row.message)
                for row in found.reset_index().itertuples()
            ]  # fmt: skip
            assert [(a.astimezone(UTC), b and b.astimezone(UTC), s, m) for a, b, s, m in rows] == wanted


def test_latest_is_the_newest_count_and_status(year: Year) -> None:
    frame = analytics.latest(url=year.store.url).set_index("camera")
    assert list(frame.index) == sorted(lot.camera.name for lot in year.lots)
    for lot in year.lots:
        row = frame.loc[lot.camera.name]
        at, count = lot.counts[-1]
        assert (row["occupied_count"], row["counted_at"]) == (count, pd.Timestamp(at))
        assert row["occupied_share"] == count / 200
        assert timedelta(0) <= row["count_age"] - (year.now - at) < timedelta(hours=1)
        assert (row["status"], row["status_at"]) == (lot.logs[-1][1], pd.Timestamp(lot.logs[-1][0]))


def test_events_come_back_as_they_were_recorded_in_order_and_in_small_frames(year: Year) -> None:
    lot = year.lots[0]
    start, end = lot.counts[100][0], lot.counts[900][0]
    frames = list(analytics.events(lot.camera, start=start, end=end, batch_size=3, url=year.store.url))
    assert max(len(frame) for frame in frames) == 3
    found = pd.concat(frames)
    assert list(zip(found.index.to_pydatetime(), found["occupied_count"], strict=True)) == [
        (pd.Timestamp(at), count) for at, count in lot.counts[100:900]
    ]
    everything = pd.concat(list(analytics.events(timezone="UTC", batch_size=333, url=year.store.url)))
    assert len(everything) == sum(len(lot.counts) for lot in year.lots)
    assert everything.index.is_monotonic_increasing
    logs = pd.concat(list(analytics.events(lot.camera, kind="health", url=year.store.url)))
    assert logs["status"].tolist() == [status for _, status, _ in lot.logs]


def test_rows_of_an_aggregate_are_those_of_the_database(year: Year) -> None:
    lot = year.lots[1]
    frame = analytics.aggregate_rows("occupancy_weekday", lot.camera, start="2026-03-01", end="2026-04-01",
                                     summary=True, url=year.store.url)  # fmt: skip
    with year.store.pool.connection() as connection:
        wanted = connection.execute(
            """
            SELECT bucket, local_date, samples, car_seconds FROM public.occupancy_weekday
            WHERE camera_id = %s AND bucket >= '2026-02-28 23:00Z' AND bucket < '2026-03-31 22:00Z'
            ORDER BY bucket, local_date
            """,
            [lot.camera.id],
        ).fetchall()
    found = [(r.bucket, r.local_date.date(), r.samples, r.car_seconds) for r in frame.reset_index().itertuples()]
    assert len(found) > 30
    assert found == wanted


def test_answers_stay_the_same_when_watermarks_move_and_when_raw_rows_are_gone(year: Year) -> None:
    """The last test of the module: it changes what the others read."""
    kind = year.store.server().kind
    today, other = year.lots[-1], year.lots[1]
    newest = year.now - timedelta(hours=3)
    end = datetime.fromtimestamp(newest.timestamp() // 900 * 900, UTC)

    def check_today() -> None:
        for start in (end - timedelta(days=3), end - timedelta(hours=7, minutes=45)):
            check_all(year, today, start, end, today.zone)

    if kind is ServerKind.COMMUNITY:
        with psycopg.connect(year.store.url, autocommit=True) as connection:
            for name in ("occupancy_quarter_hourly", "occupancy_hourly"):
                connection.execute(
                    "CALL public.refresh_continuous_aggregate(%s::regclass, %s::timestamptz, %s::timestamptz)",
                    [f"public.{name}", end - timedelta(days=1), end],
                )
                check_today()
            connection.execute("SELECT public.drop_chunks('public.occupancy_events', %s::timestamptz)",
                               [YEAR[0] + timedelta(days=200)])  # fmt: skip
    else:
        assert year.store.prune(timedelta(days=100)).removed > 0
    check_today()
    check_all(year, other, *YEAR, other.zone)
