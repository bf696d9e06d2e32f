"""What the processes of a server on this machine use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg


class ServerProcesses:
    """The processes of a server on this machine, by Linux's /proc; nothing is known of a server elsewhere."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            backend = Path(f"/proc/{connection.info.backend_pid}/stat")
            local = backend.exists() and "postgres" in backend.read_text()
            self.postmaster = int(self._fields(backend)[1]) if local else None

    @staticmethod
    def _fields(stat: Path) -> list[str]:
        """What follows the program's name: state, parent, …"""
        return stat.read_text().rpartition(")")[2].split()

    def _children(self) -> Iterator[Path]:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if int(self._fields(folder / "stat")[1]) == self.postmaster:
                    yield folder
            except OSError:
                continue  # it has just ended

    def cpu_seconds(self) -> float | None:
        """Used so far by all of them, those that have ended included."""
        if self.postmaster is None:
            return None
        ticks = sum(map(int, self._fields(Path(f"/proc/{self.postmaster}/stat"))[11:15]))
        for folder in self._children():
            try:
                ticks += sum(map(int, self._fields(folder / "stat")[11:13]))
            except OSError:
                continue
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int | None:
        """Bytes, of which pages that several of them share count once (PSS)."""
        if self.postmaster is None:
            return None
        found = 0
        for folder in (Path(f"/proc/{self.postmaster}"), *self._children()):
            try:
                found += int((folder / "smaps_rollup").read_text().partition("\nPss:")[2].split()[0]) * 1024
            except (OSError, IndexError):
                continue
        return found
