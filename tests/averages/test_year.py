"""A year in a store's life, day by day on a server whose clock is moved; every average of it against brute force."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from tests.support import brute_force
from tests.support.clusters import Cluster
from tests.support.faults import opened
from tests.support.histories import add_cameras, events_of
from tests.support.servers import RunningServer
from timeseries import HealthLog, OccupancyEvent, ServerKind, Store
from timeseries.model.events import Event
from timeseries.monitoring.status import read_status
from timeseries.schema import migrations

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
DAYS = 365
RAW_ROWS = "SELECT min(timestamp), count(*), date_trunc('day', now() - interval '90 days', 'UTC') FROM {}"
JOBS = """
    SELECT job_id FROM timescaledb_information.jobs
    WHERE proc_name IN ('policy_refresh_continuous_aggregate', 'policy_retention')
       OR (proc_name = 'policy_compression' AND %s)
    ORDER BY job_id
"""


@pytest.fixture
def cluster(server: RunningServer) -> Iterator[Cluster]:
    """A server that lives a year ago."""
    if server.found.cluster is None:
        pytest.skip("needs a server whose clock the test may set")
    cluster = server.found.cluster()
    try:
        if not cluster.set_clock(DAYS * DAY):
            pytest.skip("needs libfaketime")
        cluster.start()
        migrations.migrate(cluster.url())
        yield cluster
    finally:
        cluster.remove()


def deliveries(events: list[Event], start: datetime, chance: random.Random) -> dict[int, list[Event]]:
    """On which day what arrives: most at once, some late by up to 85 days, some twice, and now and then a whole day
    later since the way to the store was cut.
    """
    arriving = defaultdict(list)
    cut = {day for day in range(DAYS) if chance.random() < 0.03}
    for event in events:
        day = (event.timestamp - start) // DAY
        late = chance.randrange(1, 86) if chance.random() < 0.02 else 0
        day += 2 if not late and day in cut else late
        arriving[min(day, DAYS - 1)].append(event)
        if chance.random() < 0.05:
            arriving[min(day + chance.randrange(3), DAYS - 1)].append(event)
    return arriving


def live(store: Store, cluster: Cluster, arriving: dict[int, list[Event]]) -> int:
    """Day after day: events arrive, then jobs run, or pruning; how many events were stored."""
    inserted = 0
    community = store.server().kind is ServerKind.COMMUNITY
    with psycopg.connect(store.url, autocommit=True) as operator:
        for day in range(DAYS):
            cluster.set_clock((DAYS - 1 - day) * DAY)
            result = store.record(arriving[day])
            assert result.rejected == ()
            inserted += result.inserted
            if community:
                for (job,) in operator.execute(JOBS, [day % 7 == 0]).fetchall():
                    operator.execute("CALL run_job(%s)", [job])
            elif day % 7 == 6 or day == DAYS - 1:
                store.prune(90 * DAY)
    return inserted


def check(store: Store, camera_id: UUID, events: list[Event], start: datetime, end: datetime) -> None:
    camera = store.cameras.get(str(camera_id))
    own = [event for event in events if isinstance(event, OccupancyEvent) and event.camera_id == camera_id]
    grid = brute_force.quarters(start, end)
    now = datetime.now(UTC)
    for function, key, label in (
        ("occupancy_hours", "bucket", brute_force.hour_label),
        ("occupancy_weekdays", "weekday", brute_force.weekday_label),
    ):
        labels = [label(quarter, camera.zone) for quarter in grid]
        wanted = brute_force.answer(
            [event.timestamp for event in own], [event.occupied_count for event in own],
            start=start, end=end, labels=labels, hold=camera.hold, now=now,
        )  # fmt: skip
        with store.pool.connection() as connection:
            rows = connection.execute(
                f"SELECT {key}, occupied_avg, samples, coverage FROM {function}(%s, %s, %s)",
                [[camera_id], start, end],
            ).fetchall()
        found = {label(max(at, start), camera.zone) if key == "bucket" else at: row for at, *row in rows}
        assert set(found) == set(wanted)
        for bucket, known in wanted.items():
            average, samples, coverage = found[bucket]
            assert samples == known.samples
            assert coverage == pytest.approx(known.coverage, rel=1e-9, abs=1e-12)
            assert average == (None if known.average is None else pytest.approx(known.average, rel=1e-9))


def test_a_year_with_retention_keeps_every_average_and_ninety_days_of_raw_rows(cluster: Cluster) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = end - DAYS * DAY
    chance = random.Random(365)
    with opened(cluster.url()) as store:
        cameras = add_cameras(store)
        events = [event for camera in cameras for event in events_of(camera, start, end, chance)]
        assert live(store, cluster, deliveries(events, start, chance)) == len(events)
        with psycopg.connect(store.url) as connection:
            for table, kind in (("occupancy_events", OccupancyEvent), ("health_logs", HealthLog)):
                ((oldest, rows, cut),) = connection.execute(RAW_ROWS.format(table)).fetchall()
                kept = [event.timestamp for event in events if isinstance(event, kind) and event.timestamp >= cut]
                assert (oldest, rows) == (min(kept), len(kept))
        for camera in cameras:
            check(store, camera, events, start, end)
        overdue = [line for line in read_status(store.pool).problems if "silent" not in line]
        assert overdue == []
