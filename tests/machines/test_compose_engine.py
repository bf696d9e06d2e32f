"""`docker compose up` on a real engine: what runs, who may do what, and what is left after a stop, a restart, an end.

Skipped where no Docker engine answers, or where it lacks the images: `make images` pulls them, or makes stand-ins.
Grafana takes part where its image is there; it has no stand-in.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.machines import debian
from tests.support.backups import everything
from tests.support.clusters import free_port
from tests.support.compose import COMPOSE, REQUIRED, ROOT, project
from tests.support.containers import IMAGES
from tests.support.faults import produce, series
from tests.support.pages import blocks
from timeseries import ServerKind, Store
from timeseries.access.roles import find_deviations
from timeseries.settings import Settings

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

CLIENT = f"timeseries-test/client:{os.getpid()}"
PASSWORDS = {
    "postgres": "POSTGRES_PASSWORD",
    "timeseries": "TIMESERIES_OWNER_PASSWORD",
    "ingest": "TIMESERIES_INGEST_PASSWORD",
    "grafana": "TIMESERIES_READER_PASSWORD",
    "worker": "TIMESERIES_WORKER_PASSWORD",
    "control": "TIMESERIES_CONTROL_PASSWORD",
}


@dataclass(frozen=True)
class Stack:
    """A compose project of the test's own: name, ports, volumes and passwords are nobody else's."""

    name: str
    folder: Path
    given: dict[str, str]
    services: list[str]

    def compose(self, *words: str) -> subprocess.CompletedProcess[str]:
        ours = {name: value for name, value in os.environ.items() if re.match("PATH$|HOME$|DOCKER_", name)}
        return subprocess.run(
            [COMPOSE, "--file", ROOT / "docker-compose.yml", "--env-file", self.folder / ".env",
             "--project-name", self.name, "--profile", "demo", *words],
            capture_output=True, text=True, env=ours | self.given,
        )  # fmt: skip

    def done(self, *words: str) -> str:
        ran = self.compose(*words)
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
        return ran.stdout

    def up(self) -> None:
        """All services, until the last of those that end by themselves has ended well."""
        self.done("up", "--detach", *self.services)
        for service in ("migrate", "demo"):
            if service in self.services:
                assert debian.docker("wait", self.container(service)).stdout.strip() == "0", self.logs(service)

    def container(self, service: str) -> str:
        return self.done("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        (found,) = json.loads(debian.docker("inspect", self.container(service)).stdout)
        return found  # type: ignore[no-any-return]

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-log-prefix", service).stdout

    def in_client(self, script: str) -> str:
        """What a shell prints in a container of the command line."""
        return self.done("run", "--rm", "--no-deps", "--entrypoint", "sh", "cli", "-c", script)

    def password(self, role: str) -> str:
        lines = (self.folder / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line[:1].isalpha())[PASSWORDS[role]]

    def url(self, role: str, password: str | None = None) -> str:
        port = self.given["DATABASE_PORT"]
        return f"postgresql://{role}:{password or self.password(role)}@127.0.0.1:{port}/timeseries"

    def of_project(self, kind: str) -> list[str]:
        """What of this kind (`container`, `volume`, `network`) the engine holds for the project."""
        everything = ["--all"] if kind == "container" else []
        label = f"label=com.docker.compose.project={self.name}"
        return debian.docker(kind, "ls", *everything, "--quiet", "--filter", label).stdout.split()


def chosen_images() -> dict[str, str]:
    """What compose is told to use, of what the engine has."""
    if debian.engine() is None:
        pytest.skip("no Docker engine answers")
    servers = [IMAGES[kind] for kind in (ServerKind.COMMUNITY, ServerKind.APACHE)]
    database = next((image for image in servers if debian.is_here(image)), None)
    base = re.findall(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
    if database is None or not debian.is_here(base):
        pytest.skip(f"the engine has no {base}, or none of {', '.join(servers)}: make images")
    return {"TIMESERIES_DATABASE_IMAGE": database, "TIMESERIES_BASE_IMAGE": base, "TIMESERIES_IMAGE": CLIENT}


def make_stack(folder: Path, name: str, services: list[str]) -> Stack:
    for file in ("Makefile", ".env.example"):
        shutil.copy(ROOT / file, folder)
    subprocess.run(["make", ".env"], cwd=folder, check=True, capture_output=True)
    ports = {"DATABASE_PORT": str(free_port()), "GRAFANA_PORT": str(free_port())}
    return Stack(f"timeseries-test-{name}-{os.getpid()}", folder, chosen_images() | ports, services)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that the README's command starts, with the sample data fed; each test leaves it running."""
    chosen_images()
    grafana = ["grafana"] if debian.is_here(project()["services"]["grafana"]["image"]) else []
    made = make_stack(tmp_path_factory.mktemp("stack"), "whole", ["database", "migrate", "demo", *grafana])
    try:
        made.up()
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        debian.docker("image", "rm", CLIENT, check=False)


