"""Which of the three kinds a server is, read from its extension and license."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg

from timeseries.database.rows import row, value
from timeseries.errors import ConfigurationError

SELECT_SERVER = """
    SELECT current_setting('server_version'),
           (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'),
           current_setting('timescaledb.license', true)
"""

# A timeline is new with each recovery and each promotion of a standby; a restored dump is another database.
SELECT_IDENTITY = """
    SELECT s.system_identifier || '/' || d.oid || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
    FROM pg_control_system() AS s
    JOIN pg_database AS d ON d.datname = current_database()
"""


class ServerKind(StrEnum):
    """Decides how aggregates are kept: as continuous aggregates on Community, as views elsewhere."""

    COMMUNITY = "community"
    APACHE = "apache"
    POSTGRESQL = "postgresql"

    @property
    def label(self) -> str:
        return {
            "community": "TimescaleDB Community",
            "apache": "TimescaleDB Apache-2",
            "postgresql": "PostgreSQL",
        }[self.value]


@dataclass(frozen=True, slots=True)
class Server:
    """A server's kind and versions; `timescaledb` is None without the extension."""

    kind: ServerKind
    postgresql: str
    timescaledb: str | None

    def __str__(self) -> str:
        extension = f", TimescaleDB {self.timescaledb}" if self.timescaledb else ""
        return f"{self.kind.label} (PostgreSQL {self.postgresql}{extension})"


def inspect_server(connection: psycopg.Connection[Any]) -> Server:
    """Look at the server behind a connection.

    Raises:
        ConfigurationError: the schema has continuous aggregates while the licence forbids them: every insert would
            fail.
    """
    version, extension, licence = row(connection, SELECT_SERVER)
    if extension is None:
        return Server(ServerKind.POSTGRESQL, version.split()[0], None)
    kind = ServerKind.COMMUNITY if licence == "timescale" else ServerKind.APACHE
    if kind is ServerKind.APACHE and _has_continuous_aggregates(connection):
        raise ConfigurationError(
            "the database has continuous aggregates but the server runs with timescaledb.license = 'apache':"
            " every insert would fail; set timescaledb.license = 'timescale' and restart the server"
        )
    return Server(kind, version.split()[0], extension)


def identify_database(connection: psycopg.Connection[Any]) -> str | None:
    """What changes when the database is recovered to an earlier moment, restored from a dump, or failed over: server,
    database and timeline. None where the server does not say, as some clouds'.
    """
    try:
        identity: str = value(connection, SELECT_IDENTITY)
    except psycopg.errors.DatabaseError as error:
        if error.sqlstate is None or error.sqlstate.startswith(("08", "57")):
            raise
        connection.rollback()
        return None
    return identity


def _has_continuous_aggregates(connection: psycopg.Connection[Any]) -> bool:
    return bool(value(connection, "SELECT EXISTS (SELECT FROM timescaledb_information.continuous_aggregates)"))
