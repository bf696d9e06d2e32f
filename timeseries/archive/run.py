"""A run of the archive: days that are over, and those that changed since, become files, and retention may go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from timeseries.archive import cameras_file, day_file
from timeseries.archive.checksum import Checked, of_table
from timeseries.archive.destination import WRITING, Destination
from timeseries.archive.record import (
    SELECT_DESTINATION,
    Part,
    alone,
    begin,
    days_to_write,
    finish,
    read_part,
    remove,
)
from timeseries.database.connections import Connection, Pool, connected, translated_errors
from timeseries.database.rows import value
from timeseries.database.server import ServerKind, inspect_server
from timeseries.database.snapshot import snapshot
from timeseries.errors import ArchiveError, ConfigurationError
from timeseries.maintenance.jobs import hold_retention, release_retention
from timeseries.maintenance.retention import prune
from timeseries.maintenance.retention_record import read_record
from timeseries.model.relations import FAMILIES, Family
from timeseries.progress import Progress, track

INSERT_DESTINATION = "INSERT INTO timeseries.archive (destination) VALUES (%s) ON CONFLICT DO NOTHING"
RECORD_RUN = "UPDATE timeseries.archive SET finished_at = now(), error = NULL"
RECORD_ERROR = "UPDATE timeseries.archive SET error = %s"
DELETE_RECORD = "DELETE FROM timeseries.archived_days; DELETE FROM timeseries.archive"


@dataclass(frozen=True, slots=True)
class ArchiveResult:
    """What a run did: files and rows written. `removed` raw rows went afterwards, where the archive holds TimescaleDB's
    retention back and removes them in its place.
    """

    destination: str
    files: int
    rows: int
    removed: int = 0


class UnknownFileError(ArchiveError):
    """A file of the archive is not the one that this database wrote."""


def archive(pool: Pool, url: str, where: Path | str, *, progress: Progress = None) -> ArchiveResult:
    """Write every UTC day of raw rows that ended 25 hours ago to Parquet files, and those that changed since.

    `where` is a folder, or a URI of PyArrow's file systems such as `s3://bucket/folder`, without credentials. There,
    `occupancy_events/day=2026-01-05/part-0.parquet`, the same of `health_logs`, and `cameras/cameras.parquet` without
    connection strings. A day counts as archived when its file was read back and has the count and the checksum that the
    server computed in the snapshot of which it was written. Where late events or corrections come, or rows are deleted,
    the file is written again; where retention has removed the day's rows, late events go to another part of it.

    From the first run on, retention removes no day that is not in the archive. TimescaleDB's own retention jobs cannot
    ask, so they are held back, and each run removes in their place what is due. A run can be killed and repeated; where
    nothing changed it writes nothing. `progress` is called with days written and days in all.

    Raises:
        InvalidInputError: `where` is no folder and no URI, or holds credentials.
        ConfigurationError: the archive of this database is elsewhere, or this place holds another one.
        ArchiveError: a file cannot be written, is not what was written, or is unknown to the database.
        ServerUnavailableError: the server is away, or another run is at work.
    """
    destination = Destination(where)
    with translated_errors(), alone(url):
        with _recorded(pool):
            with connected(pool) as connection:
                _configure(connection, destination)
                connection.commit()
                todo = [(family, day) for family in FAMILIES for day in days_to_write(connection, family)]
            destination.clear()
            written = _archive_days(pool, destination, todo, progress)
        removed = _remove_due(pool)
    return ArchiveResult(destination.name, len(written), sum(written), removed)


def stop(pool: Pool, url: str) -> str:
    """Archive no more: the database forgets the archive, whose files stay, and retention asks for it no longer.
    Returns where it was.

    Raises ConfigurationError where no archive is configured, ServerUnavailableError while a run is at work.
    """
    with translated_errors(), alone(url), connected(pool) as connection:
        destination: str | None = value(connection, SELECT_DESTINATION)
        if destination is None:
            raise ConfigurationError("no archive is configured; timeseries archive DESTINATION does that")
        release_retention(connection)
        connection.execute(DELETE_RECORD)
    return destination


def _configure(connection: Connection, destination: Destination) -> None:
    """Record the destination, once it takes files, and hold back the retention that would not ask."""
    recorded = value(connection, SELECT_DESTINATION)
    if recorded is None and destination.names() - {cameras_file.FOLDER, WRITING}:
        raise ConfigurationError(
            f"{destination.name} is not empty, and this database knows nothing of an archive there; name an empty place"
        )
    if recorded not in (None, destination.name):
        raise ConfigurationError(
            f"the archive of this database is {recorded}, not {destination.name}; name that one, or give it up"
            " (timeseries archive --stop) and begin another one with the raw rows that are still there"
        )
    cameras_file.write(connection, destination)
    connection.execute(INSERT_DESTINATION, [destination.name])
    hold_retention(connection)


@contextmanager
def _recorded(pool: Pool) -> Iterator[None]:
    """Record the end of a run, for `timeseries status`."""
    try:
        yield
    except ArchiveError as error:
        with connected(pool) as connection:
            connection.execute(RECORD_ERROR, [str(error)])
        raise
    with connected(pool) as connection:
        connection.execute(RECORD_RUN)


def _archive_days(
    pool: Pool, destination: Destination, days: Sequence[tuple[Family, date]], progress: Progress
) -> list[int]:
    """The rows of each file that was written. Days after one whose file is unknown are archived before that is raised,
    because retention would stop there, too.
    """
    written, unknown = [], []
    for family, day in track(days, progress):
        with connected(pool) as connection:
            part = read_part(connection, family, day)
            connection.commit()
            try:
                rows = _archive_day(connection, destination, part)
            except UnknownFileError as error:
                unknown.append(str(error))
            else:
                written += [rows] if rows is not None else []
    if unknown:
        more = f"; and {len(unknown) - 1:,} more such files" if len(unknown) > 1 else ""
        raise ArchiveError(unknown[0] + more)
    return written


def _archive_day(connection: Connection, destination: Destination, part: Part) -> int | None:
    """Archive the raw rows of a day; how many were written, None where the file has them already."""
    path = day_file.path_of(part.family, part.day, part.number)
    there = None if part.ours else day_file.footer(destination, path)
    if there not in (None, part.checked):
        with snapshot(connection):
            _require_same(destination, path, there, of_table(connection, part.family, *part.span))
    begin(connection, part)
    with snapshot(connection):
        found = of_table(connection, part.family, *part.span)
        written = _write(connection, destination, path, part, there, found) if found.rows else None
    kept = None if found.rows else day_file.footer(destination, path)
    finish(connection, part, kept or found)
    if kept:
        remove(connection, part)  # the day was removed past the store: what the archive has of it stays
    return written


def _write(
    connection: Connection, destination: Destination, path: str, part: Part, there: Checked | None, found: Checked
) -> int | None:
    if there == found:
        day_file.verify(destination, path, found)
        return None
    day_file.write(destination, path, connection, part.family, *part.span, found)
    return found.rows


def _require_same(destination: Destination, path: str, there: Checked | None, found: Checked) -> None:
    """Refuse to replace a file that this database did not write, as after the restore of an older backup: it may hold
    rows that the database does not.
    """
    if there is not None and there != found:
        raise UnknownFileError(
            f"{path} in the archive {destination.name} holds {there.rows:,} rows that this database did not write, and"
            f" the database has {found.rows:,}: it may have been restored from an older backup; to keep both, rename"
            " the file to a part that is not there yet, and archive again"
        )


def _remove_due(pool: Pool) -> int:
    """Do what the retention that is held back would do; elsewhere retention runs by itself and asks."""
    with connected(pool) as connection:
        held = inspect_server(connection).kind is ServerKind.COMMUNITY and read_record(connection).scheduled
    return prune(pool).removed if held else 0
