"""Where frames come from: one Arrow connection per database and process."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path
from string import Template
from typing import Any

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

import timeseries
from timeseries.database.connections import conninfo, reading_url, refusal
from timeseries.database.failures import CANCELLED, UNREACHABLE, meaning_of
from timeseries.errors import QueryCancelledError, ServerUnavailableError, TimeseriesError
from timeseries.settings import Settings

BIND = """
    SELECT set_config(name, text, true), current_setting('statement_timeout') AS statement_timeout
    FROM unnest($1::text[], $2::text[]) AS s (name, text)
"""
_lock = threading.Lock()
_clients: dict[tuple[int, str], ArrowClient] = {}
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
    return _client(url).fetch(query, parameters)


class ArrowClient:
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
                    refused = self._refusal(error)
                    if refused is not None:
                        raise refused from error
                    if attempt == 2:
                        raise ServerUnavailableError("the database server cannot be reached") from error
            raise AssertionError("unreachable")

    def _refusal(self, error: adbc_driver_manager.Error) -> TimeseriesError | None:
        """Our error for what the driver says; None where the connection went away, so that another may do."""
        meant = meaning_of(error.sqlstate or "08000")
        if meant is UNREACHABLE:
            return None
        if meant is CANCELLED:
            limit = "no statement_timeout" if self.limit == "0" else f"a statement_timeout of {self.limit}"
            return QueryCancelledError(
                f"the server, with {limit}, cancelled the query; ask for a shorter range or fewer cameras, or set a"
                " higher statement_timeout for this role"
            )
        return TimeseriesError(f"the server refused the query: {error}") if meant is None else meant(said(error))

    def _fetch(self, query: str, parameters: dict[str, object]) -> pa.Table:
        if self.connection is None:
            self.connection = self._connect()
        names = ["timezone", "jit", *(f"timeseries.{name}" for name in parameters)]
        # NULL is sent as an empty text, because set_config() takes NULL for a reset, and parallel workers do not get a
        # setting that has its default.
        texts = ["UTC", "off", *("" if value is None else str(value) for value in parameters.values())]
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
        except adbc_driver_manager.Error:
            # The driver's words may show the URL, with its password, and have no SQLSTATE; psycopg's do not show it.
            refused = refusal(conninfo(self.url))
            raise refused or ServerUnavailableError("the database server cannot be reached; try again") from None

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


def said(error: adbc_driver_manager.Error) -> str:
    """What the server said, without the query that the driver repeats."""
    details: dict[Any, Any] = dict(error.details)  # by bytes, though the driver's stub says text
    found = details.get(b"PG_DIAG_MESSAGE_PRIMARY")
    return str(error) if found is None else str(found, "utf-8")


def _client(url: str | None) -> ArrowClient:
    with _lock:
        url = url or _default_url()
        # A forked process must not talk on its parent's connection.
        return _clients.setdefault((os.getpid(), url), ArrowClient(url))


def _default_url() -> str:
    """That of the environment as it is now; an embedded server is started once for each folder."""
    settings, folder = _environment()
    if (settings, folder) not in _defaults:
        _defaults[settings, folder] = settings.read_url or timeseries.resolve_url(settings=settings)
    return _defaults[settings, folder]


def _environment() -> tuple[Settings, Path]:
    settings = Settings.from_environment()
    return settings, settings.home.expanduser().resolve()


def close(url: str | None = None) -> None:
    """Close the connection to a database; the next request opens another."""
    with _lock:
        client = _clients.pop((os.getpid(), url or _defaults.get(_environment(), "")), None)
    if client is not None:
        client.close()


@atexit.register
def _close_all() -> None:
    for process, url in list(_clients):
        if process == os.getpid():
            close(url)
