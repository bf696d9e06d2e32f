"""How far a spool got, in a file beside it: a log that is cut short or damaged cannot say itself what it lost."""

from __future__ import annotations

import logging
import os
import struct
import zlib
from pathlib import Path

log = logging.getLogger(__name__)
CONTENT = struct.Struct(">iQQ")
BINARY = getattr(os, "O_BINARY", 0)


class Mark:
    """Whose mark it is, and the positions up to which records were accepted and delivered.

    It is overwritten in place, and synced only before records are deleted, for an append would cost twice as much. So a
    killed process leaves it exact; a machine that loses its power may leave an older one, which counts less than was
    lost and never more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._failing = False

    def read(self) -> tuple[int, int, int]:
        """Identity of the spool, accepted and delivered; zeros where there is no mark, or none that can be read."""
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
        """Failing is logged and no more: the records themselves are on disk."""
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
