"""The store on every release of TimescaleDB Community that is installed side by side, from the oldest supported on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.clusters import Cluster
from tests.support.faults import opened
from tests.support.histories import add_cameras, answers, assert_averages, events_of, same
from tests.support.releases import AWAKE, Place, found_problems, places, run_jobs
from timeseries import OccupancyEvent, ServerKind, Store, restore
from timeseries.database import releases
from timeseries.database.server import inspect_server
from timeseries.model.events import Event
from timeseries.model.relations import AGGREGATES, RAW_TABLES
from timeseries.schema import migrations

pytestmark = [pytest.mark.server, pytest.mark.slow]
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
START = NOW - 24 * DAY
LATE = 0.02  # so many of the events come after the others


@pytest.fixture(params=places(), ids=str)
def place(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Place:
    found: Place = request.param
    record_property("postgresql", found.postgresql)
    record_property("timescaledb", found.release)
    return found


@pytest.fixture
def cluster(place: Place) -> Iterator[Cluster]:
    started = place.cluster()
    try:
        started.start()
        yield started
    finally:
        started.remove()


def events_for(store: Store) -> tuple[list[Event], list[Event]]:
    """Of three cameras what comes in time, and what comes late."""
    chance = random.Random(7)
    events = [event for camera in add_cameras(store) for event in events_of(camera, START, NOW, chance)]
    late = [event for event in events if chance.random() < LATE]
    return [event for event in events if event not in late], late


def shorten_retention(store: Store) -> None:
    """To 14 days, because each chunk takes its time."""
    for relation in AGGREGATES:
        store.policies.set(relation, start_offset="11 days", columnstore_after="13 days")
    for relation in RAW_TABLES:
        store.policies.set(relation, drop_after="14 days")


def test_the_battery(place: Place, cluster: Cluster, tmp_path: Path) -> None:
    url = place.database(cluster, "battery")
    migrations.migrate(url)
    with opened(url) as store:
        assert store.server().timescaledb == place.release
        shorten_retention(store)
        in_time, late = events_for(store)
        for part in (in_time, late):
            assert store.record(part).inserted == len(part)
        assert_averages(store, [*in_time, *late], START, NOW)
        before = answers(url, START, NOW)

        run_jobs(url)
        run_jobs(url)
        assert same(answers(url, START, NOW), before)
        with psycopg.connect(url, autocommit=True) as connection:
            (oldest,) = connection.execute("SELECT min(timestamp) FROM occupancy_events").fetchone() or (NOW,)
            assert NOW - 16 * DAY < oldest < NOW - 13 * DAY
            compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
            assert (connection.execute(compressed).fetchone() or (0,))[0] > 10
            for name in ("occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday"):
                connection.execute(f"CALL refresh_continuous_aggregate('{name}', NULL, now(), force => true)")
        store.refresh()
        assert same(answers(url, START, NOW), before)

        camera = in_time[0].camera_id
        sealed, compressed_day = (OccupancyEvent(camera, at, 7) for at in (in_time[0].timestamp, NOW - 10 * DAY))
        result = store.record([OccupancyEvent(camera, sealed.timestamp + timedelta(microseconds=1), 7), compressed_day])
        assert (result.inserted, len(result.rejected)) == (1, 1)
        store.record([OccupancyEvent(camera, NOW - 10 * DAY, 9)], on_conflict="replace")
        assert_averages(store, [*in_time, *late, OccupancyEvent(camera, NOW - 10 * DAY, 9)], START, NOW)
        store.cameras.update("lot 0", timezone="Asia/Kolkata", hold=timedelta(hours=2))
        assert_averages(store, [*in_time, *late, OccupancyEvent(camera, NOW - 10 * DAY, 9)], START, NOW)

        made, target = store.backup(tmp_path / "store.backup"), place.database(cluster, "restored", extension=False)
        restore(target, made.path)
        assert same(answers(target, START, NOW), answers(url, START, NOW))
        assert found_problems(store) == list(releases.find_faults(store.server()))


def test_a_database_of_the_apache_edition_moves_up(place: Place, cluster: Cluster) -> None:
    cluster.stop()
    cluster.configure(**{"timescaledb.license": "apache"})
    cluster.start()
    url = place.database(cluster, "lesser")
    migrations.migrate(url)
    with opened(url) as store:
        assert store.server().kind is ServerKind.APACHE
        in_time, late = events_for(store)
        store.record([*in_time, *late])
        store.prune(14 * DAY)
    before = answers(url, START, NOW)
    cluster.stop()
    cluster.configure(**{"timescaledb.license": "timescale"})
    cluster.start()
    migrations.migrate(url)
    assert same(answers(url, START, NOW), before)
    with opened(url) as store:
        assert_averages(store, [*in_time, *late], START, NOW)


def test_scheduled_jobs_run_where_the_releases_go_together(
    place: Place, cluster: Cluster, record_property: Callable[[str, object], None]
) -> None:
    """And nowhere else, so that the table of pairs is neither too short nor too long."""
    cluster.stop()
    cluster.configure(**AWAKE)
    cluster.start()
    url = place.database(cluster, "scheduled")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE ran (at timestamptz)")
        connection.execute("""
            CREATE PROCEDURE note(job_id integer, config jsonb) LANGUAGE sql AS 'INSERT INTO ran VALUES (now())'
        """)
        connection.execute("SELECT add_job('note', interval '1 second')")
        expected = "Success" if releases.jobs_run(inspect_server(connection)) else "Failed"
        status = "SELECT last_run_status FROM timescaledb_information.job_stats WHERE job_id >= 1000"
        for _ in range(300):
            found = connection.execute(status).fetchone()
            if found and found[0] is not None:
                break
            time.sleep(0.1)
        assert found == (expected,)
        record_property("jobs", "run" if expected == "Success" else "fail")
