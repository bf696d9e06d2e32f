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
    from timeseries.server import Server, ServerKind
    from timeseries.store import Store
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
    "NotAllowedError",
    "NotMigratedError",
    "NotStoredError",
    "OccupancyEvent",
    "QueryCancelledError",
    "RecordResult",
    "Rejection",
    "SecretError",
    "Server",
    "ServerKind",
    "ServerUnavailableError",
    "SpoolError",
    "Store",
    "TimeseriesError",
    "UnknownCameraError",
    "Writer",
    "WriterFullError",
    "WriterState",
]
# The same as under TYPE_CHECKING, for the interpreter.
HOMES = {
    "Camera": "timeseries.cameras",
    "HealthLog": "timeseries.events",
    "ImportResult": "timeseries.importing",
    "OccupancyEvent": "timeseries.events",
    "RecordResult": "timeseries.events",
    "Rejection": "timeseries.events",
    "Server": "timeseries.server",
    "ServerKind": "timeseries.server",
    "Store": "timeseries.store",
    "Writer": "timeseries.writer",
    "WriterState": "timeseries.writer",
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
