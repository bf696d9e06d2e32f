"""What starts with `docker compose up`: read by compose itself, its commands run on real servers."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.support.compose import GIVEN, REQUIRED, ROOT, compose, project
from tests.support.containers import IMAGES
from tests.support.keys import SECRET_KEY
from tests.support.pages import blocks
from tests.support.roles import as_role, make_role
from tests.support.servers import RunningServer
from timeseries import ServerKind
from timeseries.access.keyring import Keyring
from timeseries.access.roles import find_deviations
from timeseries.database.releases import KNOWN_BAD, OLDEST, find_faults, number
from timeseries.database.server import Server

__all__ = ["make_role"]
EXAMPLE = ROOT / ".env.example"


def test_compose_reads_the_file_and_warns_of_nothing() -> None:
    done = compose(GIVEN, "config", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(project()["services"]) == {"database", "migrate", "demo", "cli", "metrics", "backup", "grafana"}


@pytest.mark.parametrize("missing", REQUIRED)
def test_without_a_password_nothing_starts(missing: str) -> None:
    done = compose({name: value for name, value in GIVEN.items() if name != missing}, "--profile", "*", "config")
    assert done.returncode != 0
    assert missing in done.stderr
    assert done.stdout == ""


def test_no_secret_is_written_into_the_file() -> None:
    for service in project()["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET", name):
                assert value in GIVEN.values()


def test_every_image_is_pinned_and_the_database_is_what_the_tests_run_on() -> None:
    services = project()["services"]
    images = [service["image"] for service in services.values()]
    images += [services["migrate"]["build"]["args"]["BASE"]]
    images += re.findall(r"^ARG BASE=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    images += [services["backup"]["build"]["args"]["DATABASE"]]
    for job in workflow()["jobs"].values():
        for row in job.get("strategy", {}).get("matrix", {}).get("include", ()):
            images += [filled(image, row) for name, image in job.get("env", {}).items() if name.endswith("_IMAGE")]
    for image in images:
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?(-[a-z0-9-]+)?", image), image
    versions = [found[1] for image in images if (found := re.match(r"timescale/timescaledb:([\d.]+)", image))]
    assert len(versions) >= 3
    assert not set(versions) & KNOWN_BAD
    if "TIMESERIES_TEST_COMMUNITY_IMAGE" not in os.environ:
        assert services["database"]["image"] == IMAGES[ServerKind.COMMUNITY]
        assert services["backup"]["build"]["args"]["DATABASE"] == IMAGES[ServerKind.COMMUNITY]


def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    return found


def filled(image: str, row: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda found: row[found[1]], image)


def test_the_workflow_runs_the_oldest_release_that_is_supported_and_only_pairs_that_go_together() -> None:
    rows = workflow()["jobs"]["servers"]["strategy"]["matrix"]["include"]
    servers = [Server(ServerKind.COMMUNITY, row["plain"], row["timescaledb"]) for row in rows]
    assert [problem for server in servers for problem in find_faults(server)] == []
    assert {number(server.postgresql)[0] for server in servers} == {15, 16, 17, 18}
    assert any(row["timescaledb"].startswith(f"{OLDEST[ServerKind.COMMUNITY]}.") for row in rows)


def test_the_image_is_built_on_one_base_alone_which_compose_names_too() -> None:
    text = (ROOT / "Dockerfile").read_text()
    named = project()["services"]["migrate"]["build"]["args"]["BASE"]
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE) == [named]


def test_each_image_can_be_named_by_the_environment() -> None:
    named = {
        "TIMESERIES_DATABASE_IMAGE": "registry.example/database:1.2",
        "TIMESERIES_GRAFANA_IMAGE": "registry.example/grafana:1.2",
        "TIMESERIES_IMAGE": "registry.example/client:1.2",
        "TIMESERIES_BASE_IMAGE": "registry.example/python:1.2",
        "TIMESERIES_DATABASE_BASE_IMAGE": "registry.example/timescaledb:1.2",
    }
    done = compose(GIVEN | named, "--profile", "*", "config", "--format", "json")
    services = json.loads(done.stdout)["services"]
    assert services["migrate"]["build"]["args"]["BASE"] == named["TIMESERIES_BASE_IMAGE"]
    assert services["backup"]["build"]["args"]["DATABASE"] == named["TIMESERIES_DATABASE_BASE_IMAGE"]
    assert {name: service["image"] for name, service in services.items()} == {
        **dict.fromkeys(("database", "backup"), named["TIMESERIES_DATABASE_IMAGE"]),
        "grafana": named["TIMESERIES_GRAFANA_IMAGE"],
        **dict.fromkeys(("migrate", "demo", "cli", "metrics"), named["TIMESERIES_IMAGE"]),
    }


def test_wal_is_archived_only_where_it_is_asked_for_and_what_docs_say_to_ask_for_is_in_the_example() -> None:
    example = re.findall(r"^#(DATABASE_ARCHIVE_\w+)=(\S+)$", EXAMPLE.read_text(), re.MULTILINE)
    archiving = dict(example) | {"TIMESERIES_DATABASE_IMAGE": project()["services"]["backup"]["image"]}
    documented = (ROOT / "docs/backup.md").read_text().split()
    assert {f"{name}={value}" for name, value in archiving.items()} <= {*documented}

    def settings(environment: dict[str, str]) -> dict[str, str]:
        words = json.loads(compose(GIVEN | environment, "config", "--format", "json").stdout)["services"]["database"]
        return dict(word.removeprefix("-c").split("=", 1) for word in words["command"][1:] if "archive" in word)

    off, on = settings({}), settings(archiving)
    assert (off["archive_mode"], off["archive_timeout"]) == ("off", "0")
    assert (on["archive_mode"], on["archive_timeout"]) == ("on", "60")
    assert on["archive_command"] == "pgbackrest archive-push %p"


def test_pgbackrest_works_on_the_folders_that_compose_mounts_and_as_the_docs_set_it_up() -> None:
    services = project()["services"]
    lines = dict(re.findall(r"(\w+)=(\S+)", (ROOT / "pgbackrest/Dockerfile").read_text()))
    ours = {v["target"]: v["source"] for v in services["backup"]["volumes"]}
    assert ours.items() <= {v["target"]: v["source"] for v in services["database"]["volumes"]}.items()
    assert lines["PGBACKREST_REPO1_PATH"] in ours
    assert lines["PGDATA"] == lines["PGBACKREST_PG1_PATH"] == services["database"]["environment"]["PGDATA"]
    documented = "".join(blocks("docs/backup.md", "ini"))
    for option in ("repo1-retention-full", "start-fast", "recovery-option"):
        assert f"{option}={lines['PGBACKREST_' + option.upper().replace('-', '_')]}" in documented


def test_every_action_of_the_workflow_is_pinned_by_commit() -> None:
    uses = re.findall(r"uses: (\S+)", (ROOT / ".github/workflows/ci.yml").read_text())
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action


def test_one_service_builds_each_image_and_the_others_only_use_it() -> None:
    services = project()["services"]
    assert [name for name, service in services.items() if "build" in service] == ["backup", "migrate"]
    ours = {name for name, service in services.items() if service["image"] == services["migrate"]["image"]}
    assert ours == {"migrate", "demo", "cli", "metrics"}
    assert {services[name]["pull_policy"] for name in ours} == {"never"}


def test_the_workflow_starts_what_the_readme_says() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    readme = (ROOT / "README.md").read_text()
    said = re.findall(r"^\$ (make \.env|docker compose .*?)(?:  +#.*)?$", readme, re.MULTILINE)
    assert len(said) == 2
    for command in said:
        assert re.search(rf"- run: {re.escape(command)}( --detach)?\n", workflow), command


def test_ports_are_open_on_loopback_only_unless_asked() -> None:
    def addresses(environment: dict[str, str]) -> dict[str, str]:
        services = json.loads(compose(GIVEN | environment, "config", "--format", "json").stdout)["services"]
        return {name: port["host_ip"] for name, service in services.items() for port in service.get("ports", [])}

    assert addresses({}) == {"grafana": "127.0.0.1", "database": "127.0.0.1"}
    assert addresses({"BIND_ADDRESS": "10.0.0.5"}) == {"grafana": "10.0.0.5", "database": "127.0.0.1"}
    assert addresses({"DATABASE_BIND_ADDRESS": "10.0.0.5"}) == {"grafana": "127.0.0.1", "database": "10.0.0.5"}


def test_what_runs_is_watched_and_waits_for_what_it_needs() -> None:
    services = project()["services"]
    for name in ("database", "grafana"):
        assert services[name]["healthcheck"]["test"]
        assert services[name]["restart"] == "unless-stopped"
        assert any(volume["type"] == "volume" for volume in services[name]["volumes"])
    assert services["migrate"]["depends_on"]["database"]["condition"] == "service_healthy"
    for name in ("grafana", "demo", "cli"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


def test_grafana_finds_its_files_and_every_variable_in_them() -> None:
    grafana = project()["services"]["grafana"]
    mounts = {v["target"]: Path(v["source"]) for v in grafana["volumes"] if v["type"] == "bind"}
    assert mounts == {
        "/etc/grafana/provisioning": ROOT / "grafana/provisioning",
        "/etc/grafana/dashboards": ROOT / "grafana/dashboards",
    }
    text = "".join(path.read_text() for path in (ROOT / "grafana/provisioning").rglob("*.yml"))
    assert set(re.findall(r"\$\{(\w+)\}", text)) <= set(grafana["environment"])
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (mounts[str(home.parent)] / home.name).is_file()


def test_the_command_of_migrate_makes_roles_that_work(
    empty_database: str, make_role: Callable[[str, str], str], server: RunningServer
) -> None:
    services = project()["services"]
    (script,) = services["migrate"]["command"]
    granted = {"owner": "timeseries", "ingest": "ingest", "reader": "grafana", "worker": "worker", "control": "control"}
    roles = {kind: make_role(empty_database, kind) for kind in granted}
    for kind, name in granted.items():
        words = f"--{kind} {name}"
        assert words in script
        script = script.replace(words, f"--{kind} {roles[kind]}")
    environment = services["migrate"]["environment"] | {
        "TIMESERIES_DATABASE_URL": empty_database,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("PGPASSWORD")
    for _ in range(2):
        done = subprocess.run(
            [*services["migrate"]["entrypoint"], script.replace("$$", "$")],
            env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    for kind, role in roles.items():
        password = services["migrate"]["environment"][f"{kind.upper()}_PASSWORD"]
        with psycopg.connect(as_role(empty_database, role, password)) as connection:
            assert find_deviations(connection) == []
    assert services["grafana"]["environment"]["TIMESERIES_READER"] == "grafana"
    shown = subprocess.run(
        ["timeseries", "status"], capture_output=True, text=True,
        env=environment | {"TIMESERIES_DATABASE_URL":
                           as_role(empty_database, roles["owner"], "secret of TIMESERIES_OWNER_PASSWORD")},
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr


def test_what_the_image_copies_is_enough_to_build_the_wheel(wheel: Path, tmp_path: Path) -> None:
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    source.mkdir()
    allowed = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for name in " ".join(copied).split():
        assert name in allowed
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, source],
        check=True, capture_output=True,
    )  # fmt: skip
    (built,) = wheels.glob("*.whl")
    with zipfile.ZipFile(built) as ours, zipfile.ZipFile(wheel) as whole:
        assert set(ours.namelist()) == {name for name in whole.namelist() if "__pycache__" not in name}


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_the_server_takes_the_settings_of_the_database(server: RunningServer) -> None:
    if server.found.cluster is None:
        pytest.skip("needs a server of the test's own")
    words = project()["services"]["database"]["command"]
    assert words[0] == "postgres"
    settings = dict(word.removeprefix("-c").split("=", 1) for word in words[1:])
    cluster = server.found.cluster(**settings)
    try:
        cluster.start()
        with psycopg.connect(cluster.url()) as connection:
            for name in settings.keys() - {"timescaledb.telemetry_level"}:  # some servers are built without it
                row = connection.execute(
                    "SELECT setting FROM pg_settings WHERE lower(name) = %s AND source = 'configuration file'", [name]
                ).fetchone()
                assert row is not None, name
            row = connection.execute("""
                SELECT current_setting('max_worker_processes')::integer
                       - current_setting('timescaledb.max_background_workers')::integer
                       - current_setting('max_parallel_workers')::integer
            """).fetchone()
        assert row is not None
        assert row[0] >= 3  # launchers and replication
    finally:
        cluster.remove()


def test_make_fills_the_environment_once(tmp_path: Path) -> None:
    for name in ("Makefile", ".env.example"):
        (tmp_path / name).write_text((ROOT / name).read_text())

    def made() -> dict[str, str]:
        subprocess.run(["make", ".env"], cwd=tmp_path, check=True, capture_output=True)
        lines = (tmp_path / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line[:1].isalpha())

    first = made()
    assert list(first) == REQUIRED
    assert len(set(first.values())) == len(REQUIRED)
    assert all(len(value) >= 36 for value in first.values())
    assert len(Keyring(first["TIMESERIES_SECRET_KEY"]).key_ids) == 1
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert made() == first
    assert SECRET_KEY not in first.values()
