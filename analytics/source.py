"""Where frames come from: one Arrow connection per database and process."""

from __future__ import annotations

import atexit
import os
import threading
from string import Template

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from timeseries.connections import reading_url
from timeseries.errors import (
    InvalidInputError,
    NotAllowedError,
    NotMigratedError,
    ServerUnavailableError,
    TimeseriesError,
)
from timeseries.settings import Settings
from timeseries.store import resolve_url

BIND = "SELECT set_config(name, text, true) FROM unnest($1::text[], $2::text[]) AS s (name, text)"
NOT_MIGRATED = {"42P01", "42703", "42883", "3F000"}
_lock = threading.Lock()
_sources: dict[tuple[int, str], Source] = {}
_default_url: str | None = None


def fetch(query: str, parameters: dict[str, object], url: str | None = None) -> pa.Table:
    """The rows of a query, by Arrow: no row becomes a Python object.

    A parameter stands in the query as `$name`, a text or NULL, to be cast. Parameters are bound by a statement of their
    own, as settings of the transaction: the rows of a query that binds none arrive by COPY, three times as fast. A
    connection that went away is opened again, once.

    Raises:
        ServerUnavailableError, NotMigratedError; NotAllowedError where the role lacks a right, InvalidInputError where
        the server cannot use a value.
    """
    return _source(url).fetch(query, parameters)


class Source:
    """A connection to one database. Questions to it wait for each other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.Lock()
        self.connection: dbapi.Connection | None = None

    def fetch(self, query: str, parameters: dict[str, object]) -> pa.Table:
        with self.lock:
            for attempt in (1, 2):
                try:
                    return self._fetch(query, parameters)
                except adbc_driver_manager.Error as error:
                    state = error.sqlstate or ""
                    if state in NOT_MIGRATED:
                        raise NotMigratedError("the database is not migrated; run: timeseries migrate") from error
                    if state == "42501":
                        raise NotAllowedError(
                            f"the database role may not read what this needs: {error}; see timeseries grant --help"
                        ) from error
                    if state[:2] == "22":
                        raise InvalidInputError(f"the server cannot use a value of the question: {error}") from error
                    if state[:2] not in ("", "08", "57"):
                        raise TimeseriesError(f"the server refused the query: {error}") from error
                    if attempt == 2:
                        raise ServerUnavailableError("the database server cannot be reached") from error
            raise AssertionError("unreachable")

    def _fetch(self, query: str, parameters: dict[str, object]) -> pa.Table:
        if self.connection is None:
            self.connection = self._connect()
        names = ["timezone", "jit", *(f"timeseries.{name}" for name in parameters)]
        texts = ["UTC", "off", *(None if value is None else str(value) for value in parameters.values())]
        settings = pa.RecordBatch.from_pydict({"names": pa.array([names]), "texts": pa.array([texts])})
        read = {name: f"nullif(current_setting('timeseries.{name}'), '')" for name in parameters}
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("BEGIN READ ONLY")
                cursor.execute(BIND, settings)
                cursor.fetch_arrow_table()
                cursor.execute(Template(query).substitute(read))
                table = cursor.fetch_arrow_table()
                cursor.execute("COMMIT")
                return table
        except BaseException:  # an interrupted notebook leaves no open transaction either
            self.close()
            raise

    def _connect(self) -> dbapi.Connection:
        try:
            return dbapi.connect(reading_url(self.url), autocommit=True)
        except adbc_driver_manager.Error:
            raise ServerUnavailableError("the database server cannot be reached") from None

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


def _source(url: str | None) -> Source:
    global _default_url
    with _lock:
        if url is None:
            url = _default_url = _default_url or Settings.from_environment().read_url or resolve_url()
        # A forked process must not talk on its parent's connection.
        return _sources.setdefault((os.getpid(), url), Source(url))


def close(url: str | None = None) -> None:
    """Close the connection to a database; the next question opens another."""
    with _lock:
        source = _sources.pop((os.getpid(), url or _default_url or ""), None)
    if source is not None:
        source.close()


@atexit.register
def _close_all() -> None:
    for process, url in list(_sources):
        if process == os.getpid():
            close(url)
