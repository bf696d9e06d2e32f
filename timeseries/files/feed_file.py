"""The file of a feed, perhaps gzipped."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from timeseries.errors import InvalidInputError


def read_feed(path: Path) -> bytes:
    """All of it. Raises InvalidInputError where it cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
