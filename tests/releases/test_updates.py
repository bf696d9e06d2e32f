"""A database whose server goes on to other releases: of the extension in place, of PostgreSQL by pg_upgrade."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

import analytics
from tests.support.backups import everything
from tests.support.faults import opened
from tests.support.histories import add_cameras, answers, events_of, same
from tests.support.releases import Place, found_problems, major, places, run_jobs
from timeseries import OccupancyEvent
from timeseries.database.releases import find_faults
from timeseries.schema import migrations

pytestmark = [pytest.mark.server, pytest.mark.slow]
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
START = NOW - 730 * DAY
SPANS = ((START, START + 10 * DAY), (NOW - 365 * DAY, NOW - 355 * DAY), (NOW - 20 * DAY, NOW))


def ends() -> list[Any]:
    """Of each PostgreSQL the oldest release, and those that it is updated to, one after the other."""
    found: dict[Any, list[Place]] = {}
    for place in places():
        if not isinstance(place, Place):
            return [place]
        found.setdefault(place.bin_folder, []).append(place)
    chosen = [[p for p in rest if p.release in ("2.29.2", rest[-1].release)] for rest in found.values()]
    return [
        pytest.param(rest[0], then, id=f"pg{major(folder)}-{'-'.join([rest[0].release, *(p.release for p in then)])}")
        for (folder, rest), then in zip(found.items(), chosen, strict=True)
        if len(rest) > 1
    ]


def filled(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Two years: raw rows that are gone, late events, chunks in the columnstore. What the store answers about them."""
    migrations.migrate(url)
    with opened(url) as store:
        chance = random.Random(11)
        cameras = add_cameras(store, 2)
        events = [e for camera in cameras for span in SPANS for e in events_of(camera, *span, chance)]
        chance.shuffle(events)
        for part in (events[: len(events) * 9 // 10], events[len(events) * 9 // 10 :]):
            assert store.record(part).inserted == len(part)
    run_jobs(url)
    with psycopg.connect(url) as connection:
        (oldest,) = connection.execute("SELECT min(timestamp) FROM occupancy_events").fetchone() or (None,)
        assert oldest > NOW - 30 * DAY
    return answers(url, START, NOW)


def assert_as_before(url: str, before: dict[str, list[tuple[object, ...]]], number_of_faults: int = 0) -> None:
    """Every average, every guard, and jobs that do their work."""
    assert same(answers(url, START, NOW), before)
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday"):
            connection.execute(f"CALL refresh_continuous_aggregate('{name}', NULL, now(), force => true)")
    run_jobs(url)
    assert same(answers(url, START, NOW), before)
    with opened(url) as store:
        sealed = before["occupancy_quarter_hourly"][0]
        (rejection,) = store.record([OccupancyEvent(sealed[0], sealed[1], 1)]).rejected  # type: ignore[arg-type]
        assert "removed by retention" in rejection.reason
        assert found_problems(store) == list(find_faults(store.server()))


@pytest.mark.parametrize(("oldest", "then"), ends())
def test_an_update_in_place_changes_no_answer_and_takes_no_guard(oldest: Place, then: list[Place]) -> None:
    cluster = oldest.cluster()
    try:
        cluster.start()
        url = oldest.database(cluster, "parking")
        before = filled(url)
        made_of = everything(url)
        with opened(url) as client, client.writer() as writer:
            camera = client.cameras.list()[0]
            for step, place in enumerate(then, 1):
                analytics.weekday_averages(camera, start=NOW - 9 * DAY, end=NOW, url=url)
                with psycopg.connect(url, autocommit=True) as operator:
                    operator.execute(f"ALTER EXTENSION timescaledb UPDATE TO '{place.release}'")
                assert len(analytics.weekday_averages(camera, start=NOW - 9 * DAY, end=NOW, url=url)) == 7
                at = datetime.now(UTC)
                assert client.record([OccupancyEvent(camera.id, at, step)]).inserted == 1
                writer.record(OccupancyEvent(camera.id, at + timedelta(microseconds=1), step))
                writer.flush()
                assert client.server().timescaledb == place.release
                after = everything(url)
                for what in ("catalog", "policies", "cameras"):
                    assert after[what] == made_of[what]
                assert_as_before(url, before)
    finally:
        cluster.remove()
