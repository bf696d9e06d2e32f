"""Retention in a process that runs anyway: a background thread that prunes once a day."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from datetime import timedelta

import psycopg

from timeseries.database.connections import NO_LIMIT, Connection, conninfo
from timeseries.database.rows import value
from timeseries.database.silence import WatchedConnection

log = logging.getLogger(__name__)
EVERY = 3600.0  # seconds between two attempts; the database allows one run a day
CLOSE_WAIT = 3.0  # seconds for the day that is being pruned when the store closes
# Privileges are checked first, because a call without them would write an error to the server's log each hour.
SELECT_MAY_RETAIN = """
    SELECT EXISTS (
        SELECT FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname = 'timeseries' AND p.proname = 'retain' AND has_schema_privilege(n.oid, 'USAGE')
          AND has_function_privilege(p.oid, 'EXECUTE') AND current_setting('transaction_read_only') = 'off')
"""
RETAIN_DAY = "SELECT timeseries.retain(%s, %s)"


class Retainer:
    """Prunes day by day on a connection of its own. `timeseries.retain` decides which day is due, and takes a lock so
    that one process at a time prunes. `keep` can only lengthen the length that the database records.
    """

    def __init__(self, url: str, keep: timedelta | None = None) -> None:
        self._conninfo = conninfo(url, target_session_attrs="read-write")
        self._keep = keep
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None

    def start(self, what: str) -> None:
        """Begin, unless it has begun; `what` is recorded as who pruned."""
        with self._starting:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._run, args=[what], name="timeseries-retention", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop after the day that is being pruned; one that takes longer than three seconds is rolled back."""
        self._stop.set()
        thread = self._thread
        if thread is None:
            return
        thread.join(CLOSE_WAIT)
        connection = self._connection
        if thread.is_alive() and connection is not None:
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=1.0)
            thread.join(1.0)

    def _run(self, what: str) -> None:
        while True:
            try:
                self._look(what)
            except psycopg.Error as error:  # the server is away or is being promoted: the next attempt is in an hour
                log.debug("retention: %s", error)
            if self._stop.wait(EVERY):
                return

    def _look(self, what: str) -> None:
        """Prune until nothing is due or the store is being closed, but at least one day."""
        with WatchedConnection.connect(self._conninfo, autocommit=True, prepare_threshold=None) as connection:
            connection.deadline = NO_LIMIT
            self._connection = connection
            try:
                if not value(connection, SELECT_MAY_RETAIN):
                    return
                while value(connection, RETAIN_DAY, [what, self._keep]):
                    if self._stop.is_set():
                        return
            finally:
                self._connection = None
