"""What the database records of retention: how long raw rows are kept, and who removed them last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from timeseries.database.connections import Connection
from timeseries.database.rows import row, value
from timeseries.errors import ConfigurationError, InvalidInputError
from timeseries.maintenance.policy_rules import SHORTEST_RETENTION
from timeseries.model.parsing import interval_text

SELECT_RECORD = """
    SELECT k.keep, coalesce(r.scheduled, false), r.since, r.started_at, r.finished_at, r.removed, r.done_by, r.error,
           r.cron_job, now() - greatest(r.since, r.finished_at)
    FROM timeseries.retention AS k
    LEFT JOIN timeseries.retention_run AS r ON true
"""
# Privileges are checked first, because an UPDATE without them would write an error to the server's log.
SELECT_MAY_RECORD = """
    SELECT EXISTS (
        SELECT FROM pg_class AS c
        WHERE c.relname = 'retention' AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'timeseries')
          AND has_schema_privilege(c.relnamespace, 'USAGE') AND has_table_privilege(c.oid, 'UPDATE')
          AND current_setting('transaction_read_only') = 'off')
"""
SET_KEEP = "UPDATE timeseries.retention SET keep = %s, said = true"
LENGTHEN_KEEP = "UPDATE timeseries.retention SET keep = %(keep)s, said = true WHERE NOT said OR keep < %(keep)s"
RECORD_RUN = """
    UPDATE timeseries.retention_run
    SET started_at = %s, finished_at = clock_timestamp(), removed = %s, error = NULL,
        done_by = 'timeseries prune as ' || session_user
"""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of a database, in which no policy of TimescaleDB removes raw rows.

    `keep` is how long they stay. `scheduled` is False where retention is paused, as after a restore; `since` is when it
    was scheduled. The rest is about the last run: how many rows it `removed`, the process that it was `done_by`,
    and the `error` that ended it, if any. `cron_job` is the job of pg_cron that prunes. `idle` is the time since
    the last run, or since it was scheduled.
    """

    keep: timedelta
    scheduled: bool
    since: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    removed: int | None
    done_by: str | None
    error: str | None
    cron_job: str | None
    idle: timedelta | None


def read_record(connection: Connection) -> Record:
    found = row(connection, SELECT_RECORD)
    if found is None:
        raise ConfigurationError("timeseries.retention is empty; put its row back: INSERT INTO timeseries.retention …")
    return Record(*found)


def check_keep(keep: timedelta) -> timedelta:
    """Raises InvalidInputError for a length below the shortest retention, which would remove days that still fill."""
    if keep < SHORTEST_RETENTION:
        raise InvalidInputError(
            f"cannot keep raw rows for {interval_text(keep)} only: the shortest retention is"
            f" {interval_text(SHORTEST_RETENTION)}"
        )
    return keep


def say_keep(connection: Connection, keep: timedelta) -> None:
    """Record how long raw rows are kept from now on, as an operator's command said it."""
    connection.execute(SET_KEEP, [check_keep(keep)])


def record_run(connection: Connection, started_at: datetime, removed: int) -> None:
    """Record a whole run by an operator's command."""
    connection.execute(RECORD_RUN, [started_at, removed])


def lengthen_keep(connection: Connection, keep: timedelta) -> None:
    """Record the `keep` of this process, unless a longer one was recorded: of two processes that disagree the longer
    one rules, because removed rows cannot be restored. A role without the privilege changes nothing.
    """
    check_keep(keep)
    if value(connection, SELECT_MAY_RECORD):
        connection.execute(LENGTHEN_KEEP, {"keep": keep})
