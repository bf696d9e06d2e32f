"""The memory of camera-watched parking: cameras, events and exact averages on TimescaleDB.

A name is imported when it is first asked for: what only needs the errors, or the command line's help, loads no driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from timeseries.errors import (
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
    from timeseries.cameras import Camera
    from timeseries.events import HealthLog, OccupancyEvent, RecordResult, Rejection
    from timeseries.importing import ImportResult
    from timeseries.jobs import Job
    from timeseries.keyring import generate_key
    from timeseries.restoring import RestoreResult, restore
    from timeseries.roles import Limits, grant
    from timeseries.schema import migrate
    from timeseries.server import Server, ServerKind
    from timeseries.status import Status
    from timeseries.store import Store, resolve_url
    from timeseries.writer import Writer, WriterState

__all__ = [
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
    "HealthLog": "timeseries.events",
    "ImportResult": "timeseries.importing",
    "Job": "timeseries.jobs",
    "Limits": "timeseries.roles",
    "OccupancyEvent": "timeseries.events",
    "RecordResult": "timeseries.events",
    "Rejection": "timeseries.events",
    "RestoreResult": "timeseries.restoring",
    "Server": "timeseries.server",
    "ServerKind": "timeseries.server",
    "Status": "timeseries.status",
    "Store": "timeseries.store",
    "Writer": "timeseries.writer",
    "WriterState": "timeseries.writer",
    "generate_key": "timeseries.keyring",
    "grant": "timeseries.roles",
    "migrate": "timeseries.schema",
    "resolve_url": "timeseries.store",
    "restore": "timeseries.restoring",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
