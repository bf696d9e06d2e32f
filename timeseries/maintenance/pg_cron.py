"""Retention by pg_cron, where an operator has installed it: a job that calls `timeseries.retain_all` once an hour."""

from __future__ import annotations

import logging

import psycopg
from psycopg.conninfo import make_conninfo

from timeseries.database.connections import connect, conninfo
from timeseries.database.rows import row, value
from timeseries.database.server import ServerKind, inspect_server
from timeseries.database.silence import WatchedConnection

log = logging.getLogger("timeseries.migrations")
# The database that pg_cron works from; no row where it is not preloaded. Its settings are visible to superusers and
# pg_read_all_settings only: for other roles it is the current database if the extension is there, else the default.
SELECT_CRON_DATABASE = """
    SELECT coalesce(
               (SELECT setting FROM pg_settings WHERE name = 'cron.database_name'),
               (SELECT current_database() FROM pg_extension WHERE extname = 'pg_cron'), 'postgres'),
           current_database()
    WHERE EXISTS (SELECT FROM pg_settings WHERE name = 'cron.database_name')
       OR NOT pg_has_role('pg_read_all_settings', 'USAGE')
          AND EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron')
"""
SELECT_USABLE = """
    SELECT EXISTS (
        SELECT FROM pg_extension AS e
        JOIN pg_namespace AS n ON n.nspname = 'cron' AND has_schema_privilege(n.oid, 'USAGE')
        JOIN pg_proc AS p ON p.pronamespace = n.oid AND p.proname = 'schedule_in_database'
            AND has_function_privilege(p.oid, 'EXECUTE')
        WHERE e.extname = 'pg_cron')
"""
HOURLY = "23 * * * *"
CALL_RETAIN_ALL = "CALL timeseries.retain_all('pg_cron')"
SCHEDULE_CRON = "SELECT cron.schedule_in_database(%s, %s, %s, %s)"
UNSCHEDULE_CRON = "SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = %s AND username = current_user"
RECORD_CRON_JOB = "UPDATE timeseries.retention_run SET cron_job = %s WHERE cron_job IS DISTINCT FROM %s"
SELECT_MIGRATED = "SELECT to_regprocedure('timeseries.retain_all(text)') IS NOT NULL"


def settle(url: str) -> str | None:
    """Schedule retention by pg_cron where that is possible and needed, else unschedule it; the name of the job.

    It is possible where pg_cron is preloaded, its extension exists in the database that it works from, and this role
    may call `cron.schedule_in_database` there. Errors are only logged, because processes of the store prune as well.
    """
    with connect(url, autocommit=True) as connection:
        home, database = row(connection, SELECT_CRON_DATABASE) or (None, "")
        migrated = value(connection, SELECT_MIGRATED)
        wanted = migrated and inspect_server(connection).kind is not ServerKind.COMMUNITY
        job = _arrange(url, home, database, wanted=wanted) if home else None
        if value(connection, "SELECT to_regclass('timeseries.retention_run') IS NOT NULL"):
            connection.execute(RECORD_CRON_JOB, [job, job])
    return job


def _arrange(url: str, home: str, database: str, *, wanted: bool) -> str | None:
    name = f"timeseries retention of {database}"
    try:
        with WatchedConnection.connect(make_conninfo(conninfo(url), dbname=home), autocommit=True) as cron:
            if not value(cron, SELECT_USABLE):
                log.info("pg_cron is not there, or not for this role, in the database %s", home)
                return None
            if wanted:
                cron.execute(SCHEDULE_CRON, [name, HOURLY, CALL_RETAIN_ALL, database])
                return name
            cron.execute(UNSCHEDULE_CRON, [name])
    except psycopg.Error as error:
        log.info("pg_cron cannot be used from the database %s: %s", home, error)
    return None
