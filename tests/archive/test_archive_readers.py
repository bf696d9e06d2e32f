"""The archive is read without code of ours: by Dask on two workers, DuckDB and Polars; from a folder and from S3."""

from __future__ import annotations

import csv
import math
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from pyarrow import fs

from tests.support.histories import add_cameras, events_of
from timeseries import ArchiveError, OccupancyEvent, ServerKind, Store

EXAMPLE = Path(__file__).parents[2] / "examples/weekdays_on_dask.py"
NOW = datetime.now(UTC)
# Two weeks in which summer time ends in Europe and in America.
END = max(
    end for year in (NOW.year - 1, NOW.year) if (end := datetime(year, 11, 6, 4, 30, tzinfo=UTC)) < NOW - timedelta(3)
)
START = END - timedelta(days=16, hours=7)


def fill(store: Store, start: datetime = START) -> None:
    """Four lots with holds from 90 minutes to five days, gaps of days, and what was counted before the range."""
    chance = random.Random(5)
    for camera in add_cameras(store, 4):
        store.record(events_of(camera, start - timedelta(days=4), END + timedelta(hours=20), chance, 5400))
    store.cameras.update("lot 3", hold=timedelta(days=5))
    rare = store.cameras.add("rare", timezone="America/Santiago", hold=timedelta(days=20)).id
    store.record([OccupancyEvent(rare, start + timedelta(days=day, minutes=77), day) for day in (-3, 0, 13)])


def answer(store: Store, start: datetime = START) -> dict[tuple[str, int], tuple[float, float]]:
    with psycopg.connect(store.url) as connection:
        rows = connection.execute(
            "SELECT c.name, w.weekday, w.occupied_avg, w.coverage FROM occupancy_weekdays(NULL, %s, %s) AS w"
            " JOIN cameras AS c ON c.id = w.camera_id WHERE w.occupied_avg IS NOT NULL",
            [start, END],
        ).fetchall()
    return {(name, weekday): (average, coverage) for name, weekday, average, coverage in rows}


def on_dask(archive: str, start: datetime = START) -> dict[tuple[str, int], tuple[float, float]]:
    words = [sys.executable, str(EXAMPLE), archive, start.isoformat(), END.isoformat()]
    run = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr
    rows = csv.DictReader(StringIO(run.stdout))
    return {(r["camera"], int(r["weekday"])): (float(r["occupied_avg"]), float(r["coverage"])) for r in rows}


def assert_equal(found: dict[tuple[str, int], tuple[float, float]], wanted: object) -> None:
    assert isinstance(wanted, dict)
    assert found.keys() == wanted.keys()
    assert len(found) == 35
    for key, values in found.items():
        assert all(math.isclose(a, b, rel_tol=1e-9) for a, b in zip(values, wanted[key], strict=True)), key


@pytest.mark.slow
def test_dask_finds_the_averages_of_the_store(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("dask.dataframe", reason="needs dask[dataframe,distributed]")
    fill(store)
    wanted = answer(store)
    store.archive(tmp_path)
    assert_equal(on_dask(str(tmp_path)), wanted)
    if store.server().kind is not ServerKind.COMMUNITY:
        assert store.prune(timedelta(days=2)).removed > 500  # so the late event goes to another part of its day
    late = OccupancyEvent(store.cameras.ids()["rare"], END - timedelta(days=1, minutes=-3), 50)
    assert store.record([late]).inserted == 1
    store.archive(tmp_path)
    assert_equal(on_dask(str(tmp_path)), answer(store))


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.POSTGRESQL)
def test_duckdb_reads_the_archive_as_one_table(store: Store, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="needs duckdb")
    fill(store)
    store.archive(tmp_path)
    query = f"""
        SELECT c.name, count(*), sum(e.occupied_count), min(e.day)::text
        FROM read_parquet('{tmp_path}/occupancy_events/*/*.parquet', hive_partitioning = true) AS e
        JOIN read_parquet('{tmp_path}/cameras/cameras.parquet') AS c USING (camera_id)
        GROUP BY c.name ORDER BY c.name
    """
    with psycopg.connect(store.url) as connection:
        wanted = connection.execute("""
            SELECT c.name, count(*), sum(e.occupied_count)::bigint, (min(e.timestamp) AT TIME ZONE 'UTC')::date::text
            FROM occupancy_events AS e JOIN cameras AS c ON c.id = e.camera_id GROUP BY c.name ORDER BY c.name
        """).fetchall()
    assert duckdb.sql(query).fetchall() == wanted


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.POSTGRESQL)
def test_polars_reads_the_archive_as_one_table(store: Store, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars", reason="needs polars")
    fill(store)
    store.archive(tmp_path)
    frame = polars.scan_parquet(tmp_path / "occupancy_events", hive_partitioning=True)
    found = frame.group_by("day").agg(polars.len(), polars.col("occupied_count").sum()).sort("day").collect().rows()
    with psycopg.connect(store.url) as connection:
        wanted = connection.execute("""
            SELECT (timestamp AT TIME ZONE 'UTC')::date, count(*), sum(occupied_count)::bigint
            FROM occupancy_events GROUP BY 1 ORDER BY 1
        """).fetchall()
    assert found == wanted


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket of a server that speaks S3."""
    server = pytest.importorskip("moto.server", reason="needs moto[server]").ThreadedMotoServer(port=0, verbose=False)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(zip(names, ("testing", "hunter2hunter2", "true"), strict=True))
    server.start()
    host, port = server.get_host_and_port()
    fs.S3FileSystem(endpoint_override=f"{host}:{port}", scheme="http", allow_bucket_creation=True).create_dir("rows")
    yield f"s3://rows/of/parking?scheme=http&region=us-east-1&endpoint_override={host}:{port}"
    server.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.POSTGRESQL)
def test_an_object_store_holds_the_archive(store: Store, s3: str, tmp_path: Path) -> None:
    s3 = s3.replace("/of/", f"/{store.server().kind.value}/")
    start = END - timedelta(days=8)
    fill(store, start)
    wanted = answer(store, start)
    assert store.archive(s3).rows > 500
    assert store.archive(s3).files == 0
    assert store.check_archive(s3).problems == ()
    if store.server().kind is ServerKind.POSTGRESQL:
        pytest.importorskip("dask.dataframe", reason="needs dask[dataframe,distributed]")
        assert_equal(on_dask(s3, start), wanted)
    with psycopg.connect(store.url) as connection:
        (destination,) = connection.execute("SELECT destination FROM timeseries.archive").fetchall()
    assert "hunter2" not in str(destination)


@pytest.mark.kinds(ServerKind.POSTGRESQL)
def test_an_object_store_that_is_away_is_said_without_credentials(store: Store, s3: str) -> None:
    away = s3.rsplit(":", 1)[0] + ":1"
    with pytest.raises(ArchiveError) as error:
        store.archive(away)
    assert "hunter2" not in str(error.value)
    with psycopg.connect(store.url) as connection:  # retention does not wait for a place that never took a file
        assert connection.execute("SELECT count(*) FROM timeseries.archive").fetchone() == (0,)
