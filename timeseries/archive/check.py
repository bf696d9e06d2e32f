"""The archive read back: whether each file still holds what was written to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from timeseries.archive import day_file
from timeseries.archive.checksum import Checked
from timeseries.archive.destination import Destination
from timeseries.archive.record import SELECT_DESTINATION
from timeseries.database.connections import Pool, connected
from timeseries.database.rows import value
from timeseries.errors import ArchiveError, ConfigurationError
from timeseries.model.relations import FAMILIES
from timeseries.progress import Progress, track

SELECT_FILES = """
    SELECT family, day, part, rows, checksum, removed_at IS NOT NULL
    FROM timeseries.archived_days
    WHERE archived_at IS NOT NULL AND rows > 0
    ORDER BY family, day, part
"""
# A day whose raw rows are still there is written again by the next run.
NOTE_DAMAGE = """
    UPDATE timeseries.archived_days SET rows = NULL, begun_at = now(), archived_at = NULL
    WHERE family = %s AND day = %s AND part = %s AND removed_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How many files and rows were read, and what is wrong with the archive, a sentence a file."""

    files: int
    rows: int
    problems: tuple[str, ...]


def check(pool: Pool, where: Path | str, *, progress: Progress = None) -> CheckResult:
    """Read every file of the archive back and compare its rows with the recorded counts and checksums.

    A damaged or missing file of a day whose raw rows are still there is written again by the next run; retention waits
    for that. `progress` is called with files read and files in all.

    Raises ConfigurationError where the archive of this database is elsewhere.
    """
    destination = Destination(where)
    with connected(pool) as connection:
        recorded = value(connection, SELECT_DESTINATION)
        if recorded != destination.name:
            raise ConfigurationError(f"the archive of this database is {recorded or 'nowhere'}, not {destination.name}")
        files = connection.execute(SELECT_FILES).fetchall()
        connection.commit()
    families = {family.name: family for family in FAMILIES}
    problems: list[str] = []
    for family, day, part, rows, checksum, removed in track(files, progress):
        path = day_file.path_of(families[family], day, part)
        try:
            day_file.verify(destination, path, Checked(rows, int(checksum)))
        except ArchiveError as error:
            remedy = "restore it from a copy" if removed else "its raw rows are there: archive again"
            problems.append(f"{error}; {remedy}")
            with connected(pool) as connection:
                connection.execute(NOTE_DAMAGE, [family, day, part])
    return CheckResult(len(files), sum(file[3] for file in files), tuple(problems))
