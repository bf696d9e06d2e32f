"""A database whose server goes on to other releases: of the extension in place, of PostgreSQL by pg_upgrade."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest

import analytics
from tests.support.backups import everything
from tests.support.clusters import PASSWORD, Cluster
from tests.support.faults import opened
from tests.support.histories import add_cameras, answers, events_of, same
from tests.support.releases import Place, found_problems, places, run_jobs
from timeseries import OccupancyEvent
from timeseries.database.releases import find_faults, number
from timeseries.schema import migrations

pytestmark = [pytest.mark.server, pytest.mark.slow]
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
MIDNIGHT = NOW.replace(hour=0)  # what comes now is behind it
DAY = timedelta(days=1)
START = NOW - 730 * DAY
SPANS = ((START, START + 10 * DAY), (NOW - 365 * DAY, NOW - 355 * DAY), (NOW - 20 * DAY, NOW))


def updates() -> list[Any]:
    """Of each PostgreSQL the oldest release, and those that it is updated to."""
    found: dict[Any, list[Place]] = {}
    for place in places():
        if not isinstance(place, Place):
            return [pytest.param(None, None, marks=place.marks)]
        found.setdefault(place.bin_folder, []).append(place)
    return [
        pytest.param(oldest, place, id=f"{oldest.release}-{place}")
        for oldest, *newer in found.values()
        for place in newer
        if place.release in ("2.29.2", newer[-1].release)
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
    return answers(url, START, MIDNIGHT)


def what_guards(url: str) -> tuple[set[str], set[str]]:
    """Functions, triggers and constraints of ours, and our jobs; the extension's own jobs may change with it."""
    found = everything(url)
    # From PostgreSQL 18 on NOT NULL is a constraint with a name.
    catalog = {line for line in found["catalog"] if ", 'NOT NULL " not in line}
    return catalog, {job for job in found["policies"] if int(job[1:].split(",")[0]) >= 1000}


def assert_as_before(url: str, before: dict[str, list[tuple[object, ...]]]) -> None:
    """Every average, every guard, and jobs that do their work."""
    assert same(answers(url, START, MIDNIGHT), before)
    with psycopg.connect(url, autocommit=True) as connection:
        for name in ("occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday"):
            connection.execute(f"CALL refresh_continuous_aggregate('{name}', NULL, now(), force => true)")
    run_jobs(url)
    assert same(answers(url, START, MIDNIGHT), before)
    with opened(url) as store:
        sealed = before["occupancy_quarter_hourly"][0]
        (rejection,) = store.record([OccupancyEvent(sealed[0], sealed[1], 1)]).rejected  # type: ignore[arg-type]
        assert "removed by retention" in rejection.reason
        assert found_problems(store) == list(find_faults(store.server()))


@pytest.mark.parametrize(("oldest", "newer"), updates())
def test_an_update_in_place_changes_no_answer_and_takes_no_guard(
    oldest: Place, newer: Place, record_property: Callable[[str, object], None]
) -> None:
    """Nor does it stop clients that are at work: they go on in new sessions."""
    record_property("from", oldest.names)
    record_property("to", newer.names)
    cluster = oldest.cluster()
    try:
        cluster.start()
        url = oldest.database(cluster, "parking")
        before, guards = filled(url), what_guards(url)
        with opened(url) as client, client.writer() as writer:
            camera = client.cameras.list()[0]
            asked = analytics.weekday_averages(camera, start=NOW - 9 * DAY, end=NOW, url=url)
            newer.update(url)
            again = analytics.weekday_averages(camera, start=NOW - 9 * DAY, end=NOW, url=url)
            pd.testing.assert_frame_equal(asked, again)
            at = datetime.now(UTC)
            assert client.record([OccupancyEvent(camera.id, at, 1)]).inserted == 1
            writer.record(OccupancyEvent(camera.id, at + timedelta(microseconds=1), 2))
            writer.flush()
            assert client.server().timescaledb == newer.release
        assert what_guards(url) == guards
        assert_as_before(url, before)
    finally:
        cluster.remove()


