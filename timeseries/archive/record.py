"""What the database records of the archive: its destination, and the files of each day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from psycopg import sql

from timeseries.archive.checksum import Checked
from timeseries.database.connections import LIFT_LIMITS, Connection, connect
from timeseries.database.retries import LOCKED, retried
from timeseries.database.rows import row, value
from timeseries.errors import ServerUnavailableError
from timeseries.model.relations import Family

LOCK_RUN = "SELECT pg_try_advisory_xact_lock(hashtextextended('timeseries archive', 0))"
SELECT_DESTINATION = "SELECT destination FROM timeseries.archive"
# The oldest row is found camera by camera, because there is no index on the time alone.
SELECT_DAYS = """
    SELECT d.day, a.rows, a.archived_at IS NOT NULL AND a.changed_at IS NULL
    FROM (SELECT s.day
          FROM public.store_tables() AS t
          CROSS JOIN LATERAL timeseries.days_to_archive(t.oldest) AS s (day)
          WHERE t.name = %(events)s
          UNION
          SELECT day FROM timeseries.archived_days WHERE family = %(family)s AND removed_at IS NULL) AS d
    LEFT JOIN timeseries.archived_days AS a ON a.family = %(family)s AND a.day = d.day AND a.removed_at IS NULL
    ORDER BY d.day
"""
COUNT_DAY = """SELECT count(*) FROM public.{events} WHERE "timestamp" >= %s AND "timestamp" < %s"""
SELECT_PART = """
    SELECT coalesce(max(part) FILTER (WHERE removed_at IS NULL), max(part) + 1, 0),
           max(rows) FILTER (WHERE removed_at IS NULL), max(checksum) FILTER (WHERE removed_at IS NULL),
           coalesce(bool_or(removed_at IS NULL AND begun_at IS NOT NULL AND archived_at IS NULL), false)
    FROM timeseries.archived_days WHERE family = %s AND day = %s
"""
BEGIN_PART = """
    INSERT INTO timeseries.archived_days AS a (family, day, part, begun_at) VALUES (%s, %s, %s, now())
    ON CONFLICT (family, day, part) DO UPDATE SET begun_at = now(), archived_at = NULL, changed_at = NULL
    WHERE a.removed_at IS NULL
"""
WAIT_FOR_WRITERS = "LOCK TABLE timeseries.archived_days IN SHARE MODE"
FINISH_PART = """
    UPDATE timeseries.archived_days SET rows = %s, checksum = %s, archived_at = now()
    WHERE family = %s AND day = %s AND part = %s
"""
# Raw rows that went past retention, by a DROP of their chunk: what the archive has of them stays.
REMOVE_PART = """
    UPDATE timeseries.archived_days SET removed_at = now() WHERE family = %s AND day = %s AND part = %s
"""


@dataclass(frozen=True, slots=True)
class Part:
    """The current part of a day, and what is recorded of its file (`checked` is None where nothing is). A file that a
    run began to write is `ours` whatever it holds.
    """

    family: Family
    day: date
    number: int
    checked: Checked | None
    ours: bool

    @property
    def span(self) -> tuple[datetime, datetime]:
        return span(self.day)


def span(day: date) -> tuple[datetime, datetime]:
    """Beginning and end of a UTC day."""
    start = datetime.combine(day, time(), UTC)
    return start, start + timedelta(days=1)


@contextmanager
def alone(url: str) -> Iterator[None]:
    """No other run of this database's archive goes on meanwhile. Raises ServerUnavailableError where one does."""
    with connect(url) as connection:
        connection.execute(LIFT_LIMITS)
        if not value(connection, LOCK_RUN):
            raise ServerUnavailableError("another run of the archive is at work; wait for its end")
        yield


def days_to_write(connection: Connection, family: Family) -> list[date]:
    """Days of which the archive has not exactly what the database has.

    Late events and corrections are noted where they are stored. The rows of each day are counted besides, because
    nobody notes what is done by SQL; in the columnstore that reads the counts of batches and no rows.
    """
    days = connection.execute(SELECT_DAYS, {"events": family.table, "family": family.name}).fetchall()
    connection.commit()
    return [day for day, rows, current in days if not current or _count(connection, family, day) != rows]


def _count(connection: Connection, family: Family, day: date) -> int:
    """In a transaction of its own, because retention and columnstore wait for who has read a chunk."""
    with connection.transaction():
        count = sql.SQL(COUNT_DAY).format(events=sql.Identifier(family.table))
        found: int = value(connection, count, span(day))
    return found


def read_part(connection: Connection, family: Family, day: date) -> Part:
    number, rows, checksum, ours = row(connection, SELECT_PART, [family.name, day])
    return Part(family, day, number, None if rows is None else Checked(rows, int(checksum)), ours)


def begin(connection: Connection, part: Part) -> None:
    """Record that a file is being written, and wait for the transactions that could not know it: their changes are in
    the next snapshot, and those of later ones are noted.
    """

    def wait() -> None:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '3s'")
            connection.execute(WAIT_FOR_WRITERS)

    with connection.transaction():
        connection.execute(BEGIN_PART, [part.family.name, part.day, part.number])
    try:
        retried(wait, pause=1, attempts=10)
    except LOCKED as error:
        raise ServerUnavailableError(
            f"a transaction that stores late events does not end, so {part.day} cannot be archived; end it, try again"
        ) from error


def finish(connection: Connection, part: Part, checked: Checked) -> None:
    with connection.transaction():
        connection.execute(FINISH_PART, [*checked, part.family.name, part.day, part.number])


def remove(connection: Connection, part: Part) -> None:
    with connection.transaction():
        connection.execute(REMOVE_PART, [part.family.name, part.day, part.number])
