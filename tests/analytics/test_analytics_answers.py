"""Every answer against brute force on raw events: whole years in six zones, ranges that begin and end anywhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
import pytest

import analytics
from tests.support import brute_force
from tests.support.brute_force import QUARTER
from tests.support.questions import check_rows
from tests.support.sample_year import YEAR, ZONES, Lot, Year, ranges, year
from timeseries import ServerKind
from timeseries.model.relations import HEALTH_STATUSES

__all__ = ["year"]


def check(
    year: Year, lot: Lot, question: Callable[..., Any], label: Callable[..., Any], key: Callable[..., Any],
    start: datetime, end: datetime, zone: ZoneInfo,
) -> None:  # fmt: skip
    """A frame against brute force: a row for each label, averages to 1e-9, samples, least and most exactly."""
    found = year.ask(question, lot, start, end, fill=True, timezone=zone.key)
    labels = [label(quarter, zone) for quarter in brute_force.quarters(start, end)]
    times, counts = (list(part) for part in zip(*lot.counts, strict=True))
    asked: dict[str, Any] = {"start": start, "end": end, "labels": labels, "hold": lot.camera.hold}
    asked["now"] = year.asked_at
    wanted = brute_force.answer(times, counts, **asked)
    extremes = brute_force.extremes(times, counts, **asked)
    rows = {key(row): row for row in found.reset_index().itertuples()}
    assert set(rows) == set(wanted)
    check_rows(rows, wanted, extremes)


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


def test_peaks_are_the_hours_of_the_greatest_averages_of_brute_force(year: Year) -> None:
    for lot in year.lots:
        start, end = YEAR if lot is not year.lots[-1] else list(ranges(lot, year.now))[-2]
        found = year.ask(analytics.peaks, lot, start, end, number=20)
        labels = [brute_force.hour_label(q, lot.zone) for q in brute_force.quarters(start, end)]
        times, counts = (list(part) for part in zip(*lot.counts, strict=True))
        hours = brute_force.answer(
            times, counts, start=start, end=end, labels=labels, hold=lot.camera.hold, now=year.asked_at
        )
        wanted = sorted((known.average for known in hours.values() if known.average is not None), reverse=True)[:20]
        at = [brute_force.hour_label(bucket.to_pydatetime(), lot.zone) for bucket in found.index]
        assert found["occupied_avg"].tolist() == pytest.approx(wanted, rel=1e-9)
        assert [hours[label].average for label in at] == pytest.approx(wanted, rel=1e-9)
        assert len(set(at)) == 20
        assert sorted(zip(-found["occupied_avg"], found.index, strict=True)) == list(
            zip(-found["occupied_avg"], found.index, strict=True)
        )
        assert found["place"].tolist() == list(range(1, 21))


def test_a_comparison_is_that_of_two_answers_of_brute_force(year: Year) -> None:
    for lot in year.lots[:-1]:
        (_, _, one, other, *_) = ranges(lot, year.now)
        found = analytics.compare(lot.camera, before=one, after=other, url=year.store.url).set_index("weekday")
        times, counts = (list(part) for part in zip(*lot.counts, strict=True))
        both = [
            brute_force.answer(
                times, counts, start=start, end=end, hold=lot.camera.hold,
                labels=[brute_force.weekday_label(q, lot.zone) for q in brute_force.quarters(start, end)],
            )
            for start, end in (one, other)
        ]  # fmt: skip
        known = [{day: k for day, k in answer.items() if k.known_seconds} for answer in both]
        assert set(found.index) == set(known[0]) | set(known[1])
        for day, row in found.iterrows():
            for name, answer in zip(("before", "after"), both, strict=True):
                assert row[f"coverage_{name}"] == pytest.approx(answer[day].coverage if day in answer else 0, rel=1e-9)
                if day in answer and answer[day].average is not None:
                    assert row[f"occupied_avg_{name}"] == pytest.approx(answer[day].average, rel=1e-9)
                else:
                    assert pd.isna(row[f"occupied_avg_{name}"])
            if day in known[0] and day in known[1]:
                first, second = (float(answer[day].average) for answer in known)  # type: ignore[arg-type]
                assert row["difference"] == pytest.approx(second - first, rel=1e-9, abs=1e-9)
                assert row["change"] == pytest.approx((second - first) / first, rel=1e-9, abs=1e-9)
            else:
                assert pd.isna(row["difference"])


def test_uptime_is_the_share_of_time_of_each_status(year: Year) -> None:
    for lot in year.lots:
        times = [at for at, _, _ in lot.logs]
        for start, end in [YEAR, *list(ranges(lot, year.now))[:4]]:
            (row,) = year.ask(analytics.uptime, lot, start, end).to_dict("records")
            for status in HEALTH_STATUSES:
                known = brute_force.answer(
                    times, [int(s == status) for _, s, _ in lot.logs], start=start, end=end,
                    labels=[0] * ((end - start) // QUARTER), hold=lot.camera.hold, now=year.asked_at,
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
            wanted = brute_force.outages(lot.logs, start=start, end=end, hold=lot.camera.hold, now=year.asked_at)
            rows = [
                (row.start.to_pydatetime(), None if pd.isna(row.end) else row.end.to_pydatetime(), row.status,  # type: ignore[arg-type]
                 None if pd.isna(row.message) else row.message)  # type: ignore[arg-type]
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
        (age,) = analytics.latest(lot.camera, url=year.store.url)["count_age"]
        assert age == pd.Timestamp(year.asked_at) - pd.Timestamp(at)
        assert (row["status"], row["status_at"]) == (lot.logs[-1][1], pd.Timestamp(lot.logs[-1][0]))


def test_events_come_back_as_they_were_recorded_in_order_and_in_small_frames(year: Year) -> None:
    lot = year.lots[0]
    start, end = lot.counts[100][0], lot.counts[900][0]
    frames = list(analytics.events(lot.camera, start=start, end=end, batch_size=3, url=year.store.url))
    assert max(len(frame) for frame in frames) == 3
    found = pd.concat(frames)
    assert (
        list(zip(found.index.to_pydatetime(), found["occupied_count"], strict=True))  # type: ignore[attr-defined]
        == [(pd.Timestamp(at), count) for at, count in lot.counts[100:900]]
    )
    everything = pd.concat(list(analytics.events(timezone="UTC", batch_size=333, url=year.store.url)))
    assert len(everything) == sum(len(lot.counts) for lot in year.lots)
    assert everything.index.is_monotonic_increasing
    logs = pd.concat(list(analytics.events(lot.camera, family="health", url=year.store.url)))
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
    year.forget_raw_rows()
    check_today()
    check_all(year, other, *YEAR, other.zone)
