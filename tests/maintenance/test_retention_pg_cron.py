"""Retention by pg_cron."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.clusters import Cluster, is_root
from tests.support.faults import opened
from tests.support.retention import DAY, DUE, NOW, eventually, execute, fill, old_rows, record, retaining
from tests.support.roles import as_role
from tests.support.servers import APACHE_ROOT, make_cluster
from timeseries import OccupancyEvent, ServerKind
from timeseries.access.roles import grant
from timeseries.backup.restore import restore
from timeseries.database.installations import installations
from timeseries.monitoring.status import read_status
from timeseries.schema import migrations


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
