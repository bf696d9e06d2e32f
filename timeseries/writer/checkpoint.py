"""The checkpoint file beside a spool: the last accepted and the last delivered position.

With it, records that are lost to truncation or corruption of the spool can be counted.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from pathlib import Path

log = logging.getLogger(__name__)
CONTENT = struct.Struct(">iQQ")
BINARY = getattr(os, "O_BINARY", 0)


class SpoolCheckpoint:
    """The identity of a spool, and the positions up to which its records were accepted and delivered.

    The file is overwritten in place, and synced only before records are deleted, because a sync at each append would
    double its cost. After a killed process it is exact. After a power cut it may be older, so that fewer records are
    counted as lost than were, and never more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._failing = False

    def read(self) -> tuple[int, int, int]:
        """Identity of the spool, accepted and delivered position; zeros without a checkpoint that can be read."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return 0, 0, 0
        except OSError as error:
            log.warning("%s cannot be read, so what the spool lost is not counted: %s", self.path, error)
            return 0, 0, 0
        values = content[: CONTENT.size]
        if content[CONTENT.size :] != zlib.crc32(values).to_bytes(4):
            log.warning("%s is damaged, so what the spool lost is not counted", self.path)
            return 0, 0, 0
        identity, accepted, delivered = CONTENT.unpack(values)
        return identity, accepted, delivered

    def write(self, identity: int, accepted: int, delivered: int, *, sync: bool = False) -> None:
        """Write the checkpoint. A failure is only logged, because the records themselves are on disk."""
        values = CONTENT.pack(identity, accepted, delivered)
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | BINARY, 0o666)
            try:
                os.write(file, values + zlib.crc32(values).to_bytes(4))
                if sync:
                    os.fsync(file)
            finally:
                os.close(file)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.warning("%s cannot be written, so what the spool loses is not counted: %s", self.path, error)
            self._failing = True
