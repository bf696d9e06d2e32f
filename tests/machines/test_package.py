"""The wheel, away from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support import package_index
from tests.support.package_index import require_index

ROOT = Path(__file__).parents[2]


def test_an_installed_wheel_migrates_outside_the_checkout(wheel: Path, empty_database: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "import timeseries as s, analytics, pathlib\n"
        f"assert pathlib.Path(s.__file__).is_relative_to({str(tmp_path)!r}), s.__file__\n"
        f"assert s.migrate({empty_database!r}); s.Store.open({empty_database!r}).close()\n"
        f"print(len(analytics.weekday_averages(url={empty_database!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0"


def test_the_wheel_holds_the_packages_and_the_migrations_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"timeseries", "analytics"}
    assert "timeseries/migrations/versions/0003/answers.sql" in names
    assert "timeseries/py.typed" in names


def test_every_dependency_has_an_oldest_release_that_the_workflow_tests(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    subprocess.run(["make", "oldest.txt"], cwd=tmp_path, check=True, capture_output=True)
    pinned = (tmp_path / "oldest.txt").read_text().split()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert pinned == [re.sub(r"\[.*\]", "", one).replace(">=", "==") for one in wanted]
    assert "make oldest.txt" in (ROOT / ".github/workflows/ci.yml").read_text()


def test_without_an_index_what_builds_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setattr(package_index, "refusal", package_index.refusal.__wrapped__)
    with pytest.raises(pytest.skip.Exception, match="pip reaches no package index: No matching distribution found"):
        require_index()