@pytest.fixture
def small(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """A second project beside the first, without the sample data."""
    made = make_stack(tmp_path, "small", ["database", "migrate"])
    try:
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


def count(stack: Stack, table: str = "occupancy_events") -> int:
    with psycopg.connect(stack.url("timeseries")) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def assert_needs_no_operator(stack: Stack) -> None:
    status = stack.compose("run", "--rm", "cli", "status")
    assert status.returncode == 0, status.stdout + status.stderr


def test_up_from_nothing_ends_with_the_sample_data_and_a_store_that_needs_no_operator(stack: Stack) -> None:
    assert "North Lot" in stack.logs("demo")
    assert count(stack) > 50_000
    assert_needs_no_operator(stack)
    assert "North Lot" in stack.done("run", "--rm", "cli", "camera", "list")


def test_each_role_comes_in_with_its_own_password_and_with_no_other(stack: Stack) -> None:
    for role in PASSWORDS:
        for other in PASSWORDS:
            url = stack.url(role, stack.password(other))
            if role == other:
                psycopg.connect(url).close()
            else:
                with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                    psycopg.connect(url)
    with psycopg.connect(stack.url("timeseries")) as connection:
        assert find_deviations(connection) == []


def test_a_value_missing_from_the_environment_file_is_named_and_nothing_is_made(small: Stack) -> None:
    whole = (small.folder / ".env").read_text()
    for name in REQUIRED:
        (small.folder / ".env").write_text(re.sub(f"^{name}=.*", f"{name}=", whole, flags=re.MULTILINE))
        ran = small.compose("up", "--detach")
        assert ran.returncode != 0
        assert f"{name} is missing a value: set it in .env, see .env.example" in ran.stderr.replace('"', "")
    assert [small.of_project(kind) for kind in ("container", "volume", "network")] == [[], [], []]


def test_down_keeps_the_data_and_up_finds_it_again(stack: Stack) -> None:
    before = count(stack)
    stack.done("down")
    assert stack.of_project("container") == []
    assert stack.of_project("volume") != []
    stack.up()
    assert count(stack) >= before
    assert_needs_no_operator(stack)


def test_down_with_volumes_removes_the_data(small: Stack) -> None:
    small.up()
    with Store.open(small.url("timeseries")) as store:
        store.cameras.add("lot")
    assert count(small, "cameras") == 1
    small.done("down", "--volumes")
    assert [small.of_project(kind) for kind in ("container", "volume", "network")] == [[], [], []]
    small.up()
    assert count(small, "cameras") == 0


@pytest.fixture
def archiving(tmp_path: Path) -> Iterator[Stack]:
    """A project whose database has pgBackRest and archives its WAL, as docs/backup.md says."""
    plain = make_stack(tmp_path, "archiving", ["database", "migrate"])
    image = f"timeseries-test/database:{os.getpid()}"
    base = {"TIMESERIES_DATABASE_BASE_IMAGE": plain.given["TIMESERIES_DATABASE_IMAGE"]}
    asked = {"TIMESERIES_DATABASE_IMAGE": image, "DATABASE_ARCHIVE_MODE": "on", "DATABASE_ARCHIVE_TIMEOUT": "60"}
    made = replace(plain, given=plain.given | base | asked)
    try:
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        debian.docker("image", "rm", image, check=False)


def test_a_database_in_compose_goes_back_to_a_moment_by_the_commands_of_the_docs(archiving: Stack) -> None:
    setting_up, recovering = (text for text in blocks("docs/backup.md", "sh") if text.startswith("docker compose"))
    build, up, full, incremental = documented(setting_up)
    archiving.done(*build)
    archiving.up()
    archiving.done(*full)
    with Store.open(archiving.url("timeseries")) as store:
        store.record(series(store.cameras.add("lot").id, 500))
        before = everything(archiving.url("timeseries"))
        archiving.done(*incremental)
        assert store.status().backups.kind == "pgBackRest"
    with psycopg.connect(archiving.url("timeseries"), autocommit=True) as connection:
        moment = connection.execute("SELECT clock_timestamp()::text").fetchall()[0][0]
        connection.execute("DROP TABLE occupancy_events CASCADE")
        connection.execute("SELECT pg_sleep(1)")
    stop, restore, start, recovered, again, resume = documented(recovering)
    archiving.done(*stop)
    archiving.done(*(f"--target={moment}" if word.startswith("--target=") else word for word in restore))
    archiving.done(*start)
    archiving.done(*recovered)
    assert again == up
    archiving.up()
    assert everything(archiving.url("timeseries")) == before
    archiving.done(*resume)
    assert "paused" not in archiving.compose("run", "--rm", "cli", "status").stdout


def documented(text: str) -> list[list[str]]:
    """The words after `docker compose` of each line; nobody answers, so there is no terminal."""
    lines = [shlex.split(line)[2:] for line in text.splitlines()]
    return [[*words[:1], "--no-TTY", *words[1:]] if words[0] == "exec" else words for words in lines]


def test_a_restart_of_the_database_loses_nothing_of_a_writer(stack: Stack) -> None:
    with Store.open(stack.url("timeseries"), settings=Settings()) as owner:
        camera = owner.cameras.add(f"lot {time.time_ns()}").id
    events = series(camera, 2000)
    with Store.open(stack.url("ingest"), settings=Settings()) as store, store.writer(batch_size=100) as writer:
        produce(writer, events[:1000])
        stack.done("restart", "database")
        produce(writer, events[1000:])
        writer.flush(120)
        assert writer.state.rejected == 0
    with psycopg.connect(stack.url("timeseries")) as connection:
        found = connection.execute("SELECT timestamp FROM occupancy_events WHERE camera_id = %s", [camera]).fetchall()
    assert sorted(found) == [(event.timestamp,) for event in events]


def test_a_client_can_write_nowhere_but_in_its_temporary_folder_and_can_become_nobody(stack: Stack) -> None:
    folders = "/ /etc /usr/local/bin /home/timeseries /var/tmp /tmp"
    script = f"""
        for folder in {folders}; do touch $folder/written 2>/dev/null && echo $folder; done
        id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status
    """
    words = stack.in_client(script).split()
    assert words == ["/tmp", "10001", "CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]


def test_no_process_that_stays_is_roots(stack: Stack) -> None:
    for service in stack.services:
        container = stack.inspect(service)
        assert container["HostConfig"]["Privileged"] is False
        if service in ("migrate", "demo"):
            assert container["Config"]["User"] == "10001"
            continue
        shown = debian.docker("top", container["Id"], "-eo", "pid,uid,args").stdout.splitlines()[1:]
        assert len(shown) >= 1
        assert [line for line in shown if line.split()[1] == "0"] == []


def test_everything_stops_within_its_grace_period(stack: Stack) -> None:
    running = [service for service in stack.services if service not in ("migrate", "demo")]
    began = time.monotonic()
    stack.done("stop")
    seconds = time.monotonic() - began
    codes = {service: stack.inspect(service)["State"]["ExitCode"] for service in running}
    assert codes == dict.fromkeys(running, 0)  # 137 is a container that was killed at the end of its grace period
    assert seconds < 60
    assert "database system is shut down" in stack.logs("database")
    stack.up()
    assert "database system was not properly shut down" not in stack.logs("database")
