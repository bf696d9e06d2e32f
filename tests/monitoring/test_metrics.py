"""What Prometheus gets: the numbers of status and of writers, few of them, at once, however many cameras there are."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.roles import MakeRole, make_role, reader
from timeseries import (
    ConfigurationError,
    HealthLog,
    OccupancyEvent,
    RejectionKind,
    ServerKind,
    ServerUnavailableError,
    Store,
    StoreCollector,
    WriterCollector,
)
from timeseries.cli import main
from timeseries.monitoring.exposition import served, text_of
from timeseries.monitoring.store_metrics import HELP, read_metrics

__all__ = ["MakeRole", "make_role", "reader"]

NOW = datetime.now(UTC)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def labelled(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def add_cameras(store: Store, number: int) -> None:
    with store.pool.connection() as connection:
        connection.execute(
            "INSERT INTO cameras (name) SELECT 'secret lot ' || i FROM generate_series(1, %s) AS i", [number]
        )


def test_a_reader_gets_the_numbers_of_status(store: Store, reader: str) -> None:
    live, silent, stopped = (store.cameras.add(name) for name in ("live", "silent", "stopped"))
    store.cameras.update(stopped, desired_state="stopped")
    store.cameras.add("never")
    store.record([OccupancyEvent(live.id, NOW - timedelta(hours=1), 4), HealthLog(live.id, NOW, "degraded")])
    store.record([OccupancyEvent(camera.id, NOW - timedelta(days=3), 4) for camera in (silent, stopped)])
    found = samples(text_of(read_metrics(reader)))
    cameras = {
        ("running", "degraded"): (1, 0, 0),
        ("running", "unknown"): (2, 1, 1),
        ("stopped", "unknown"): (1, 1, 0),
    }
    for (state, status), numbers in cameras.items():
        names = ("timeseries_cameras", "timeseries_cameras_silent", "timeseries_cameras_never_heard")
        assert tuple(found[name, labelled(desired_state=state, status=status)] for name in names) == numbers
    table = labelled(table="occupancy_events")
    assert found["timeseries_table_newest_timestamp_seconds", table] == pytest.approx(NOW.timestamp() - 3600)
    assert found["timeseries_table_keep_seconds", table] == timedelta(days=90).total_seconds()
    for aggregate in store.status().aggregates:
        assert found["timeseries_aggregate_stale", labelled(aggregate=aggregate.name)] == aggregate.stale
    kind = store.server().kind
    assert {dict(labels)["kind"] for name, labels in found if name == "timeseries_store_info"} == {kind}
    jobs = [labels for name, labels in found if name == "timeseries_job_failed"]
    assert len(jobs) == (16 if kind is ServerKind.COMMUNITY else 0)
    assert {name.removeprefix("timeseries_") for name, _ in found} - {*HELP} == {"store_info"}


def scrape(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return bytes(answer.read())


def test_a_scrape_of_five_thousand_cameras_takes_milliseconds_and_names_none(store: Store, reader: str) -> None:
    add_cameras(store, 5_000)
    with StoreCollector(reader) as collector, served(collector, "127.0.0.1", 0) as port:
        text = scrape(port)  # waits for the first reading
        seconds = []
        for _ in range(5):
            begun = time.perf_counter()
            scrape(port)
            seconds.append(time.perf_counter() - begun)
    assert min(seconds) < 0.1
    assert len(text) < 20_000  # the limit is 100,000
    assert b"secret" not in text
    assert (
        samples(text.decode())["timeseries_cameras_never_heard", labelled(desired_state="running", status="unknown")]
        == 5_000
    )


def test_a_store_that_cannot_be_read_is_down_and_comes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    up = ("timeseries_up", frozenset[tuple[str, str]]())

    def away(_: str) -> None:
        raise ServerUnavailableError("gone")

    with StoreCollector(store.url, every=0.05) as collector:
        assert samples(text_of(collector.collect()))[up] == 1
        with monkeypatch.context() as patch:
            patch.setattr("timeseries.monitoring.store_metrics.read_metrics", away)
            until(lambda: samples(text_of(collector.collect()))[up] == 0)
            assert len(samples(text_of(collector.collect()))) == 3
        until(lambda: samples(text_of(collector.collect()))[up] == 1)
    assert "the store cannot be read: gone" in caplog.text


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError


def test_a_writer_shows_what_it_did_and_why_it_rejected(store: Store, tmp_path: Path) -> None:
    lot = store.cameras.add("gate")
    with store.writer(spool=tmp_path / "spool") as writer:
        collector = WriterCollector(gate=writer)
        registry = CollectorRegistry()
        registry.register(collector)
        for event in (
            OccupancyEvent(lot.id, NOW, 1),
            OccupancyEvent(lot.id, NOW, 1),
            OccupancyEvent(lot.id, NOW + timedelta(days=1), 1),
            OccupancyEvent(UUID(int=1), NOW, 1),
            OccupancyEvent(lot.id, NOW, -1),
        ):
            writer.record(event)
        writer.flush()
        found = samples(generate_latest(registry).decode())
    gate = labelled(writer="gate")
    wanted = {"accepted_total": 4, "stored_total": 1, "duplicates_total": 1, "retries_total": 0, "pending": 0}
    assert {name: found[f"timeseries_writer_{name}", gate] for name in wanted} == wanted
    rejected = {
        dict(labels)["reason"]: value for (name, labels), value in found.items() if name.endswith("rejected_total")
    }
    assert rejected == {"future": 1, "unknown_camera": 1, "occupied_count": 1}
    assert found["timeseries_writer_spool_bytes", gate] > 0
    assert found["timeseries_writer_batch_seconds_count", gate] >= 1
    assert found["timeseries_writer_batch_seconds_sum", gate] > 0
    last = found["timeseries_writer_batch_seconds_bucket", labelled(writer="gate", le="+Inf")]
    assert last == found["timeseries_writer_batch_seconds_count", gate]


def test_a_writer_whose_server_is_away_shows_how_long_events_wait(store: Store) -> None:
    lot = store.cameras.add("gate")
    with store.pool.connection() as connection:
        connection.execute("ALTER TABLE occupancy_events RENAME TO elsewhere")
    with store.writer(flush_interval=0.05) as writer:
        writer.record(OccupancyEvent(lot.id, NOW, 1))
        until(lambda: writer.state.retries > 0)
        found = samples(text_of(WriterCollector(gate=writer).collect()))
        assert found["timeseries_writer_pending", labelled(writer="gate")] == 1
        assert found["timeseries_writer_oldest_seconds", labelled(writer="gate")] > 0
        with store.pool.connection() as connection:
            connection.execute("ALTER TABLE elsewhere RENAME TO occupancy_events")


def test_every_kind_of_rejection_is_in_the_page_of_metrics() -> None:
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text()
    assert [kind for kind in RejectionKind if f"`{kind}`" not in page] == []


def test_the_command_prints_the_metrics_once(store: Store) -> None:
    done = CliRunner().invoke(main, ["--database-url", store.url, "metrics"])
    assert done.exit_code == 0
    assert 'timeseries_table_bytes{table="occupancy_events"}' in done.output


def test_the_command_answers_prometheus_until_it_is_ended(store: Store) -> None:
    script = "from timeseries.cli import main; main(['metrics', '--listen', '127.0.0.1:0'])"
    environment = os.environ | {"TIMESERIES_DATABASE_URL": store.url}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        said = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", process.stderr.readline())
        assert said is not None
        assert b"timeseries_up 1.0" in scrape(int(said[1]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize("where", ["9464", "localhost", ":9464", "host:port", "host:70000"])
def test_an_address_without_host_or_port_is_refused(where: str) -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    done = CliRunner().invoke(main, ["--database-url", url, "metrics", "--listen", where])
    assert done.exit_code == 1
    assert f"--listen {where}: it must be a host and a port" in done.output


def test_a_port_that_is_taken_is_named() -> None:
    with served(WriterCollector(), "127.0.0.1", 0) as port:  # noqa: SIM117 - the second needs the port of the first
        with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            with served(WriterCollector(), "127.0.0.1", port):
                pass


def test_without_the_extra_the_command_says_what_to_install() -> None:
    script = "import sys; sys.modules['prometheus_client'] = None; from timeseries.cli import main; main(['metrics'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == ("Error: metrics need prometheus-client: pip install 'occupancy-timeseries[metrics]'")
