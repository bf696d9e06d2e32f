"""The file of a backup: a tar of pg_dump's archive and, after it, a manifest of what must be in it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from timeseries.database.server import Server, ServerKind
from timeseries.errors import BackupError

DUMP = "database.dump"
MANIFEST = "manifest.json"
FORMAT = 1
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds: when, from which server, at which revision of the schema, how many rows of each relation,
    which roles have rights in it, by which major version of pg_dump, how many bytes and their SHA-256.
    """

    created_at: datetime
    server: Server
    revision: str
    counts: dict[str, int]
    roles: tuple[str, ...]
    pg_dump: int
    bytes: int
    sha256: str


def write_dump(file: IO[bytes], source: IO[bytes], on_block: Callable[[], None]) -> tuple[int, str]:
    """Copy a dump into an empty file, as the first member of a tar; bytes and SHA-256.

    Its length is known afterwards only, so the member's header is put before it then.
    """
    digest, size = hashlib.sha256(), 0
    file.write(bytes(tarfile.BLOCKSIZE))
    while block := source.read(BLOCK):
        file.write(block)
        digest.update(block)
        size += len(block)
        on_block()
    file.write(bytes(-size % tarfile.BLOCKSIZE))
    file.seek(0)
    file.write(_member(DUMP, size).tobuf(tarfile.GNU_FORMAT))
    file.seek(0, io.SEEK_END)
    return size, digest.hexdigest()


def write_manifest(file: IO[bytes], manifest: Manifest) -> None:
    """Add the manifest and end the tar: a file that was cut off has none."""
    text = json.dumps({"format": FORMAT, **asdict(manifest)}, default=str, indent=2).encode()
    file.write(_member(MANIFEST, len(text)).tobuf(tarfile.GNU_FORMAT) + text)
    file.write(bytes(-len(text) % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE))


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o600
    return member


@contextmanager
def open_backup(path: Path) -> Iterator[tuple[Manifest, IO[bytes]]]:
    """The manifest of a backup and its dump, ready to be read. Raises BackupError where it is no whole backup."""
    with ExitStack() as stack:
        try:
            tar = stack.enter_context(tarfile.open(path, "r:"))
            dump, text = (tar.extractfile(name) for name in (DUMP, MANIFEST))
            if dump is None or text is None:
                raise KeyError("a member is no file")
            manifest = _manifest(json.load(text))
        except (tarfile.TarError, KeyError, TypeError, ValueError) as error:
            raise BackupError(f"{path} is no backup, or is cut off or damaged ({error}); take another one") from error
        except OSError as error:
            raise BackupError(f"cannot read {path}: {error.strerror}; check the path") from error
        yield manifest, dump


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


def verify(path: Path, manifest: Manifest, dump: IO[bytes]) -> None:
    """Read the dump once. Raises BackupError where a byte of it has changed."""
    digest = hashlib.sha256()
    while block := dump.read(BLOCK):
        digest.update(block)
    if digest.hexdigest() != manifest.sha256:
        raise BackupError(f"{path} is damaged: its checksum is another than when it was made; take another backup")
    dump.seek(0)
