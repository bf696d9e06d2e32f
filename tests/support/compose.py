"""Docker Compose 2 from its wheel, on the file of the project."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WHEEL = pytest.importorskip("compose", reason="its wheel is for Linux on x86-64")
COMPOSE = Path(WHEEL.__file__).parent / "docker-compose"
REQUIRED = re.findall(r"^([A-Z_]+)=$", (ROOT / ".env.example").read_text(), re.MULTILINE)
GIVEN = {name: f"secret of {name}" for name in REQUIRED}


def compose(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMPOSE, "--file", ROOT / "docker-compose.yml", "--env-file", "/dev/null", *words],
        capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]} | environment,
    )  # fmt: skip


def project() -> dict[str, Any]:
    done = compose(GIVEN, "--profile", "*", "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]
