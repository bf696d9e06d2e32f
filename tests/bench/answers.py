"""The analytics rows of `make bench`: each figure a ratio to a reference that is asked in turns with it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
from adbc_driver_postgresql import dbapi

import analytics
from tests.support.servers import RunningServer
from timeseries import ServerKind, Store
from timeseries.database.connections import create_engine
from timeseries.settings import Settings

ZONE = "Europe/Berlin"
MINUTES = timedelta(minutes=1)
ROWS = 500_000  # of an aggregate, into one frame


def alternate(rounds: int, *ways: Callable[[], Any]) -> list[list[float]]:
    """Seconds of each way in each round, in turns; the first round warms caches and does not count."""
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds + 1):
        for way, found in zip(ways, seconds, strict=True):
            begin = time.perf_counter()
            way()
            found.append(time.perf_counter() - begin)
    return [found[1:] for found in seconds]


def figure(what: str, own: list[float], reference: list[float]) -> dict[str, Any]:
    """How many times as fast as the reference: the median over the rounds."""
    ratio = statistics.median(other / mine for mine, other in zip(own, reference, strict=True))
    return {"what": what, "seconds": round(statistics.median(own), 4), "ratio": round(ratio, 2)}


def midnight(days_ago: int) -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)


def feed(
    store: Store, names: list[str], days: int, step: timedelta, *, gaps: bool = False
) -> tuple[datetime, datetime]:
    """Counts of the last `days` for each camera, one each `step`; where they begin and end. With `gaps` one camera says
    nothing for three hours of each fourth day.
    """
    end = midnight(2)
    start = end - timedelta(days=days)
    chance = np.random.default_rng(7)
    for first in pd.date_range(start, end, freq="40D", inclusive="left"):
        last = min(first + timedelta(days=40), pd.Timestamp(end))
        times = pd.date_range(first, last, freq=step, inclusive="left")
        rows = len(times) * len(names)
        table = pa.table(
            {
                "camera": pa.array(np.repeat(names, len(times))),
                "timestamp": pa.array(np.tile(times.to_numpy(), len(names)), pa.timestamp("us", "UTC")),
                "occupied_count": chance.integers(0, 90, rows, dtype=np.int32),
            }
        )
        if gaps:
            day = (times - pd.Timestamp(0, tz="UTC")).days
            silent = np.where((day % 4 == 0) & (times.hour >= 9) & (times.hour < 12), day // 4 % len(names), -1)
            table = table.filter((silent != np.arange(len(names))[:, None]).ravel())
        store.record_frame(table)
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    return start, end


def weekdays(store: Store, rounds: int) -> list[dict[str, Any]]:
    """The weekday average of one camera over two years of one-minute events, from summaries and from raw rows."""
    camera = store.cameras.add("two years", timezone=ZONE)
    start, end = feed(store, ["two years"], 730, MINUTES)
    raw = """
        SELECT extract(isodow FROM timestamp AT TIME ZONE 'Europe/Berlin'), sum(occupied_count * s) / sum(s) FROM (
            SELECT timestamp, occupied_count, date_part('epoch', lead(timestamp, 1, %(end)s) OVER (ORDER BY timestamp)
                   - timestamp) AS s
            FROM occupancy_events WHERE camera_id = %(camera)s AND timestamp >= %(start)s AND timestamp < %(end)s
        ) AS e GROUP BY 1 ORDER BY 1
    """
    with psycopg.connect(store.url, autocommit=True) as connection:

        def slow() -> list[tuple[Any, ...]]:
            return connection.execute(raw, {"camera": camera.id, "start": start, "end": end}).fetchall()

        def quick() -> pd.DataFrame:
            return analytics.weekday_averages(camera.id, start=start, end=end, url=store.url)

        def of_hours() -> pd.DataFrame:
            opening = ("07:00", "19:00")
            return analytics.weekday_averages(camera.id, start=start, end=end, url=store.url, hours=opening)

        def profile() -> pd.DataFrame:
            return analytics.weekday_profile(camera.id, start=start, end=end, url=store.url)

        assert np.allclose([float(row[1]) for row in slow()], quick()["occupied_avg"], rtol=1e-9)
        own, reference = alternate(rounds, quick, slow)
        some, all_hours = alternate(rounds, of_hours, profile)
    return [
        figure("weekday average over two years, against raw rows", own, reference),
        figure("the same of opening hours alone, against the profile of all hours", some, all_hours),
    ]


def frames(store: Store, rounds: int) -> list[dict[str, Any]]:
    """Rows of an aggregate into a frame, against the two other ways to get them."""
    names = [f"lot {i}" for i in range(60)]
    for name in names:
        store.cameras.add(name)
    feed(store, names, -(-ROWS // 60 // 24) + 1, timedelta(hours=1))
    query = "SELECT camera_id, bucket, samples, occupied_min, occupied_max, occupied_avg FROM public.occupancy_hourly"
    engine = create_engine(store.url)
    with dbapi.connect(store.url, autocommit=True) as connection, connection.cursor() as cursor:

        def own() -> pd.DataFrame:
            return analytics.aggregate_rows("occupancy_hourly", timezone="UTC", url=store.url)

        def bare() -> pa.Table:
            cursor.execute(query)
            return cursor.fetch_arrow_table()

        def read_sql() -> pd.DataFrame:
            return pd.read_sql(query, engine)

        assert len(own()) == bare().num_rows >= ROWS
        ours, arrow, objects = alternate(rounds, own, bare, read_sql)
    engine.dispose()
    what = f"{ROWS:,} rows of an aggregate into a frame, against"
    return [figure(f"{what} pandas.read_sql", ours, objects), figure(f"{what} a bare ADBC fetch", ours, arrow)]


def months(store: Store, rounds: int) -> list[dict[str, Any]]:
    """A month of hours of one camera, among more and more history: the first is the reference of the others."""
    grown = (
        ("a month of one camera, in one year of ten cameras", range(10), 365, timedelta(hours=1)),
        ("the same, in five years of ten cameras", range(10), 5 * 365, timedelta(hours=6)),
        ("the same, in five years of two hundred cameras", range(10, 200), 5 * 365, timedelta(days=1)),
    )
    found: list[dict[str, Any]] = []
    reference: list[float] = []
    for what, numbers, days, step in grown:
        names = [f"lot {i}" for i in numbers]
        for name in set(names) - {camera.name for camera in store.cameras.list()}:
            store.cameras.add(name, timezone=ZONE)
        feed(store, names, days, step)
        (own,) = alternate(
            rounds * 3,
            lambda: analytics.hourly_averages("lot 3", start=midnight(200), end=midnight(170), url=store.url),
        )
        reference = reference or own
        found.append(figure(what, [statistics.median(own)], [statistics.median(reference)]))
    return found


def groups(store: Store, rounds: int) -> list[dict[str, Any]]:
    """Groups of fifty cameras, against these asked at once: known all the time, and one of them unknown at times."""
    found = []
    for kind, gaps in (("fifty cameras", False), ("fifty cameras with gaps", True)):
        names = [f"{kind} {i}" for i in range(50)]
        for name in names:
            store.cameras.add(name, timezone=ZONE, hold=timedelta(hours=1))
        store.groups.add(kind, names)
        start, end = feed(store, names, 180, timedelta(minutes=30), gaps=gaps)
        asks: tuple[tuple[str, Any, datetime], ...] = (
            ("hours of a month", analytics.hourly_averages, end - timedelta(days=30)),
            ("weekdays of half a year", analytics.weekday_averages, start),
        )
        for what, question, begin in asks:
            ask = partial(question, start=begin, end=end, url=store.url)
            of_cameras = ask(names).groupby("camera", observed=True)["occupied_avg"].mean()
            of_group = ask(kind)
            assert gaps == (of_group["coverage"].min() < 0.99)
            assert np.isclose(of_group["occupied_avg"].mean(), of_cameras.sum(), rtol=0.01 if gaps else 1e-9)
            own, reference = alternate(rounds * 3, partial(ask, kind), partial(ask, names))
            found.append(figure(f"{what} of a group of {kind}, against these asked at once", own, reference))
    return found


def feed_all(store: Store, cameras: int, days: int, hourly: int) -> tuple[datetime, datetime]:
    """A count a day of each camera, in the last `hourly` days one an hour, materialized; where they begin and end."""
    end = midnight(0)
    start = end - timedelta(days=days)
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO cameras (name, timezone) SELECT 'lot ' || i, %s FROM generate_series(1, %s) AS i",
            [ZONE, cameras],
        )
        for begin, step in ((start, "1 day"), (end - timedelta(days=hourly), "1 hour")):
            connection.execute(
                "INSERT INTO occupancy_events (camera_id, timestamp, occupied_count)"
                " SELECT c.id, at + interval '7 minutes', extract(epoch FROM at)::bigint / 3600 %% 90"
                " FROM generate_series(%s, %s - interval '1 hour', %s::interval) AS at CROSS JOIN cameras AS c"
                " ON CONFLICT DO NOTHING",
                [begin, end, step],
            )
        if store.server().kind is ServerKind.COMMUNITY:
            for level in ("quarter_hourly", "hourly", "weekday"):
                connection.execute(f"CALL refresh_continuous_aggregate('occupancy_{level}', NULL, now())")
        connection.execute("VACUUM ANALYZE")
    return start, end


def every(store: Store, rounds: int, cameras: int) -> list[dict[str, Any]]:
    """Answers about all of many cameras, against a bare fetch of as many hours as the first of them has."""
    start, end = feed_all(store, cameras, 90, 4)
    hours = (end - timedelta(hours=96), end - timedelta(hours=6))
    query = f"""
        SELECT camera_id, bucket, samples, occupied_min, occupied_max, occupied_avg FROM public.occupancy_hourly
        WHERE bucket >= '{hours[0].isoformat()}' AND bucket < '{hours[1].isoformat()}'
    """
    with dbapi.connect(store.url, autocommit=True) as connection, connection.cursor() as cursor:

        def bare() -> pa.Table:
            cursor.execute(query)
            return cursor.fetch_arrow_table()

        def of_hours() -> pd.DataFrame:
            return analytics.hourly_averages(start=hours[0], end=hours[1], url=store.url)

        def of_weekdays(camera: str | None = None) -> pd.DataFrame:
            return analytics.weekday_averages(camera, start=start, end=end - timedelta(days=1), url=store.url)

        def newest() -> pd.DataFrame:
            return analytics.latest(url=store.url)

        number = bare().num_rows
        assert len(of_hours()) == number
        ways = (bare, of_hours, of_weekdays, newest, partial(of_weekdays, "lot 7"))
        taken = alternate(rounds, *ways)
    what = (
        f"a bare ADBC fetch of {number:,} hours",
        f"as many hours of {cameras:,} cameras, against it",
        f"weekdays of {cameras:,} cameras over 90 days, against it",
        f"latest of {cameras:,} cameras, against it",
        f"weekdays of one of {cameras:,} cameras, against it",
    )
    return [figure(name, seconds, taken[0]) for name, seconds in zip(what, taken, strict=True)]


def rows(server: RunningServer, rounds: int) -> list[dict[str, Any]]:
    """Each in a database of its own, on the server that is measured."""
    return [
        row
        for measure in (weekdays, frames, months, groups)
        for row in measured(server, partial(measure, rounds=rounds))
    ]


def many_cameras(server: RunningServer, rounds: int, cameras: int) -> list[dict[str, Any]]:
    return measured(server, partial(every, rounds=rounds, cameras=cameras))


def measured(server: RunningServer, measure: Callable[[Store], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What `measure` finds in a database of its own."""
    with Store.open(server.copy(), settings=Settings()) as store:
        found = measure(store)
    server.drop()
    return found
