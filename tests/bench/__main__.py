"""`make bench`: every figure a ratio to a reference measured in the same run, on the same server, in turns.

Ingest: the reference is the server's own limit, a COPY of ready binary data into the same table, taken just before
each way. Each figure is the median over the rounds. Results go to benchmarks.json, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from tests.bench import answers, bars, city, history, imports, singles, web
from tests.bench import start as bench_start
from tests.bench.life import life
from tests.support.servers import URL, RunningServer, discover, refused_by_docker, start, start_cluster
from timeseries import OccupancyEvent, ServerKind, Store, Writer
from timeseries.cli.output import print_table
from timeseries.database.connections import create_engine
from timeseries.ingest.batches import from_events
from timeseries.ingest.record import BATCH_SIZE
from timeseries.model.relations import OCCUPANCY
from timeseries.schema.orm import OccupancyEventRow
from timeseries.settings import Settings

CAMERAS = 200
SLOW = 20_000  # events for the ways that take too long with all of them
RATIOS = ("ratio", "lowest", "highest")


class Bench:
    """One server with cameras, and the events that every way of storing gets."""

    def __init__(self, url: str, number: int) -> None:
        self.url, self.number = url, number
        self.store = Store.open(url, settings=Settings())
        ids = [self.store.cameras.add(f"lot {i}").id for i in range(CAMERAS)]
        steps = number // CAMERAS
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=steps)
        self.events = [
            OccupancyEvent(ids[c], start + timedelta(seconds=s), (s + c) % 90)
            for s in range(steps)
            for c in range(CAMERAS)
        ]
        (batch,), _ = from_events(self.events)
        self.payloads = [part.copy_payload() for part in batch.ordered()[0].slices(BATCH_SIZE)]
        self.table = pa.table({
            "camera": pa.array([str(event.camera_id) for event in self.events]).dictionary_encode(),
            "timestamp": pa.array([event.timestamp for event in self.events], pa.timestamp("us", "UTC")),
            "occupied_count": pa.array([event.occupied_count for event in self.events], pa.int32()),
        })  # fmt: skip
        self.folder = Path(tempfile.mkdtemp())
        pq.write_table(self.table, self.folder / "events.parquet")

    def empty(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("TRUNCATE occupancy_events")
            connection.execute("CHECKPOINT")

    def rate(self, way: Callable[[], int]) -> float:
        """Events a second."""
        self.empty()
        start = time.perf_counter()
        number = way()
        seconds = time.perf_counter() - start
        with psycopg.connect(self.url) as connection:
            found = connection.execute("SELECT count(*) FROM occupancy_events").fetchone()
        assert found == (number,), (found, number)
        return number / seconds

    def limit(self) -> int:
        statement = f"COPY occupancy_events ({', '.join(OCCUPANCY.columns)}) FROM STDIN (FORMAT BINARY)"
        with psycopg.connect(self.url) as connection:
            for payload in self.payloads:
                with connection.cursor().copy(statement) as copy:
                    copy.write(payload)
                connection.commit()
        return self.number

    def objects(self) -> int:
        return self.store.record(self.events).inserted

    def frame(self) -> int:
        return self.store.record_frame(self.table).inserted

    def file(self) -> int:
        return self.store.import_file(self.folder / "events.parquet").inserted

    def file_on_one_connection(self) -> int:
        return self.store.import_file(self.folder / "events.parquet", connections=1).inserted

    def writer(self) -> int:
        """Four threads produce while four others ask."""
        stop = threading.Event()

        def ask() -> None:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not stop.is_set():
                    connection.execute("SELECT camera_id, max(timestamp) FROM occupancy_events GROUP BY 1").fetchall()
                    stop.wait(0.5)

        def produce(writer: Writer, part: list[OccupancyEvent]) -> None:
            for event in part:
                writer.record(event)

        readers = [threading.Thread(target=ask) for _ in range(4)]
        for reader in readers:
            reader.start()
        with self.store.writer(batch_size=50_000, max_pending=200_000) as writer:
            producers = [threading.Thread(target=produce, args=(writer, self.events[i::4])) for i in range(4)]
            for producer in producers:
                producer.start()
            for producer in producers:
                producer.join()
        stop.set()
        for reader in readers:
            reader.join()
        return writer.state.stored

    def to_sql(self) -> int:
        engine = create_engine(self.url)
        frame = self.table.slice(0, SLOW).to_pandas().rename(columns={"camera": "camera_id"})
        frame["camera_id"] = frame["camera_id"].astype(str)
        from sqlalchemy import Uuid

        frame.to_sql("occupancy_events", engine, if_exists="append", index=False, method="multi", chunksize=1000,
                     dtype={"camera_id": Uuid(as_uuid=False)})  # fmt: skip
        engine.dispose()
        return SLOW

    def bulk_insert(self) -> int:
        engine = create_engine(self.url)
        with Session(engine) as session:
            rows = [{key: getattr(event, key) for key in OCCUPANCY.columns[:3]} for event in self.events[:SLOW]]
            session.execute(OccupancyEventRow.__table__.insert(), rows)  # type: ignore[attr-defined]
            session.commit()
        engine.dispose()
        return SLOW

    def executemany(self) -> int:
        with psycopg.connect(self.url) as connection:
            connection.cursor().executemany(
                "INSERT INTO occupancy_events (camera_id, timestamp, occupied_count) VALUES (%s, %s, %s)",
                [(event.camera_id, event.timestamp, event.occupied_count) for event in self.events[:SLOW]],
            )
        return SLOW


def ingest(bench: Bench, rounds: int) -> list[dict[str, Any]]:
    ways = {
        "COPY of ready data, the limit itself": bench.limit,
        "store.record": bench.objects,
        "store.record_frame": bench.frame,
        "import of a Parquet file, 2 connections": bench.file,
        "the same on 1 connection": bench.file_on_one_connection,
        "writer, 4 producers, 4 readers": bench.writer,
        "DataFrame.to_sql(method='multi')": bench.to_sql,
        "SQLAlchemy bulk insert": bench.bulk_insert,
        "psycopg executemany": bench.executemany,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():  # each beside a limit of its own: the machine's speed drifts meanwhile
            limit = bench.rate(bench.limit)
            rates[name].append(bench.rate(way))
            ratios[name].append(rates[name][-1] / limit)
    ratios["import on 2 connections, against 1"] = [
        two / one
        for two, one in zip(
            rates["import of a Parquet file, 2 connections"], rates["the same on 1 connection"], strict=True
        )
    ]
    return [
        {
            "what": name,
            "events_per_second": round(statistics.median(rates[name])) if name in rates else None,
            "ratio": round(statistics.median(of_limit), 3),
            "lowest": round(min(of_limit), 3),
            "highest": round(max(of_limit), 3),
        }
        for name, of_limit in ratios.items()
    ]


SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "4GB",
    "min_wal_size": "4GB",
    "shared_buffers": "1GB",
    "max_locks_per_transaction": "256",
}


def quiet_server(kind: ServerKind) -> RunningServer:
    """The server of the URL, else one on which nothing but the measured work happens."""
    found = discover(kind, refused_by_docker())
    is_own = found.cluster is not None and found.origins[0][0] != URL
    if found.cluster is not None and is_own:
        quiet = partial(found.cluster, on_disk=True, **SETTINGS)
        found = replace(found, origins=((str(found.own), partial(start_cluster, quiet)),))
    server, failures = start(found)
    if server is None:
        raise SystemExit(f"no {kind.label}: {'; '.join((*found.refused, *failures))}")
    if is_own:
        make_wal(server.admin_url)
    return server


def make_wal(url: str) -> None:
    """Two gigabytes of WAL segments to recycle, as a server has that has run for a while: a new one is filled with
    zeros, and every commit waits meanwhile.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(128):
            connection.execute("SELECT pg_logical_emit_message(false, 'bench', ''), pg_switch_wal()")
        connection.execute("CHECKPOINT")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    tables = ["ingest", "singles", "history", "imports", "answers", "cameras", "life", "city", "start", "web"]
    parser.add_argument("--only", choices=tables, help="one of the tables")
    parser.add_argument("--kind", choices=[kind.value for kind in ServerKind], default="community")
    parser.add_argument("--cameras", type=int, help="of the city (10,000), and of answers about all of many (5,000)")
    parser.add_argument(
        "--hours", type=int, default=3, help="of the city's minutes, twice, before anything is measured"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of each way in which the city stores events")
    parser.add_argument("--feed", type=Path, help="history: a file of events as `timeseries import` takes it, as CSV")
    parser.add_argument("--feed-cameras", type=Path, help="its cameras: CSV with camera and timezone")
    given = parser.parse_args()
    if given.hours < 2:
        parser.error("--hours: at least 2, because the refresh jobs leave the newest hour out")
    results: dict[str, Any] = {}
    if given.only in (None, "start"):
        results["start"] = starts = bench_start.rows()
        shown = [[row["what"], f"{row['seconds']:.3f}", f"{row['ratio']:.2f}"] for row in starts]
        print_table(["start", "seconds", "times python"], shown)
    if given.only != "start":
        results |= of_server(given)
    Path("benchmarks.json").write_text(json.dumps(results, indent=2) + "\n")
    for table in bars.BARS.keys() & results.keys() - ({"cameras"} if given.cameras else set()):
        if missing := bars.without_row(table, results[table]):
            raise SystemExit(f"{table}: no row says {', '.join(sorted(missing))}")


def printed(table: str, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of ratios, each printed as it is found."""
    found = []
    for row in rows:
        found.append(row)
        shown = [row["what"], *(f"{row[key]:.2f}" for key in RATIOS), bars.wanted(table, row)]
        print_table([table, *RATIOS, "wanted"], [shown])
    return found


def print_seconds(table: str, rows: list[dict[str, Any]], ratio: str = "ratio") -> None:
    shown = [[row["what"], f"{row['seconds']:.4f}", f"{row['ratio']:.2f}", bars.wanted(table, row)] for row in rows]
    print_table([table, "seconds", ratio, "wanted"], shown)


def of_server(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that needs a server, printed as it is found."""
    server = quiet_server(ServerKind(given.kind))
    try:
        server.prepare()
        url = server.copy()
        bench = Bench(url, given.events // CAMERAS * CAMERAS)
        results: dict[str, Any] = {"server": str(bench.store.server())}
        if given.only in (None, "ingest"):
            results["ingest"] = rows = ingest(bench, given.rounds)
            shown = [
                [row["what"], row["events_per_second"] or "", *(f"{row[key]:.2f}" for key in RATIOS)] for row in rows
            ]
            header = ["ingest", "events a second", "of the limit", "lowest", "highest"]
            print_table(header, shown, title=results["server"])
        for table, rows_of in {
            "singles": singles.rows(server, given.rounds),
            "history": history.rows(server, given.rounds, given.events, given.feed, given.feed_cameras),
            "imports": imports.rows(server, given.rounds, given.events),
        }.items():
            if given.only in (None, table):
                results[table] = printed(table, rows_of)
        if given.only in (None, "city"):
            results["city"] = found = list(city.rows(server, given.cameras or 10_000, given.hours, given.seconds))
            print_table(["city", "value", "unit"], [[row["what"], f"{row['value']:,}", row["unit"]] for row in found])
        if given.only in (None, "answers"):
            results["answers"] = asked = answers.rows(server, given.rounds)
            print_seconds("answers", asked, "times as fast")
        if given.only in (None, "cameras"):
            results["cameras"] = of_all = answers.many_cameras(server, given.rounds, given.cameras or 5000)
            print_seconds("cameras", of_all, "times as fast")
        if given.only in (None, "web"):
            results["web"] = at_once = web.rows(server, given.rounds)
            print_seconds("web", at_once)
        if given.only in (None, "life"):
            bench.empty()
            results["life"] = found_costs = life(bench.store, given.rounds)
            print_seconds("life", found_costs)
        bench.store.close()
    finally:
        server.drop(keep=0)
        server.close()
    return results


if __name__ == "__main__":
    main()
