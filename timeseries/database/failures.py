"""What a database error means, decided by its SQLSTATE and never by its message, for every driver."""

from __future__ import annotations

from typing import NamedTuple

import psycopg

from timeseries.errors import (
    ConfigurationError,
    InvalidInputError,
    NotAllowedError,
    NotMigratedError,
    QueryCancelledError,
    ServerUnavailableError,
    TimeseriesError,
)


class Meaning(NamedTuple):
    """The error that a caller gets, and its words around what the server said."""

    error: type[TimeseriesError]
    words: str

    def __call__(self, said: str) -> TimeseriesError:
        return self.error(self.words.format(said=said))


UNREACHABLE = Meaning(ServerUnavailableError, "the database server cannot be reached: {said}")
BUSY = Meaning(ServerUnavailableError, "the database server cannot do this now: {said}; try again")
READ_ONLY = Meaning(ServerUnavailableError, "the database server takes no writes now: {said}; try again")
CANCELLED = Meaning(QueryCancelledError, "the database server ended the statement: {said}; ask for less at once")
NOT_MIGRATED = Meaning(NotMigratedError, "the database is not migrated ({said}); run: timeseries migrate")
NOT_ALLOWED = Meaning(NotAllowedError, "the database role may not do this: {said}; see timeseries grant --help")
FAULT_OF_THE_DATA = Meaning(InvalidInputError, "the database server refused a value: {said}")
EXTENSION_MISSING = Meaning(
    ConfigurationError,
    "the database was made with a version of an extension that the server lacks ({said}); install that version, or let"
    " the database follow the server: as its owner run, first in a new session: ALTER EXTENSION timescaledb UPDATE",
)

# A whole SQLSTATE, or the class that its first two characters name. Source: PostgreSQL, appendix A, error codes.
MEANINGS = {
    "08": UNREACHABLE,
    "22": FAULT_OF_THE_DATA,
    "23": FAULT_OF_THE_DATA,
    "25006": READ_ONLY,
    "28": UNREACHABLE,
    "3D000": UNREACHABLE,
    "3F000": NOT_MIGRATED,  # no such schema
    "40": BUSY,  # deadlocks
    "42501": NOT_ALLOWED,
    "42703": NOT_MIGRATED,  # no such column
    "42883": NOT_MIGRATED,  # no such function
    "42P01": NOT_MIGRATED,  # no such table
    "53": BUSY,  # disk, memory, connections, and a full lock table
    "54": FAULT_OF_THE_DATA,  # a limit that a value exceeds, like the depth of its JSON
    "55": BUSY,  # locks
    "57": UNREACHABLE,
    "57014": CANCELLED,
    "58": BUSY,  # the disk
    "58P01": EXTENSION_MISSING,
}


def meaning_of(sqlstate: str) -> Meaning | None:
    """What a SQLSTATE means to a caller; None where it needs no decision, as a bug in our own SQL."""
    return MEANINGS.get(sqlstate) or MEANINGS.get(sqlstate[:2])


def meaning(error: psycopg.Error) -> Meaning | None:
    """The meaning of a psycopg error, which has no SQLSTATE where the driver itself raised it."""
    # FATAL: the server ended the session, as it does after an update of the extension, whatever the SQLSTATE.
    operational = isinstance(error, psycopg.OperationalError) or error.diag.severity_nonlocalized == "FATAL"
    if error.sqlstate is not None:
        return meaning_of(error.sqlstate) or (BUSY if operational else None)
    if isinstance(error, psycopg.DataError):  # before anything was sent
        return FAULT_OF_THE_DATA
    return UNREACHABLE if operational else None


def translated(error: psycopg.Error) -> TimeseriesError | None:
    """Our error for one of psycopg; None where it needs no decision of a caller."""
    found = meaning(error)
    return found and found(said(error))


def said(error: psycopg.Error) -> str:
    """The server's primary message, else the driver's, in one line; without DETAIL, because it may show a row."""
    return error.diag.message_primary or " ".join(str(error).split())
