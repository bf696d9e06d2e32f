"""How long a command takes before it does anything, beside the interpreter alone and click alone, in turns."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUNS = 15
PASS, CLICK, HELP = "python -c pass", "python -c 'import click'", "timeseries --help"
STARTS = {
    PASS: [sys.executable, "-c", "pass"],
    CLICK: [sys.executable, "-c", "import click"],
    HELP: [str(Path(sys.executable).with_name("timeseries")), "--help"],
    "from timeseries import Store": [sys.executable, "-c", "from timeseries import Store"],
}
LIMIT = "allowed: three times python, and what click costs"


def rows() -> list[dict[str, Any]]:
    """Median seconds of each, and the ratio to the interpreter alone; the last row is what `--help` may take."""
    seconds: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(RUNS):
        for name, words in STARTS.items():
            start = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    medians[LIMIT] = 2 * medians[PASS] + medians[CLICK]
    return [{"what": name, "seconds": found, "ratio": found / medians[PASS]} for name, found in medians.items()]
