"""A server that was recovered to an earlier moment: its jobs are paused before it takes changes again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import psycopg

from timeseries.database.connections import Connection, connect, translated_errors
from timeseries.database.rows import row, value
from timeseries.errors import ConfigurationError, NotAllowedError
from timeseries.maintenance.jobs import Job, pause

SELECT_RECOVERY = "SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp()"
# The session's own value may differ, so the server's is read in a new session.
SELECT_READ_ONLY = "SELECT current_setting('default_transaction_read_only') = 'on'"
OPEN = "ALTER SYSTEM RESET default_transaction_read_only"
# TimescaleDB's scheduler ended because it could not write, and only this or a restart of the server starts it again.
SELECT_EXTENSION = "SELECT to_regproc('public.timescaledb_post_restore') IS NOT NULL"
START_SCHEDULER = "SELECT public.timescaledb_post_restore()"


@dataclass(frozen=True, slots=True)
class RecoveredResult:
    """The moment that the database shows (None: the server was not recovered since it started), and the background jobs
    that are paused now and were not.
    """

    shows: datetime | None
    paused: tuple[Job, ...]


def recovered(url: str) -> RecoveredResult:
    """Pause the background jobs of a recovered database, then let its server take changes.

    A recovered server has the jobs of that time, and retention would remove at once what is older than `drop_after`
    today. So it is started with `default_transaction_read_only`, under which no job, writer or retention changes
    anything; this takes the setting back, after the jobs are paused. It may be called again.

    Raises:
        ConfigurationError: recovery has not ended, or the setting is not in postgresql.auto.conf.
        NotAllowedError: the role may not pause the jobs, or may not change the server's settings.
        ServerUnavailableError: the server is away.
    """
    with translated_errors(), connect(url) as connection:
        recovering, shows = row(connection, SELECT_RECOVERY)
        if recovering:
            raise ConfigurationError(
                "the server is still recovering, or waits at the moment it was to recover to;"
                " look at it, then end the recovery: SELECT pg_promote()"
            )
        connection.rollback()
        connection.read_only = False
        paused = pause(connection)
        connection.commit()
        connection.autocommit = True
        _take_changes(connection)
        if value(connection, SELECT_EXTENSION):
            connection.execute(START_SCHEDULER)
    return RecoveredResult(shows, paused)


def _take_changes(connection: Connection) -> None:
    if not value(connection, SELECT_READ_ONLY):
        return
    try:
        connection.execute(OPEN)
        reloaded = value(connection, "SELECT pg_reload_conf()")
    except psycopg.errors.InsufficientPrivilege as error:
        raise NotAllowedError(
            "the jobs are paused, but this role may not let the server take changes; as a superuser run:"
            f" {OPEN}; SELECT pg_reload_conf()"
        ) from error
    if not reloaded or _still(connection):
        raise ConfigurationError(
            "the jobs are paused, but the server still takes no changes: default_transaction_read_only is on in"
            " postgresql.conf, for this role or for this database; take it away there"
        )


def _still(connection: Connection) -> bool:
    """Whether it is still in force. A session sees a reload between two of its statements, a moment later."""
    return all(value(connection, f"{SELECT_READ_ONLY} FROM pg_sleep(0.1)") for _ in range(30))
