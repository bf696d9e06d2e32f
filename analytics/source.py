"""Where frames come from: one Arrow connection per database and process."""

from __future__ import annotations

import atexit
import os
import re
import threading
from pathlib import Path
from string import Template

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from timeseries.connections import reading_url
from timeseries.errors import (
    InvalidInputError,
    NotAllowedError,
    NotMigratedError,
    QueryCancelledError,
    ServerUnavailableError,
    TimeseriesError,
)
from timeseries.settings import Settings
from timeseries.store import resolve_url

BIND = """
    SELECT set_config(name, text, true), current_setting('statement_timeout') AS statement_timeout
    FROM unnest($1::text[], $2::text[]) AS s (name, text)
"""
NOT_MIGRATED = {"42P01", "42703", "42883", "3F000"}
CANCELLED = "57014"
# Why a server turns a connection away, in words of our own: its words and the driver's may show the URL. The driver
# gives no SQLSTATE for it, so that is known by the server's words, where these are English.
REASONS = {
    "28P01": "the password is wrong, or missing",
    "28000": "the server does not let this role in, or has none of this name",
    "3D000": "the server has no database of this name",
    "42501": "the role may not connect to this database",
    "53300": "there are too many connections, of the server or of this role",
}
WORDS = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "pg_hba[.]conf": "28000",
    'role ".*" (does not exist|is not permitted)': "28000",
    'database ".*" does not exist': "3D000",
    "permission denied for database": "42501",
    "too many (connections|clients)": "53300",
    "remaining connection slots": "53300",
}
_lock = threading.Lock()
_sources: dict[tuple[int, str], Source] = {}
_defaults: dict[tuple[Settings, Path], str] = {}


def fetch(query: str, parameters: dict[str, object], url: str | None = None) -> pa.Table:
    """The rows of a query, by Arrow: no row becomes a Python object.

    A parameter stands in the query as `$name`, a text or NULL, to be cast. Parameters are bound by a statement of their
    own, as settings of the transaction: the rows of a query that binds none arrive by COPY, three times as fast. A
    connection that went away is opened again, once.

    Raises:
        ServerUnavailableError, NotMigratedError; NotAllowedError where the role lacks a right, InvalidInputError where
        the server cannot use a value, QueryCancelledError where it ended the query.
    """
    return _source(url).fetch(query, parameters)


class Source:
    """A connection to one database. Questions to it wait for each other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.Lock()
        self.connection: dbapi.Connection | None = None
        self.limit = "0"  # the statement_timeout of the session

    def fetch(self, query: str, parameters: dict[str, object]) -> pa.Table:
        with self.lock:
            for attempt in (1, 2):
                try:
                    return self._fetch(query, parameters)
                except adbc_driver_manager.Error as error:
                    self._raise(error)
                    if attempt == 2:
                        raise ServerUnavailableError("the database server cannot be reached") from error
            raise AssertionError("unreachable")

    def _raise(self, error: adbc_driver_manager.Error) -> None:
        """Raise our error for what the driver says; return where the connection went away."""
        state = error.sqlstate or ""
        if state in NOT_MIGRATED:
            raise NotMigratedError("the database is not migrated; run: timeseries migrate") from error
        if state == "42501":
            raise NotAllowedError(
                f"the database role may not read what this needs: {error}; see timeseries grant --help"
            ) from error
        if state == CANCELLED:
            limit = "no statement_timeout" if self.limit == "0" else f"a statement_timeout of {self.limit}"
            raise QueryCancelledError(
                f"the server, with {limit}, cancelled the query; ask for a shorter range or fewer cameras, or set a"
                " higher statement_timeout for this role"
            ) from error
        if state[:2] == "22":
            raise InvalidInputError(f"the server cannot use a value of the question: {error}") from error
        if state[:2] not in ("", "08", "57"):
            raise TimeseriesError(f"the server refused the query: {error}") from error

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
                self.limit = cursor.fetch_arrow_table()["statement_timeout"][0].as_py()
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
        except adbc_driver_manager.Error as error:
            state = error.sqlstate or next((code for words, code in WORDS.items() if re.search(words, str(error))), "")
            reason = f": {REASONS[state]}" if state in REASONS else ""
            raise ServerUnavailableError(f"the database server cannot be reached{reason}") from None

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


def _source(url: str | None) -> Source:
    with _lock:
        url = url or _default_url()
        # A forked process must not talk on its parent's connection.
        return _sources.setdefault((os.getpid(), url), Source(url))


def _default_url() -> str:
    """That of the environment as it is now; an embedded server is started once for each folder."""
    settings, folder = _environment()
    if (settings, folder) not in _defaults:
        _defaults[settings, folder] = settings.read_url or resolve_url(settings=settings)
    return _defaults[settings, folder]


def _environment() -> tuple[Settings, Path]:
    settings = Settings.from_environment()
    return settings, settings.home.expanduser().resolve()


def close(url: str | None = None) -> None:
    """Close the connection to a database; the next question opens another."""
    with _lock:
        source = _sources.pop((os.getpid(), url or _defaults.get(_environment(), "")), None)
    if source is not None:
        source.close()


@atexit.register
def _close_all() -> None:
    for process, url in list(_sources):
        if process == os.getpid():
            close(url)
