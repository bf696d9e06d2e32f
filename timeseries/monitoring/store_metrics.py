"""How a store is, as metrics of Prometheus: what `timeseries status` and Grafana read, summed up over the cameras."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple, Self

import psycopg

from timeseries.database.connections import Connection, connect, translated_errors
from timeseries.database.rows import value
from timeseries.database.server import inspect_server
from timeseries.errors import TimeseriesError
from timeseries.monitoring.exposition import Collector, CounterMetricFamily, GaugeMetricFamily, Metric

log = logging.getLogger(__name__)
PREFIX = "timeseries_"
SILENT_FOR = 60.0  # seconds; then a reading is given up
ABOUT = ("kind", "postgresql", "timescaledb", "revision")


class Source(NamedTuple):
    """A query whose first columns are the labels and whose others are metrics of their names; NULL has no sample."""

    query: str
    labels: tuple[str, ...]


SOURCES = (
    Source(
        """
        SELECT name AS table, rows_about AS table_rows, bytes AS table_bytes,
               bytes_in_columnstore AS table_columnstore_bytes,
               date_part('epoch', oldest) AS table_oldest_timestamp_seconds,
               date_part('epoch', newest) AS table_newest_timestamp_seconds,
               date_part('epoch', keep) AS table_keep_seconds,
               overdue_seconds AS table_retention_overdue_seconds,
               allowed_seconds AS table_retention_allowed_seconds
        FROM public.store_tables()
        """,
        ("table",),
    ),
    Source(
        """
        SELECT name AS aggregate, bytes AS aggregate_bytes, lag_seconds AS aggregate_lag_seconds,
               allowed_seconds AS aggregate_allowed_seconds, stale::integer AS aggregate_stale
        FROM public.store_lag()
        """,
        ("aggregate",),
    ),
    Source(
        """
        SELECT name AS table, days_missing AS archive_missing_days, lag_seconds AS archive_lag_seconds,
               allowed_seconds AS archive_allowed_seconds, failed::integer AS archive_failed,
               date_part('epoch', finished_at) AS archive_last_success_timestamp_seconds
        FROM public.store_archive()
        """,
        ("table",),
    ),
    Source(
        """
        SELECT job_id, job, relation, scheduled::integer AS job_scheduled, failures AS job_failures_total,
               (last_run_status IS NOT DISTINCT FROM 'Failed')::integer AS job_failed,
               coalesce(overdue_seconds, 'infinity') AS job_overdue_seconds,
               date_part('epoch', last_success) AS job_last_success_timestamp_seconds
        FROM public.store_jobs()
        """,
        ("job_id", "job", "relation"),
    ),
    Source(
        """
        SELECT c.desired_state::text AS desired_state, coalesce(l.status::text, 'unknown') AS status,
               count(*) AS cameras,
               count(*) FILTER (WHERE greatest(l.counted_at, l.status_at) < now() - c.hold) AS cameras_silent,
               count(*) FILTER (WHERE coalesce(l.counted_at, l.status_at) IS NULL) AS cameras_never_heard
        FROM public.latest() AS l
        JOIN public.cameras AS c ON c.id = l.camera_id
        GROUP BY 1, 2
        """,
        ("desired_state", "status"),
    ),
)
HELP = {
    "table_rows": "Raw rows, estimated.",
    "table_bytes": "Bytes on disk, with indexes.",
    "table_columnstore_bytes": "Bytes of the chunks in the columnstore.",
    "table_oldest_timestamp_seconds": "The oldest raw row.",
    "table_newest_timestamp_seconds": "The newest raw row.",
    "table_keep_seconds": "How long retention keeps raw rows.",
    "table_retention_overdue_seconds": "How long retention should have removed the oldest raw rows.",
    "table_retention_allowed_seconds": "How long that may be.",
    "aggregate_bytes": "Bytes on disk.",
    "aggregate_lag_seconds": "From the watermark to the newest event; 0 for a view.",
    "aggregate_allowed_seconds": "How old an event may become by the policy until it is materialized.",
    "aggregate_stale": "1 where an event above the watermark is older than that.",
    "archive_missing_days": "Days that are over and not in the archive.",
    "archive_lag_seconds": "How long the oldest of them should be there.",
    "archive_allowed_seconds": "How long that may be.",
    "archive_failed": "1 where a run failed since the last that ended well.",
    "archive_last_success_timestamp_seconds": "The last run that ended well.",
    "job_scheduled": "0 for a job that is paused.",
    "job_failures_total": "Failed runs.",
    "job_failed": "1 where the last run failed.",
    "job_overdue_seconds": "How long the job should have begun; infinite where it never ran.",
    "job_last_success_timestamp_seconds": "The last run that ended well.",
    "cameras": "Cameras by desired state and newest health status.",
    "cameras_silent": "Those last heard of longer ago than their hold.",
    "cameras_never_heard": "Those that never reported.",
}
SELECT_REVISION = "SELECT version_num FROM public.alembic_version"


def read_metrics(url: str) -> list[Metric]:
    """The metrics of a store as it is now; the role of a reader is enough.

    Raises ServerUnavailableError, NotMigratedError or NotAllowedError.
    """
    with translated_errors(), connect(url, deadline=SILENT_FOR, autocommit=True) as connection:
        server = inspect_server(connection)
        versions = (server.kind.value, server.postgresql, server.timescaledb or "", value(connection, SELECT_REVISION))
        about = GaugeMetricFamily(PREFIX + "store_info", "Always 1.", labels=ABOUT)
        about.add_metric([str(version) for version in versions], 1)
        return [about, *(metric for source in SOURCES for metric in _metrics(connection, source))]


def _metrics(connection: Connection, source: Source) -> Iterator[Metric]:
    """A metric per column behind the labels, with a sample per row."""
    cursor = connection.execute(source.query)
    columns = [column.name for column in cursor.description or ()]
    rows = cursor.fetchall()
    number = len(source.labels)
    for place, column in enumerate(columns[number:], number):
        kind = CounterMetricFamily if column.endswith("_total") else GaugeMetricFamily
        metric = kind(PREFIX + column, HELP[column], labels=source.labels)
        for row in rows:
            if row[place] is not None:
                metric.add_metric([str(label) for label in row[:number]], float(row[place]))
        yield metric


class StoreCollector(Collector):
    """The metrics of a store, for a registry of `prometheus_client`: `REGISTRY.register(StoreCollector(url))`.

    The store is read in the background, every 30 seconds unless `every` says otherwise, because a reading takes seconds
    where there are thousands of cameras; so a scrape takes milliseconds, and many of them ask the server no more than
    one. `timeseries_up` is 0 where the last reading failed, and its numbers are gone then. Close it, or use `with`.
    """

    def __init__(self, url: str, *, every: float = 30.0) -> None:
        """Begin to read; the first scrape waits for the first reading."""
        self._url, self._every = url, every
        self._metrics: list[Metric] = []
        self._first, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="timeseries-metrics", daemon=True)
        self._thread.start()

    def describe(self) -> list[Metric]:
        """No metric is asked for when the collector is registered."""
        return []

    def collect(self) -> list[Metric]:
        """The metrics of the last reading; `prometheus_client` calls this at each scrape."""
        self._first.wait()
        return self._metrics

    def close(self) -> None:
        """Read no more."""
        self._closed.set()
        self._first.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._metrics = reading(self._url)
            self._first.set()
            self._closed.wait(self._every)


def reading(url: str) -> list[Metric]:
    """The metrics of a store, when they were read, and whether that went well."""
    begun = time.time()
    try:
        metrics = read_metrics(url)
    except (TimeseriesError, psycopg.Error) as error:
        log.warning("the store cannot be read: %s", error)
        metrics = []
    return [
        GaugeMetricFamily(PREFIX + "up", "1 where the last reading of the store went well.", bool(metrics)),
        GaugeMetricFamily(PREFIX + "reading_timestamp_seconds", "When the store was read.", begun),
        GaugeMetricFamily(PREFIX + "reading_seconds", "How long that took.", time.time() - begun),
        *metrics,
    ]
