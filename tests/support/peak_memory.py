"""The peak memory of a process of its own."""

from __future__ import annotations

import subprocess
import sys

# VmHWM, not ru_maxrss: the latter begins with the peak of the process that forked, here pytest's own.
REPORT = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def peak_memory(script: str) -> int:
    """Kilobytes that a fresh Python held at most while it ran a script."""
    done = subprocess.run([sys.executable, "-c", script + REPORT], capture_output=True, text=True, check=True)
    return int(done.stdout)
