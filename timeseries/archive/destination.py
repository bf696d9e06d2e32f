"""Where an archive is: a folder, or a place in an object store, by a path or a URI."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
from pyarrow import fs

from timeseries.atomic_file import sync
from timeseries.errors import ArchiveError, InvalidInputError

WRITING = "_writing"  # readers of hive-partitioned folders skip names that begin with an underscore
WITHOUT_FOLDERS = ("s3", "gcs", "abfs")
OPTIONS = {"region", "scheme", "endpoint_override", "allow_bucket_creation"}


class Destination:
    """A place for files, by paths with slashes; `name` is how the database records it, without credentials."""

    def __init__(self, where: Path | str) -> None:
        base, path, self.name = _opened(str(where))
        self.files = fs.SubTreeFileSystem(path, base)
        self._local = Path(path) if isinstance(base, fs.LocalFileSystem) else None
        self._has_folders = base.type_name not in WITHOUT_FOLDERS

    @contextmanager
    def reporting(self, doing: str) -> Iterator[None]:
        """Raise ArchiveError for an error of files, which says what was being done."""
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise ArchiveError(f"cannot {doing} in the archive {self.name}: {' '.join(str(error).split())}") from error

    def exists(self, path: str) -> bool:
        with self.reporting(f"look for {path}"):
            return bool(self.files.get_file_info(path).type == fs.FileType.File)

    def names(self) -> set[str]:
        """Files and folders at its top."""
        with self.reporting("look for files"):
            return {info.base_name for info in self.files.get_file_info(fs.FileSelector("", allow_not_found=True))}

    def replace(self, path: str, write: Callable[[pa.NativeFile], None], verify: Callable[[str], None]) -> None:
        """Write a file, which takes its name, and the place of an older one, when it is verified."""
        part = f"{WRITING}/{PurePosixPath(path).name}.{secrets.token_hex(4)}"
        with self.reporting(f"write {path}"):
            for name in (part, path):
                self._make_folder(str(PurePosixPath(name).parent))
            with self.files.open_output_stream(part) as file:
                write(file)
            self._sync(part)
            verify(part)
            self.files.move(part, path)
            self._sync(str(PurePosixPath(path).parent))

    def clear(self) -> None:
        """Remove what killed runs left."""
        with self.reporting("remove unfinished files"), suppress(FileNotFoundError):
            self.files.delete_dir(WRITING)

    def _make_folder(self, path: str) -> None:
        if self._has_folders:
            self.files.create_dir(path, recursive=True)

    def _sync(self, path: str) -> None:
        """A local file is on disk before it counts as archived, because its raw rows may be removed then."""
        if self._local is not None:
            sync(self._local / path)


def _opened(where: str) -> tuple[fs.FileSystem, str, str]:
    """The file system, the path in it, and the name."""
    if "://" not in where:
        path = str(Path(where).absolute())
        return fs.LocalFileSystem(), path, path
    _refuse_credentials(where)
    try:
        base, path = fs.FileSystem.from_uri(where)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInputError(
            f"cannot archive to {where}: {' '.join(str(error).split())}; it must be a folder or a URI like"
            " s3://bucket/folder"
        ) from error
    return base, path, path if isinstance(base, fs.LocalFileSystem) else where


def _refuse_credentials(uri: str) -> None:
    """Refuse credentials in a URI, because it is recorded and shown; the message must not show them either."""
    try:
        parts = urlsplit(uri)
        options = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
        clean = "@" not in parts.netloc and options <= OPTIONS and not parts.fragment
    except ValueError:
        clean = False
    if not clean:
        raise InvalidInputError(
            f"the destination {uri.partition('://')[0]}://… holds more than bucket, folder and"
            f" {', '.join(sorted(OPTIONS))}; give credentials by the environment (AWS_ACCESS_KEY_ID,"
            " AWS_SECRET_ACCESS_KEY), a profile or the machine's role"
        )
