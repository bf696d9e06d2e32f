"""What was averaged and then removed stays as it was averaged, whoever has a wrong clock or goes past the store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.urls import parse_url
from timeseries import Camera, OccupancyEvent, ServerKind, ServerUnavailableError, Store
from timeseries.errors import InvalidInputError
from timeseries.ingest import record

LONG_AGO = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=95)
RECENTLY = datetime.now(UTC) - timedelta(minutes=5)
QUARTERS = "SELECT samples, occupied_avg FROM occupancy_quarter_hourly WHERE bucket = %s"
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
RECORD = """
import sys
from datetime import datetime
from uuid import UUID
from timeseries import OccupancyEvent, Store
from timeseries.settings import Settings

url, camera, *moments = sys.argv[1:]
print(datetime.now().astimezone().isoformat())
with Store.open(url, settings=Settings()) as store:
    events = [OccupancyEvent(UUID(camera), datetime.fromisoformat(moment), 99) for moment in moments]
    result = store.record(events)
    print(result.inserted, [rejection.reason for rejection in result.rejected])
"""


@pytest.fixture
def sealed(store: Store) -> Iterator[Camera]:
    """A camera with a quarter of an hour of thirty counts of ten, whose raw rows are gone."""
    camera = store.cameras.add("lot")
    store.record(OccupancyEvent(camera.id, LONG_AGO + timedelta(seconds=30 * i), 10) for i in range(30))
    assert store.prune().removed == 30
    yield camera
    assert quarters(store) == [(30, 10.0)]


def quarters(store: Store, at: datetime = LONG_AGO) -> list[tuple[int, float]]:
    with psycopg.connect(store.url) as connection:
        return connection.execute(QUARTERS, [at]).fetchall()


def stray(store: Store, camera: Camera) -> None:
    """A row that comes by SQL, not by the store."""
    with psycopg.connect(store.url) as connection:
        connection.execute(
            "INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES (%s, %s, 99)",
            [camera.id, LONG_AGO + timedelta(seconds=7)],
        )


@pytest.mark.skipif(not FAKETIME, reason="needs libfaketime")
@pytest.mark.parametrize(("clock", "days"), [("-100d", -100), ("+100d", 100)])
def test_an_ingest_host_with_a_wrong_clock_changes_nothing(store: Store, sealed: Camera, clock: str, days: int) -> None:
    moments = [(LONG_AGO + timedelta(minutes=1)).isoformat(), RECENTLY.isoformat()]
    done = subprocess.run(
        [sys.executable, "-c", RECORD, store.url, str(sealed.id), *moments],
        env=os.environ | {"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    its_time, result = done.stdout.splitlines()
    assert abs(datetime.fromisoformat(its_time) - datetime.now(UTC) - timedelta(days=days)) < timedelta(hours=1)
    assert result.startswith("1 ['the raw rows of this quarter of an hour were removed by retention")


def test_a_row_past_the_store_does_not_replace_an_average(store: Store, sealed: Camera) -> None:
    stray(store, sealed)
    store.refresh()
    store.prune()
    stray(store, sealed)
    store.prune()


@pytest.mark.kinds(ServerKind.COMMUNITY)
@pytest.mark.parametrize("merge", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_nor_does_it_in_a_refresh_by_hand(store: Store, sealed: Camera, merge: bool, compressed: bool) -> None:
    stray(store, sealed)
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(f"SET timescaledb.enable_merge_on_cagg_refresh = {merge}")
        if compressed:
            connection.execute(
                "SELECT compress_chunk(c) FROM show_chunks('occupancy_quarter_hourly', older_than => now()) AS c"
            )
        connection.execute("CALL refresh_continuous_aggregate('occupancy_quarter_hourly', NULL, now(), force => true)")


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_many_compressed_rows_beside_a_correction_or_a_late_event_are_no_obstacle(store: Store) -> None:
    """The server's limit on rows that one statement may decompress is set low, for few rows to exceed it."""
    url = parse_url(store.url)
    start = LONG_AGO - timedelta(days=100)
    camera, other = (store.cameras.add(name).id for name in ("lot", "other"))
    store.record(
        OccupancyEvent(owner, start + timedelta(minutes=i), 10)
        for i in range(0, 14_400, 10)
        for owner in (camera, other)
    )
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {url.database} SET timescaledb.max_tuples_decompressed_per_dml_transaction = 100"
        )
        for relation in ("occupancy_events", "occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday"):
            connection.execute(f"SELECT compress_chunk(c) FROM show_chunks('{relation}') AS c")
    with Store.open(store.url) as limited:
        corrected = [OccupancyEvent(camera, start + timedelta(days=days), 20) for days in (0, 5)]
        assert limited.record(corrected, on_conflict="replace").replaced == 2
        late = [OccupancyEvent(camera, start + timedelta(days=days, minutes=1), 20) for days in range(6)]
        assert limited.record(late).inserted == 6
        limited.cameras.update("lot", timezone="Asia/Kolkata")
    assert quarters(store, start)[0][0] + quarters(store, start)[1][0] == 5


