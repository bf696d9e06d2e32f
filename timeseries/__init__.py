"""The memory of camera-watched parking: cameras, events and exact averages on TimescaleDB.

A name is imported when it is first used, so that the errors and the command line's help load no driver.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from timeseries.errors import (
    ArchiveError,
    BackupError,
    CameraChangedError,
    CameraExistsError,
    CameraInUseError,
    ConfigurationError,
    GroupExistsError,
    InvalidInputError,
    NaiveTimestampError,
    NotAllowedError,
    NotMigratedError,
    NotStoredError,
    PoolBusyError,
    QueryCancelledError,
    SecretError,
    ServerUnavailableError,
    SpoolError,
    TimeseriesError,
    UnknownCameraError,
    UnknownGroupError,
    UnknownPeriodError,
    WriterFullError,
)

if TYPE_CHECKING:
    from timeseries.access.keyring import generate_key
    from timeseries.access.roles import Limits, grant
    from timeseries.async_store import AsyncStore
    from timeseries.backup.recovered import recovered
    from timeseries.backup.restore import RestoreResult, restore
    from timeseries.cameras.camera import Camera
    from timeseries.cameras.capacity import Capacity
    from timeseries.cameras.changes import CameraChange
    from timeseries.cameras.group import Group, Membership
    from timeseries.database.server import Server, ServerKind
    from timeseries.files.importing import ImportResult
    from timeseries.maintenance.jobs import Job
    from timeseries.model.events import HealthLog, OccupancyEvent, RecordResult, Rejection, RejectionKind
    from timeseries.monitoring.status import Status
    from timeseries.monitoring.store_metrics import StoreCollector
    from timeseries.monitoring.writer_metrics import WriterCollector
    from timeseries.periods import Period
    from timeseries.schema.migrations import migrate
    from timeseries.store import Store, resolve_url
    from timeseries.writer.writer import Writer, WriterState

__all__ = [
    "ArchiveError",
    "AsyncStore",
    "BackupError",
    "Camera",
    "CameraChange",
    "CameraChangedError",
    "CameraExistsError",
    "CameraInUseError",
    "Capacity",
    "ConfigurationError",
    "Group",
    "GroupExistsError",
    "HealthLog",
    "ImportResult",
    "InvalidInputError",
    "Job",
    "Limits",
    "Membership",
    "NaiveTimestampError",
    "NotAllowedError",
    "NotMigratedError",
    "NotStoredError",
    "OccupancyEvent",
    "Period",
    "PoolBusyError",
    "QueryCancelledError",
    "RecordResult",
    "Rejection",
    "RejectionKind",
    "RestoreResult",
    "SecretError",
    "Server",
    "ServerKind",
    "ServerUnavailableError",
    "SpoolError",
    "Status",
    "Store",
    "StoreCollector",
    "TimeseriesError",
    "UnknownCameraError",
    "UnknownGroupError",
    "UnknownPeriodError",
    "Writer",
    "WriterCollector",
    "WriterFullError",
    "WriterState",
    "generate_key",
    "grant",
    "migrate",
    "recovered",
    "resolve_url",
    "restore",
]
# The same as under TYPE_CHECKING, for the interpreter.
HOMES = {
    name: f"timeseries.{module}"
    for module, names in {
        "access.keyring": ["generate_key"],
        "access.roles": ["Limits", "grant"],
        "async_store": ["AsyncStore"],
        "backup.recovered": ["recovered"],
        "backup.restore": ["RestoreResult", "restore"],
        "cameras.camera": ["Camera"],
        "cameras.capacity": ["Capacity"],
        "cameras.changes": ["CameraChange"],
        "cameras.group": ["Group", "Membership"],
        "database.server": ["Server", "ServerKind"],
        "files.importing": ["ImportResult"],
        "maintenance.jobs": ["Job"],
        "model.events": ["HealthLog", "OccupancyEvent", "RecordResult", "Rejection", "RejectionKind"],
        "monitoring.status": ["Status"],
        "monitoring.store_metrics": ["StoreCollector"],
        "monitoring.writer_metrics": ["WriterCollector"],
        "periods": ["Period"],
        "schema.migrations": ["migrate"],
        "store": ["Store", "resolve_url"],
        "writer.writer": ["Writer", "WriterState"],
    }.items()
    for name in names
}


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
