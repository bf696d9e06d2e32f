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