def test_what_is_recorded_after_a_refresh_is_in_the_averages(store: Store) -> None:
    camera = store.cameras.add("lot").id
    now = datetime.now(UTC)
    store.record([OccupancyEvent(camera, now - timedelta(hours=1), 1)])
    store.refresh()
    if store.server().kind is ServerKind.COMMUNITY:
        with psycopg.connect(store.url, autocommit=True) as connection:
            connection.execute("CALL refresh_continuous_aggregate('occupancy_quarter_hourly', NULL, NULL)")
    store.record([OccupancyEvent(camera, now - timedelta(seconds=1), 1)])
    with psycopg.connect(store.url) as connection:
        assert connection.execute("SELECT sum(samples) FROM occupancy_quarter_hourly").fetchone() == (2,)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_an_aggregate_that_somebody_locks_is_waited_for_and_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "ATTEMPTS", 1)
    camera = store.cameras.add("lot").id
    event = OccupancyEvent(camera, LONG_AGO, 1)
    with psycopg.connect(store.url) as other:
        other.execute("LOCK TABLE occupancy_events IN EXCLUSIVE MODE")
        with pytest.raises(ServerUnavailableError, match=r"cannot do this now: .*lock timeout; try again"):
            store.record([event])
    assert store.record([event]).inserted == 1


def test_a_row_that_only_the_server_can_refuse_comes_back_alone(store: Store) -> None:
    """A constraint of the operator's own, of which the store knows nothing."""
    camera = store.cameras.add("lot").id
    with psycopg.connect(store.url) as connection:
        connection.execute("ALTER TABLE occupancy_events ADD CONSTRAINT unlucky CHECK (occupied_count <> 13)")
    result = store.record([OccupancyEvent(camera, RECENTLY + timedelta(seconds=i), 10 + i) for i in range(6)])
    assert result.inserted == 5
    assert [(rejection.index, "unlucky" in rejection.reason) for rejection in result.rejected] == [(3, True)]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "-infinity", "infinity"])
def test_the_tables_take_no_time_of_a_clock_that_was_never_set(store: Store, moment: str) -> None:
    camera = store.cameras.add("lot").id
    with psycopg.connect(store.url) as connection, pytest.raises((psycopg.IntegrityError, psycopg.DataError)):
        connection.execute(
            "INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES (%s, %s, 1)", [camera, moment]
        )


@pytest.mark.parametrize("zone", ["XYZ+3", "CET-1CEST,M3.5.0,M10.5.0/3", "Europe/Atlantis"])
def test_the_table_takes_no_zone_that_clients_do_not_know(store: Store, zone: str) -> None:
    with psycopg.connect(store.url) as connection, pytest.raises(psycopg.Error, match=r"timezone_known|not recognized"):
        connection.execute("INSERT INTO cameras (name, timezone) VALUES ('lot', %s)", [zone])
    with pytest.raises(InvalidInputError):
        store.cameras.add("lot", timezone=zone)
