"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timeseries.errors import InvalidInputError


@contextmanager
def atomic_write(path: Path, *, private: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; the file takes its name, and the place of an older one, when the block ends.

    It is on disk by then. Where the block fails, nothing of it stays. A private one is for its owner's eyes only.

    Raises InvalidInputError where it cannot be written, because of the path or because the disk is full.
    """
    name = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600 if private else 0o666))
        yield name
        sync(name)
        name.replace(path)
        sync(path.parent)  # the name is in the folder: a power cut would undo a rename that is in memory only
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror}; check the path and the disk") from error
    finally:
        name.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have a file or a folder on disk on return."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
