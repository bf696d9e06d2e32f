"""Where servers come from: in the order that CONTRIBUTING names, falling back to what can really be started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from tests.support import report, servers
from tests.support.clusters import Cluster
from tests.support.containers import IMAGES, missing_images, why_no_engine
from tests.support.servers import URL, Found, RunningServer
from timeseries import ServerKind
from timeseries.maintenance.jobs import list_jobs
from timeseries.schema import migrations

ROOT = Path(__file__).parents[2]
NO_ENGINE = dict.fromkeys(IMAGES, "Docker is not installed")
ONE_TEST = "tests/averages/test_averages.py::test_an_observation_stands_no_longer_than_now"


@pytest.fixture(autouse=True)
def no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ServerKind:
        monkeypatch.delenv(f"TIMESERIES_TEST_{kind.name}_URL", raising=False)


def docker_that(folder: Path, script: str) -> Path:
    """The folder of a `docker` command that answers as told; the engine itself is out of reach."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize("kind", ServerKind)
def test_docker_is_tried_first_and_then_what_is_installed(kind: ServerKind) -> None:
    if servers.local_place(kind) is None:
        pytest.skip(f"no {kind.label} is installed here")
    with_engine, without = servers.discover(kind, {}), servers.discover(kind, NO_ENGINE)
    assert [origin for origin, _ in with_engine.origins] == [f"Docker, {IMAGES[kind]}", with_engine.own]
    assert [origin for origin, _ in without.origins] == [without.own]
    assert without.refused == ("Docker is not installed",)


@pytest.mark.parametrize("kind", ServerKind)
def test_a_url_is_the_only_place_where_there_is_one(monkeypatch: pytest.MonkeyPatch, kind: ServerKind) -> None:
    monkeypatch.setenv(f"TIMESERIES_TEST_{kind.name}_URL", "postgresql://somewhere/else")
    found = servers.discover(kind, {})
    assert [origin for origin, _ in found.origins] == [URL]
    assert (found.cluster is None) == (servers.local_place(kind) is None)


def test_the_reason_is_dockers_own_where_there_is_no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_no_engine() == "Docker is not installed"
    monkeypatch.setenv("PATH", f"{docker_that(tmp_path, 'echo no such daemon >&2; exit 1')}:/usr/bin:/bin")
    assert why_no_engine() == "no such daemon"


def test_an_image_is_pulled_only_where_the_registry_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f"""
        echo "$1 $2 $3" >> {tmp_path}/calls
        case "$1 $2 $3" in
            *there) exit 0;;
            "manifest inspect new" | "pull new "*) exit 0;;
            "pull broken "*) echo "unexpected EOF" >&2; exit 1;;
            "manifest inspect broken") exit 0;;
        esac
        echo "no such host" >&2; exit 1"""
    monkeypatch.setenv("PATH", f"{docker_that(tmp_path, script)}:/usr/bin:/bin")
    assert missing_images(["there", "new", "broken", "nowhere"]) == {
        "broken": "unexpected EOF", "nowhere": "no such host",
    }  # fmt: skip
    calls = (tmp_path / "calls").read_text()
    assert "pull new" in calls
    assert "pull nowhere" not in calls


def test_what_does_not_start_is_named_and_the_next_is_taken() -> None:
    def broken() -> tuple[str, servers.Start]:
        raise RuntimeError("first line\nno room")

    found = servers.discover(ServerKind.POSTGRESQL, NO_ENGINE)
    if not found.origins:
        pytest.skip("no PostgreSQL is installed here")
    server, failures = servers.start(replace(found, origins=(("a", broken), ("b", found.origins[0][1]))))  # type: ignore[arg-type]
    assert server is not None
    server.close()
    assert (server.origin, failures) == ("b", ("a: no room",))
    assert servers.start(Found(ServerKind.POSTGRESQL, ()))[0] is None


def run_tests(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words, ONE_TEST],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [(), ("-n", "1", "--dist", "loadgroup")])
def test_an_engine_that_cannot_pull_leaves_the_local_servers(tmp_path: Path, workers: tuple[str, ...]) -> None:
    if servers.local_place(ServerKind.POSTGRESQL) is None:
        pytest.skip("no PostgreSQL is installed here")
    script = '[ "$1" = version ] && exit 0; echo "Error: no such host" >&2; exit 1'
    path = f"{docker_that(tmp_path, script)}:{os.environ['PATH']}"
    done = run_tests({"PATH": path}, "-k", "postgresql", *workers)
    assert done.returncode == 0, done.stdout
    last = done.stdout.strip().splitlines()[-4:]
    (ran,) = [line for line in last if line.startswith("PostgreSQL: ")]
    assert ran.startswith("PostgreSQL: ran, from /")
    assert f"{IMAGES[ServerKind.POSTGRESQL]}: Error: no such host" in ran


