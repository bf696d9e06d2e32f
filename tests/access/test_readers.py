"""What the role of a dashboard may ask on a real server, and everything else that it may not."""

from __future__ import annotations

import contextlib
from datetime import timedelta

import psycopg
import pytest
from psycopg import errors

import analytics
from tests.support.command_line import run
from tests.support.roles import LONG_AGO, NOW, MakeRole, as_role, make_role, reader, refusal, series
from tests.support.servers import RunningServer
from timeseries import ServerKind, Store
from timeseries.access.roles import Limits, grant
from timeseries.settings import Settings

__all__ = ["make_role", "reader"]


def test_the_reader_role_answers_every_question_of_notebooks_and_the_command_line(store: Store, reader: str) -> None:
    lot = store.cameras.add("North Lot", timezone="Europe/Berlin", connection_string="rtsp://admin:hunter2@10.0.0.7/1")
    store.record(series(lot.id, NOW - timedelta(days=3), 600))
    for ask in (analytics.weekday_averages, analytics.hourly_averages):
        assert ask("North Lot", url=reader).equals(ask("North Lot", url=store.url))
    assert run(reader, "weekday", "North Lot").exit_code == 0
    with psycopg.connect(reader) as connection:
        answers = connection.execute("""
            SELECT p.proname || '()' FROM pg_proc AS p
            WHERE p.pronamespace = 'public'::regnamespace AND p.proretset AND p.pronargs = p.pronargdefaults
              AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
        """).fetchall()
        assert {"occupancy_hours()", "health_weekdays()", "store_jobs()"} <= {name for (name,) in answers}
        levels = ("quarter_hourly", "hourly", "weekday")
        aggregates = [f"{family}_{level}" for family in ("occupancy", "health") for level in levels]
        for name in [*(name for (name,) in answers), *aggregates]:
            connection.execute(f"SELECT * FROM public.{name}")


DENIED = [
    "SELECT * FROM public.occupancy_events",
    "SELECT count(*) FROM public.health_logs",
    "SELECT connection_string FROM public.cameras",
    "SELECT c::text FROM public.cameras AS c",
    "SELECT zone_config FROM public.cameras",
    "INSERT INTO public.occupancy_events (camera_id, timestamp, occupied_count) VALUES (gen_random_uuid(), now(), 1)",
    "UPDATE public.cameras SET name = 'x'",
    "DELETE FROM public.cameras",
    "CREATE TABLE public.planted ()",
    "CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT timestamptz 'epoch' $$",
    "CREATE TEMPORARY TABLE planted ()",
    "CREATE SCHEMA planted",
    "SELECT timeseries.materialize('occupancy', ARRAY[gen_random_uuid()], ARRAY[now()], ARRAY[1])",
    "SELECT * FROM timeseries.sealed('occupancy', ARRAY[gen_random_uuid()], ARRAY[now()])",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
]
DENIED_TIMESCALE = [
    "SELECT public.drop_chunks('public.occupancy_events', now())",
    "SELECT public.add_job('pg_catalog.now'::regproc, interval '1 second')",
    "SELECT public.delete_job(1000)",
    "CALL public.run_job(1000)",
    "SELECT public.create_hypertable('public.cameras', public.by_range('created_at'))",
]
DENIED_COMMUNITY = [
    "CALL public.refresh_continuous_aggregate('public.occupancy_hourly', NULL, NULL)",
    "SELECT public.add_retention_policy('public.occupancy_hourly', interval '1 day')",
    "SELECT public.remove_retention_policy('public.occupancy_events')",
    "SELECT public.alter_job(1000, scheduled => false)",
]


def test_the_reader_role_is_denied_everything_else(store: Store, reader: str, server: RunningServer) -> None:
    lot = store.cameras.add("North Lot")
    store.record(series(lot.id, LONG_AGO, 5))
    denied = list(DENIED)
    if server.kind is not ServerKind.POSTGRESQL:
        denied += DENIED_TIMESCALE
        with psycopg.connect(store.url) as connection:
            row = connection.execute(
                "SELECT c::text FROM public.show_chunks('public.occupancy_events') AS c"
            ).fetchone()
        assert row is not None
        denied.append(f"SELECT * FROM {row[0]}")
    if server.kind is ServerKind.COMMUNITY:
        denied += DENIED_COMMUNITY
    else:
        denied += ["SELECT timeseries.prune_day('occupancy', now())", "SELECT * FROM timeseries.occupancy_kept"]
    states = {statement: refusal(reader, statement) for statement in denied}
    assert {s: state for s, state in states.items() if state != errors.InsufficientPrivilege.sqlstate} == {}
    assert store.cameras.list() == [lot]


def test_a_reader_is_limited_in_time_and_connections(database: str, make_role: MakeRole) -> None:
    name = make_role(database, "reader")
    grant(database, readers=[name], limits=Limits(timedelta(milliseconds=200), 2))
    reader = as_role(database, name)
    assert refusal(reader, "SELECT pg_sleep(60)") == errors.QueryCanceled.sqlstate
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(psycopg.connect(reader))
        stack.enter_context(pytest.raises(psycopg.OperationalError, match="too many connections"))
        psycopg.connect(reader)


def test_objects_planted_on_the_search_path_are_not_found(store: Store) -> None:
    lot = store.cameras.add("North Lot", timezone="Europe/Berlin")
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA evil")
        for name in ("cameras", "occupancy_events", "health_logs", "alembic_version", "incoming"):
            connection.execute(f"CREATE TABLE evil.{name} (id text)")
        for name in ("occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday"):
            connection.execute(f"CREATE VIEW evil.{name} AS SELECT 1 AS planted")
        for name in ("sealed", "materialize", "occupancy_hours", "occupancy_buckets", "local_buckets", "midnight"):
            connection.execute(f"CREATE FUNCTION evil.{name}() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    lured = store.url + ("&" if "?" in store.url else "?") + "options=-csearch_path%3Devil%2Cpublic"
    events = series(lot.id, LONG_AGO, 90)
    with Store.open(lured, settings=Settings()) as other:
        assert other.record(events[:50]).inserted == 50
        assert other.record(events).inserted == 40
        assert other.cameras.get("North Lot") == lot
    assert analytics.hourly_averages(lot, url=lured).equals(analytics.hourly_averages(lot, url=store.url))
    with psycopg.connect(store.url) as connection:
        assert connection.execute("SELECT count(*) FROM evil.occupancy_events").fetchone() == (0,)


def test_no_lock_that_a_reader_may_take_stops_late_events(store: Store, reader: str) -> None:
    """A reader's transaction may hold what it reads; advisory locks are everybody's."""
    lot = store.cameras.add("North Lot")
    with psycopg.connect(reader) as other:
        for name in ("occupancy_quarter_hourly", "occupancy_hourly"):
            other.execute(f"LOCK TABLE public.{name} IN ACCESS SHARE MODE")
        other.execute("SELECT pg_advisory_xact_lock(key) FROM (VALUES (7381140256612)) AS k (key)")
        assert store.record(series(lot.id, LONG_AGO, 10)).inserted == 10
    for mode in ("ROW SHARE", "EXCLUSIVE"):
        assert (
            refusal(reader, f"BEGIN; LOCK TABLE public.occupancy_quarter_hourly IN {mode} MODE")
            == errors.InsufficientPrivilege.sqlstate
        )
