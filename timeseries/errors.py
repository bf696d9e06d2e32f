"""What can go wrong, one class per decision that a caller can take."""

from __future__ import annotations


class TimeseriesError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigurationError(TimeseriesError):
    """A setting is missing, malformed or contradicts another: change it and start again."""


class SecretError(TimeseriesError):
    """A connection string cannot be encrypted or decrypted: check `TIMESERIES_SECRET_KEY`."""


class ServerUnavailableError(TimeseriesError):
    """The server cannot be reached or went away: try again later."""


class PoolBusyError(TimeseriesError):
    """All connections of this process are busy: use fewer at once, or allow more; the server is well."""


class QueryCancelledError(TimeseriesError):
    """The server ended a query before its answer, mostly at its time limit: ask for less, or raise the limit."""


class NotMigratedError(TimeseriesError):
    """The database lacks the schema, or has another version of it: run `timeseries migrate`."""


class NotAllowedError(TimeseriesError):
    """The database role lacks a right: run `timeseries grant`, or connect as another role."""


class InvalidInputError(TimeseriesError, ValueError):
    """A value cannot be used; the message names the value, its place and the remedy."""


class NaiveTimestampError(InvalidInputError):
    """A timestamp has no offset: give it one, or say by `naive_timezone` whose clocks it is of."""


class UnknownCameraError(TimeseriesError, LookupError):
    """No camera has this id or name."""


class CameraExistsError(TimeseriesError):
    """Another camera has this id or name already."""


class CameraChangedError(TimeseriesError):
    """The camera was changed since the revision that was edited: look at both versions, and decide again.

    `edited` is the `Camera` of that revision, None where there never was one, and `current` as it is now; neither has a
    connection string.
    """

    def __init__(self, message: str, edited: object = None, current: object = None) -> None:
        super().__init__(message)
        self.edited = edited
        self.current = current


class CameraInUseError(TimeseriesError):
    """The camera has history, so it cannot be removed."""


class UnknownGroupError(TimeseriesError, LookupError):
    """No group has this id or name."""


class GroupExistsError(TimeseriesError):
    """Another group has this id, or a camera or another group this name already."""


class UnknownPeriodError(TimeseriesError, LookupError):
    """No period has this id."""


class SpoolError(TimeseriesError):
    """The disk did not take an event: it was not accepted."""


class WriterFullError(TimeseriesError):
    """Too many events wait to be stored: the event was not accepted."""


class NotStoredError(TimeseriesError):
    """Events were accepted or offered, and are not stored."""


class ArchiveError(TimeseriesError):
    """The archive of raw rows cannot be written or read, or does not hold what it should; the message says which file
    and what is to be done.
    """


class BackupError(TimeseriesError):
    """A backup could not be made or restored; the message says what is to be done."""
