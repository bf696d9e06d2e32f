"""The memory of camera-watched parking: cameras, events and exact averages on TimescaleDB.

A name is imported when it is first asked for: what only needs the errors, or the command line's help, loads no driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from timeseries.errors import (
    ArchiveError,
    BackupError,
    CameraExistsError,
    CameraInUseError,
    ConfigurationError,
    InvalidInputError,
    NaiveTimestampError,
    NotAllowedError,
    NotMigratedError,
    NotStoredError,
    QueryCancelledError,
    SecretError,
    ServerUnavailableError,
    SpoolError,
    TimeseriesError,
    UnknownCameraError,
    WriterFullError,
)

if TYPE_CHECKING:
    from timeseries.access.keyring import generate_key
    from timeseries.access.roles import Limits, grant
    from timeseries.backup.restore import RestoreResult, restore
    from timeseries.cameras import Camera
    from timeseries.database.server import Server, ServerKind
    from timeseries.files.importing import ImportResult
    from timeseries.maintenance.jobs import Job
    from timeseries.model.events import HealthLog, OccupancyEvent, RecordResult, Rejection
    from timeseries.monitoring.status import Status
    from timeseries.schema.migrations import migrate
    from timeseries.store import Store, resolve_url
    from timeseries.writer.writer import Writer, WriterState

__all__ = [
    "ArchiveError",
    "BackupError",
    "Camera",
    "CameraExistsError",
    "CameraInUseError",
    "ConfigurationError",
    "HealthLog",
    "ImportResult",
    "InvalidInputError",
    "Job",
    "Limits",
    "NaiveTimestampError",
    "NotAllowedError",
    "NotMigratedError",
    "NotStoredError",
    "OccupancyEvent",
    "QueryCancelledError",
    "RecordResult",
    "Rejection",
    "RestoreResult",
    "SecretError",
    "Server",
    "ServerKind",
    "ServerUnavailableError",
    "SpoolError",
    "Status",
    "Store",
    "TimeseriesError",
    "UnknownCameraError",
    "Writer",
    "WriterFullError",
    "WriterState",
    "generate_key",
    "grant",
    "migrate",
    "resolve_url",
    "restore",
]
# The same as under TYPE_CHECKING, for the interpreter.
HOMES = {
    "Camera": "timeseries.cameras",
    "HealthLog": "timeseries.model.events",
    "ImportResult": "timeseries.files.importing",
    "Job": "timeseries.maintenance.jobs",
    "Limits": "timeseries.access.roles",
    "OccupancyEvent": "timeseries.model.events",
    "RecordResult": "timeseries.model.events",
    "Rejection": "timeseries.model.events",
    "RestoreResult": "timeseries.backup.restore",
    "Server": "timeseries.database.server",
    "ServerKind": "timeseries.database.server",
    "Status": "timeseries.monitoring.status",
    "Store": "timeseries.store",
    "Writer": "timeseries.writer.writer",
    "WriterState": "timeseries.writer.writer",
    "generate_key": "timeseries.access.keyring",
    "grant": "timeseries.access.roles",
    "migrate": "timeseries.schema.migrations",
    "resolve_url": "timeseries.store",
    "restore": "timeseries.backup.restore",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