def moves() -> list[Any]:
    """From the oldest release to the newest, on another PostgreSQL where there is one, and the way back."""
    found = places()
    if not isinstance(found[0], Place):
        return [pytest.param(None, None, marks=found[0].marks)]
    released = [place for place in found if "-" not in place.release]
    ends = sorted(released, key=lambda place: (place.major, number(place.release)))
    oldest, newest = ends[0], ends[-1]
    return [pytest.param(one, other, id=f"{one}-{other}") for one, other in ((oldest, newest), (newest, oldest))]


@pytest.mark.parametrize(("one", "other"), moves())
def test_a_store_moves_to_a_release_that_no_dump_reaches(one: Place, other: Place, tmp_path: Path) -> None:
    """Averages whose raw rows are gone, and all raw rows; nothing of the new store's internals is the old one's."""
    clusters = [place.cluster() for place in (one, other)]
    try:
        for cluster in clusters:
            cluster.start()
        old, new = (place.database(cluster, "parking") for place, cluster in zip((one, other), clusters, strict=True))
        before = filled(old)
        migrations.migrate(new)
        with opened(old) as store, opened(new) as to:
            store.export_averages(tmp_path / "averages", finalized=True)
            taken = to.import_averages(tmp_path / "averages")
            assert taken.imported > 0
            for table in ("occupancy_events", "health_logs"):
                store.export(table, tmp_path / f"{table}.parquet")
                assert to.import_file(tmp_path / f"{table}.parquet").rejected == 0
        assert_as_before(new, before)
    finally:
        for cluster in clusters:
            cluster.remove()


def upgrades() -> list[Any]:
    """From one PostgreSQL to a newer one, with the newest release of TimescaleDB that both have."""
    there = [place for place in places() if isinstance(place, Place)]
    pairs = [
        pair
        for pair in itertools.product(there, there)
        if pair[0].release == pair[1].release and pair[0].major < pair[1].major
    ]
    if not pairs:
        return [pytest.param(None, None, marks=pytest.mark.skip("no two PostgreSQL with one TimescaleDB are here"))]
    old, new = max(pairs, key=lambda pair: number(pair[0].release))
    return [pytest.param(old, new, id=f"{old}-pg{new.major}")]


@pytest.mark.parametrize(("old", "new"), upgrades())
def test_pg_upgrade_changes_no_answer_and_takes_no_guard(
    old: Place, new: Place, record_property: Callable[[str, object], None]
) -> None:
    record_property("from", old.names)
    record_property("to", new.names)
    before_it, after_it = old.cluster(), new.cluster()
    try:
        before_it.start()
        url = old.database(before_it, "parking")
        before, guards = filled(url), what_guards(url)
        forget_attribute_versions(before_it)
        before_it.stop()
        pg_upgrade(before_it, after_it)
        after_it.start()
        assert what_guards(after_it.url("parking")) == guards
        assert_as_before(after_it.url("parking"), before)
    finally:
        before_it.remove()
        after_it.remove()


def pg_upgrade(old: Cluster, new: Cluster) -> None:
    """Both are stopped. Both have checksums or neither, and only PostgreSQL 18 and newer has them unasked."""
    settings = subprocess.run([new.bin_folder / "pg_controldata", new.data], capture_output=True, text=True).stdout
    if not re.search(r"checksum version: +0", settings):
        new.run(new.bin_folder / "pg_checksums", "--disable", "-D", new.data)
    new.environment = {"PGPASSWORD": PASSWORD}
    program = f"{new.bin_folder}/pg_upgrade -b {old.bin_folder} -B {new.bin_folder} -d {old.data} -D {new.data}"
    new.run("sh", "-c", f"cd {new.folder} && exec {program} -U postgres")
    new.environment = {}


def forget_attribute_versions(cluster: Cluster) -> None:
    """What the minor releases since 15.20, 16.16 and 17.12 record of columns, and pg_upgrade to 18 before 18.7 refuses
    (unrecognized parameter "pg_attver"). An operator upgrades to 18.7 or newer instead, which may not be here.
    """
    for name in ("parking", "postgres", "template1"):
        with psycopg.connect(cluster.url(name)) as connection:
            connection.execute("SET LOCAL allow_system_table_mods = on")
            connection.execute("UPDATE pg_attribute SET attoptions = NULL WHERE attoptions::text ~ 'pg_attver'")