def test_an_engine_that_cannot_start_a_container_leaves_the_local_servers(tmp_path: Path) -> None:
    if servers.local_place(ServerKind.POSTGRESQL) is None:
        pytest.skip("no PostgreSQL is installed here")
    path = f"{docker_that(tmp_path, 'exit 0')}:{os.environ['PATH']}"
    done = run_tests({"PATH": path, "DOCKER_HOST": "tcp://127.0.0.1:1"}, "-k", "postgresql")
    assert done.returncode == 0, done.stdout
    assert "ran, from /" in done.stdout
    assert f"Docker, {IMAGES[ServerKind.POSTGRESQL]}: " in done.stdout


def test_a_required_kind_that_does_not_start_fails_the_run(tmp_path: Path) -> None:
    path = f"{docker_that(tmp_path, 'exit 0')}:{os.environ['PATH']}"
    environment = {"PATH": path, "DOCKER_HOST": "tcp://127.0.0.1:1", "TIMESERIES_TEST_POSTGRESQL_URL": NOWHERE}
    done = run_tests(environment, "--require", "postgresql", "-k", "postgresql")
    assert done.returncode == 1, done.stdout
    assert "PostgreSQL: could not be had" in done.stdout


NOWHERE = "postgresql://me@127.0.0.1:1/x"


def test_a_run_without_timescaledb_ends_by_saying_how_to_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = {kind: Found(kind, (), ("Docker is not installed", "none is installed here")) for kind in ServerKind}
    monkeypatch.setattr(report, "FOUND", bare | {ServerKind.POSTGRESQL: Found(ServerKind.POSTGRESQL, (), (), "/x")})
    monkeypatch.setattr(report, "ORIGINS", {"postgresql": "/x"})
    monkeypatch.setattr(report, "FAILURES", {})
    lines = report.closing_lines()
    assert lines[0] == "TimescaleDB Community: could not be had: Docker is not installed; none is installed here"
    assert lines[2] == "PostgreSQL: ran, from /x"
    assert lines[-1].startswith("No TimescaleDB was found")
    assert lines[-1].endswith("sudo apt-get install docker.io")


@pytest.fixture
def somebodys(server: RunningServer) -> Iterator[Cluster]:
    """A server as users run them, with background workers and a store in the database of its URL."""
    if server.found.cluster is None:
        pytest.skip(f"no {server.kind.label} is installed here")
    awake = {} if server.kind is ServerKind.POSTGRESQL else {
        "timescaledb.max_background_workers": "8", "max_worker_processes": "24",
        "timescaledb.bgw_launcher_poll_time": "1000",
    }  # fmt: skip
    cluster = server.found.cluster(**awake)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


def databases(cluster: Cluster) -> set[str]:
    with psycopg.connect(cluster.url()) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()}


def test_a_url_gives_a_server_and_its_databases_stay_as_they_are(server: RunningServer, somebodys: Cluster) -> None:
    with psycopg.connect(somebodys.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE occupancy_events AS SELECT 1 AS precious")
        before = databases(somebodys)
        kind = server.kind
        done = run_tests({f"TIMESERIES_TEST_{kind.name}_URL": somebodys.url()}, "--require", kind, "-k", kind)
        assert done.returncode == 0, done.stdout
        assert f"{server.kind.label}: ran, from {URL}" in done.stdout
        assert connection.execute("SELECT * FROM occupancy_events").fetchall() == [(1,)]
        assert databases(somebodys) == before


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_no_background_job_of_the_urls_server_runs_in_a_database_of_the_tests(
    server: RunningServer, somebodys: Cluster
) -> None:
    shared = RunningServer(server.found, URL, somebodys.url(), lambda: None)
    shared.prepare()
    quiet, awake = shared.copy(), shared.create()
    migrations.migrate(awake)
    runs = "SELECT coalesce(sum(total_runs), 0) FROM timescaledb_information.job_stats WHERE job_id >= 1000"
    with psycopg.connect(quiet, autocommit=True) as held, psycopg.connect(awake, autocommit=True) as connection:
        before = held.execute(runs).fetchone()
        while connection.execute(runs).fetchone() == (0,):
            time.sleep(0.1)
        assert held.execute(runs).fetchone() == before
        assert {job.scheduled for job in list_jobs(held)} == {True}
        schedulers = held.execute("SELECT datname FROM pg_stat_activity WHERE backend_type ~ 'Scheduler'").fetchall()
        assert (shared.databases[1],) in schedulers
    shared.drop(keep=0)
