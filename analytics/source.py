"""Where frames come from: one Arrow connection per database and process."""

from __future__ import annotations

import atexit
import threading
from typing import Any

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from timeseries.connections import reading_url
from timeseries.errors import NotMigratedError, ServerUnavailableError, TimeseriesError
from timeseries.settings import Settings
from timeseries.store import resolve_url

NOT_MIGRATED = {"42P01", "42883", "3F000"}
_lock = threading.RLock()
_connections: dict[str, dbapi.Connection] = {}
_default_url: str | None = None


def fetch(query: str, parameters: dict[str, Any], url: str | None = None) -> pa.Table:
    """The rows of a query, by Arrow: no row becomes a Python object. Parameters are bound in order, as $1, $2 …

    A connection that went away is opened again, once. Raises ServerUnavailableError or NotMigratedError.
    """
    with _lock:
        for attempt in (1, 2):
            try:
                return _fetch(_connection(url), query, parameters)
            except adbc_driver_manager.Error as error:
                state = error.sqlstate or ""
                if state in NOT_MIGRATED:
                    raise NotMigratedError("the database is not migrated; run: timeseries migrate") from error
                close(url)
                if state[:2] not in ("", "08", "57"):
                    raise TimeseriesError(f"the server refused the query: {error}") from error
                if attempt == 2:
                    raise ServerUnavailableError("the database server cannot be reached") from error
        raise AssertionError("unreachable")


def _fetch(connection: dbapi.Connection, query: str, parameters: dict[str, Any]) -> pa.Table:
    with connection.cursor() as cursor:
        if parameters:
            cursor.execute(query, as_arrow(parameters))
        else:
            cursor.execute(query)
        return cursor.fetch_arrow_table()


def as_arrow(parameters: dict[str, Any]) -> pa.RecordBatch:
    """One row of parameters, a NULL with a type as well: names that end in `_at` are moments, all others texts. A
    moment that arrives as one is a constant to the planner, which leaves out the chunks that it excludes.
    """
    arrays = [
        pa.array([value], pa.timestamp("us", "UTC") if name.endswith("_at") else pa.string())
        for name, value in parameters.items()
    ]
    return pa.RecordBatch.from_arrays(arrays, names=list(parameters))


def _connection(url: str | None) -> dbapi.Connection:
    global _default_url
    if url is None:
        url = _default_url = _default_url or Settings.from_environment().read_url or resolve_url()
    if url not in _connections:
        try:
            connection = dbapi.connect(reading_url(url), autocommit=True)
        except adbc_driver_manager.Error:
            raise ServerUnavailableError("the database server cannot be reached") from None
        with connection.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
        _connections[url] = connection
    return _connections[url]


def close(url: str | None = None) -> None:
    """Close the connection to a database; the next question opens another."""
    with _lock:
        connection = _connections.pop(url or _default_url or "", None)
        if connection is not None:
            connection.close()


@atexit.register
def _close_all() -> None:
    for url in list(_connections):
        close(url)
