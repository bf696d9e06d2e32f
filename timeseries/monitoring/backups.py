"""What the server and the database know of backups: whether WAL is archived, and when the last backup was taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from timeseries.database.connections import Connection
from timeseries.database.rows import row

LATE = timedelta(days=8)  # a week, and a day of grace
SELECT_BACKUPS = """
    SELECT b.taken_at, b.kind, now() - b.taken_at, current_setting('archive_mode') <> 'off', a.last_archived_time,
           CASE WHEN a.last_failed_time > coalesce(a.last_archived_time, '-infinity') THEN a.last_failed_time END,
           a.failed_count
    FROM pg_stat_archiver AS a
    LEFT JOIN (SELECT kind, taken_at FROM timeseries.backups ORDER BY taken_at DESC LIMIT 1) AS b ON true
"""


@dataclass(frozen=True, slots=True)
class BackupStatus:
    """When the last backup was taken that was recorded here (None: never), of which kind, and its age. Whether the
    server archives WAL, when it last did, when it last failed unless it succeeded since, and how often it failed.
    """

    last: datetime | None
    kind: str | None
    age: timedelta | None
    archiving: bool
    archived: datetime | None
    failed: datetime | None
    failures: int


def read_backups(connection: Connection) -> BackupStatus:
    return BackupStatus(*row(connection, SELECT_BACKUPS))


def backup_problems(found: BackupStatus) -> Iterator[str]:
    """An archive that takes no WAL, and backups that were taken and are no more. None at all is no problem here,
    because a backup of the whole machine is recorded nowhere.
    """
    if found.archiving and found.failed is not None:
        last = f"{found.archived:%Y-%m-%d %H:%M} UTC" if found.archived else "never"
        yield (
            f"WAL is not archived, and fills the disk: archive_command failed {found.failures:,} times, last at"
            f" {found.failed:%Y-%m-%d %H:%M} UTC, and last succeeded {last}; the server's log says why"
        )
    if found.last is not None and found.age is not None and found.age > LATE:
        yield f"the last backup ({found.kind}) is {found.age.days} days old, of {found.last:%Y-%m-%d %H:%M} UTC"
