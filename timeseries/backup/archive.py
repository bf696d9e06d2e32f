"""The file of a backup: a ZIP of pg_dump's archive and, after it, a manifest of what must be in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

from timeseries.database.server import Server, ServerKind
from timeseries.errors import BackupError

DUMP = "database.dump"
MANIFEST = "manifest.json"
FORMAT = 1
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds: when, from which server, at which revision of the schema, how many rows of each relation,
    which roles have rights in it, and by which major version of pg_dump.
    """

    created_at: datetime
    server: Server
    revision: str
    counts: dict[str, int]
    roles: tuple[str, ...]
    pg_dump: int


def write_dump(file: ZipFile, source: IO[bytes], on_block: Callable[[], None] = lambda: None) -> None:
    """Copy a dump of unknown length into the file, uncompressed, because pg_dump compressed it."""
    with file.open(DUMP, "w", force_zip64=True) as member:
        while block := source.read(BLOCK):
            member.write(block)
            on_block()


def write_manifest(file: ZipFile, manifest: Manifest) -> None:
    file.writestr(MANIFEST, json.dumps({"format": FORMAT, **asdict(manifest)}, default=str, indent=2))


@contextmanager
def open_backup(path: Path) -> Iterator[tuple[Manifest, ZipFile]]:
    """The manifest of a backup, and the file with its dump, of which every byte was read once and compared with its
    checksum. Raises BackupError where it is no whole backup.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(ZipFile(path))
            manifest = _manifest(json.loads(file.read(MANIFEST)))
            damaged = file.testzip()
        except OSError as error:
            raise BackupError(f"cannot read {path}: {error.strerror}; check the path") from error
        except (BadZipFile, EOFError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise BackupError(f"{path} is no backup, or is cut off or damaged ({error}); take another one") from error
        if damaged is not None:
            raise BackupError(f"{path} is damaged: its checksum is another than when it was made; take another backup")
        yield manifest, file


def _manifest(values: dict[str, Any]) -> Manifest:
    if values.pop("format") != FORMAT:
        raise ValueError("it was made by a newer version of this package")
    server = values.pop("server")
    return Manifest(
        created_at=datetime.fromisoformat(values.pop("created_at")),
        server=Server(ServerKind(server["kind"]), server["postgresql"], server["timescaledb"]),
        roles=tuple(values.pop("roles")),
        **values,
    )
