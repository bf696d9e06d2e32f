"""Files that appear whole or not at all, also after a power cut."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from timeseries.atomic_file import atomic_write


def test_the_file_and_then_its_name_are_on_disk_when_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "export.csv", []
    sync = os.fsync

    def note(descriptor: int) -> None:
        status = os.fstat(descriptor)
        what = "folder" if stat.S_ISDIR(status.st_mode) else status.st_size
        synced.append((what, path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with atomic_write(path) as name:
        name.write_text("whole")
    assert path.read_text() == "whole"
    assert synced == [(5, False), ("folder", True)]


def test_nothing_stays_of_a_block_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("older")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as name:
        name.write_text(str(1 / 0))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]
