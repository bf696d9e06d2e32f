"""The package index, for tests that build or install: a machine without a network skips them."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile

import pytest


def require_index() -> None:
    """Skip the test, with pip's own reason, where pip reaches no index."""
    reason = refusal()
    if reason:
        pytest.skip(f"pip reaches no package index: {reason}")


@functools.cache
def refusal() -> str:
    """Why pip cannot have the backend that builds our wheel; empty where it can."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["download", "--quiet", "--retries", "0", "--timeout", "30", "--no-deps", "--dest", folder, "hatchling"]
        done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "" if done.returncode == 0 else (errors or ["no reason given"])[-1].removeprefix("ERROR: ")
