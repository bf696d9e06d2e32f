"""The memory of camera-watched parking: cameras, events and exact averages on TimescaleDB."""

from timeseries.cameras import Camera
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
    "NaiveTimestampError",
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
