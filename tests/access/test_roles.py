"""Roles: what ingest code and an owner may do on a real server, how roles are granted, and the audit of them."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

import analytics
from analytics import arrow_client
from tests.support.command_line import run
from tests.support.roles import LONG_AGO, NOW, MakeRole, as_role, ingest, make_role, reader, refusal, series
from tests.support.servers import RunningServer, require_idle_jobs
from tests.support.urls import parse_url
from timeseries import HealthLog, InvalidInputError, NotAllowedError, OccupancyEvent, ServerKind, Store
from timeseries.access.roles import find_deviations, grant
from timeseries.monitoring.status import read_status
from timeseries.schema import migrations
from timeseries.settings import Settings

__all__ = ["ingest", "make_role", "reader"]


def problems(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return find_deviations(connection)


def test_the_ingest_role_stores_recent_late_repeated_and_bad_events(store: Store, ingest: str) -> None:
    lot = store.cameras.add("North Lot")
    with Store.open(ingest, settings=Settings()) as narrow:
        first = narrow.record([*series(lot.id, NOW - timedelta(hours=2), 60), HealthLog(lot.id, NOW, "healthy")])
        assert first.inserted == 61
        late = series(lot.id, LONG_AGO, 60)
        again = narrow.record([*late, *late[:5], OccupancyEvent(lot.id, NOW, -1)])
        assert (again.inserted, again.duplicates, len(again.rejected)) == (60, 5, 1)
        assert narrow.record(late).duplicates == 60
        with narrow.writer(batch_size=50) as writer:
            for event in series(lot.id, LONG_AGO + timedelta(days=1), 120):
                writer.record(event)
        assert (writer.state.stored, writer.state.rejected) == (120, 0)
    hours = analytics.hourly_averages(lot, start=LONG_AGO - timedelta(hours=1), end=NOW, url=store.url)
    assert hours["samples"].sum() == 240


def test_a_writer_waits_for_a_right_that_is_missing(store: Store, ingest: str) -> None:
    lot = store.cameras.add("North Lot")
    role = parse_url(ingest).username
    with psycopg.connect(store.url, autocommit=True) as operator, Store.open(ingest, settings=Settings()) as narrow:
        operator.execute(f'REVOKE INSERT ON public.occupancy_events FROM "{role}"')
        with narrow.writer(flush_interval=0.05) as writer:
            for event in series(lot.id, NOW - timedelta(hours=2), 60):
                writer.record(event)
            while writer.state.retries < 2:
                time.sleep(0.05)
            assert "NotAllowedError" in str(writer.state.last_error)
            grant(store.url, ingest=[str(role)])
        assert (writer.state.stored, writer.state.rejected) == (60, 0)


def test_the_ingest_role_imports_a_file(store: Store, ingest: str, tmp_path: Path) -> None:
    store.cameras.add("North Lot")
    path = tmp_path / "events.csv"
    rows = [f"North Lot,{(LONG_AGO + timedelta(minutes=i)).isoformat()},{i}\n" for i in range(100)]
    path.write_text("camera,timestamp,occupied_count\n" + "".join(rows))
    with Store.open(ingest, settings=Settings()) as narrow:
        result = narrow.import_file(path)
    assert (result.inserted, result.rejected) == (100, 0)


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_the_ingest_role_stores_into_compressed_chunks(store: Store, ingest: str) -> None:
    lot = store.cameras.add("North Lot")
    store.record(series(lot.id, LONG_AGO, 60))
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("SELECT public.compress_chunk(c) FROM public.show_chunks('public.occupancy_events') AS c")
    with Store.open(ingest, settings=Settings()) as narrow:
        result = narrow.record(series(lot.id, LONG_AGO + timedelta(seconds=30), 30) + series(lot.id, LONG_AGO, 60))
    assert (result.inserted, result.duplicates) == (30, 60)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT connection_string FROM public.cameras",
        "SELECT * FROM public.cameras",
        "INSERT INTO public.cameras (name) VALUES ('x')",
        "UPDATE public.cameras SET timezone = 'UTC'",
        "UPDATE public.occupancy_events SET occupied_count = 0",
        "DELETE FROM public.occupancy_events",
        "TRUNCATE public.health_logs",
        "CREATE TABLE public.planted ()",
        "CREATE SCHEMA planted",
    ],
)
def test_the_ingest_role_only_appends(ingest: str, statement: str) -> None:
    assert refusal(ingest, statement) == errors.InsufficientPrivilege.sqlstate


@pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
def test_the_ingest_role_does_not_prune(ingest: str) -> None:
    assert refusal(ingest, "SELECT timeseries.prune_day('occupancy', now())") == "42501"


@pytest.mark.parametrize("before_migration", [True, False])
def test_the_owner_role_migrates_prunes_and_runs_jobs_without_being_a_superuser(
    empty_database: str, make_role: MakeRole, server: RunningServer, before_migration: bool
) -> None:
    require_idle_jobs(server)
    name = make_role(empty_database, "owner")
    owner = as_role(empty_database, name)
    if not before_migration:
        migrations.migrate(empty_database)
    grant(empty_database, owner=name)
    migrations.migrate(owner)
    grant(empty_database, owner=name)
    with Store.open(owner, settings=Settings()) as store:
        lot = store.cameras.add("North Lot")
        store.record(series(lot.id, NOW - timedelta(days=100), 30))
        store.cameras.update(lot, timezone="Asia/Kolkata")
        assert store.prune().removed == 30
        assert analytics.weekday_averages(lot, url=owner)["samples"].sum() == 30
    with psycopg.connect(owner, autocommit=True) as connection:
        if server.kind is ServerKind.COMMUNITY:
            jobs = connection.execute(
                "SELECT job_id, owner::text FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL"
            ).fetchall()
            assert {job_owner for _, job_owner in jobs} == {f'"{name}"'}
            for job, _ in jobs:
                connection.execute("CALL public.run_job(%s)", [job])
        others = connection.execute("""
            SELECT c.relname FROM pg_class AS c
            WHERE c.relnamespace IN ('timeseries'::regnamespace, 'public'::regnamespace) AND c.relkind IN ('r', 'v')
              AND c.relowner <> current_user::regrole
              AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
            UNION ALL
            SELECT p.proname FROM pg_proc AS p
            WHERE p.pronamespace IN ('timeseries'::regnamespace, 'public'::regnamespace)
              AND p.proowner <> current_user::regrole
              AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
        """).fetchall()
    assert others == []
    arrow_client.close(owner)
    migrations.migrate(owner, "base", discard_data=True)
    migrations.migrate(owner)


def test_grants_are_repeated_without_effect_and_a_changed_kind_keeps_nothing(
    database: str, make_role: MakeRole
) -> None:
    name = make_role(database, "service")
    rights = "SELECT c.oid::regclass::text, c.relacl::text FROM pg_class AS c WHERE c.relacl::text LIKE %s ORDER BY 1"

    def held() -> list[tuple[str, str]]:
        with psycopg.connect(database) as connection:
            return connection.execute(rights, [f"%{name}%"]).fetchall()

    grant(database, ingest=[name])
    first = held()
    grant(database, ingest=[name])
    assert held() == first
    assert problems(database) == []
    grant(database, readers=[name])
    assert "occupancy_events" not in [relation for relation, _ in held()]
    assert problems(database) == []


def test_the_audit_names_what_was_given_beside_the_grants(
    store: Store, reader: str, ingest: str, make_role: MakeRole
) -> None:
    assert problems(store.url) == problems(reader) == []
    stranger = make_role(store.url, "stranger")
    names = {url: parse_url(url).username for url in (reader, ingest)}
    with psycopg.connect(store.url, autocommit=True) as connection:
        for statement in (
            "GRANT CREATE ON SCHEMA public TO PUBLIC",
            f'GRANT SELECT (occupied_count) ON public.occupancy_events TO "{names[reader]}"',
            f'GRANT UPDATE (capacity) ON public.cameras TO "{names[ingest]}"',
            f'REVOKE SELECT ON public.health_hourly FROM "{names[reader]}"',
            f'ALTER ROLE "{names[reader]}" CONNECTION LIMIT -1',
            f'GRANT DELETE ON public.health_logs TO "{names[ingest]}"',
            f'REVOKE EXECUTE ON FUNCTION timeseries.materialize FROM "{names[ingest]}"',
            f'GRANT SELECT (connection_string) ON public.cameras TO "{stranger}"',
        ):
            try:
                connection.execute(statement)
            except psycopg.errors.UndefinedColumn:
                pytest.skip("this release cannot grant a column of a hypertable that has a columnstore")
    found = "\n".join(problems(store.url))
    assert set(problems(store.url)) <= set(read_status(store.pool).problems)
    for part in (
        "anybody may create objects in the schema public",
        f'"{names[reader]}" (reader) may SELECT public.occupancy_events',
        f'"{names[reader]}" (reader) may not SELECT public.health_hourly',
        f'"{names[ingest]}" (ingest) may UPDATE public.cameras (capacity)',
        f'"{names[reader]}" (reader) has no limit on connections',
        f'"{names[ingest]}" (ingest) may DELETE public.health_logs',
        f'"{names[ingest]}" (ingest) may not execute timeseries.materialize',
        f'"{stranger}" may read cameras.connection_string',
    ):
        assert part in found
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(f'REVOKE SELECT (connection_string) ON public.cameras FROM "{stranger}"')
    grant(store.url, ingest=[str(names[ingest])], readers=[str(names[reader])])
    assert problems(store.url) == []


def test_a_granted_role_that_becomes_mighty_is_reported(database: str, reader: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'ALTER ROLE "{parse_url(reader).username}" CREATEROLE')
    assert any("may do everything" in problem for problem in problems(database))


def test_roles_are_made_with_passwords_that_the_server_never_sees(
    database: str, make_role: MakeRole, server: RunningServer
) -> None:
    name = make_role(database, "dashboard")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'DROP ROLE "{name}"')
    result = run(database, "grant", "--reader", name, "--password-stdin", text="correct horse\n")
    assert result.exit_code == 0, result.output
    assert "horse" not in result.output
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [name]).fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$")
    with psycopg.connect(as_role(database, name).replace("secret", "correct%20horse")):
        pass


def test_a_role_that_cannot_be_granted_is_refused_with_the_reason(
    database: str, reader: str, make_role: MakeRole
) -> None:
    superuser = parse_url(database).username or ""
    for words, reason in (
        (["--reader", "nobody there"], "no role has the name"),
        (["--reader", superuser], "superuser"),
        (["--reader", "x", "--ingest", "x"], "one kind only"),
        ([], "name at least one"),
    ):
        result = run(database, "grant", *words)
        assert result.exit_code == 1
        assert reason in result.output
    with pytest.raises(InvalidInputError, match="one a role"):
        grant(database, readers=["x", "y"], passwords=["only one"])
    with pytest.raises(NotAllowedError, match="may not do this"):
        grant(reader, readers=[make_role(database, "other")])


def test_what_a_role_may_not_do_is_one_error_of_ours(store: Store, reader: str, ingest: str) -> None:
    lot = store.cameras.add("North Lot")
    with Store.open(reader, settings=Settings()) as narrow, pytest.raises(NotAllowedError, match="occupancy_events"):
        narrow.record(series(lot.id, NOW - timedelta(hours=1), 5))
    with Store.open(ingest, settings=Settings()) as narrow, pytest.raises(NotAllowedError, match="cameras"):
        narrow.cameras.add("South Lot")
    assert store.cameras.list() == [lot]


def test_a_role_that_was_granted_nothing_sees_and_writes_nothing(
    store: Store, reader: str, make_role: MakeRole
) -> None:
    lot = store.cameras.add("North Lot")
    store.record([OccupancyEvent(lot.id, NOW, 7), HealthLog(lot.id, NOW, "degraded", "private")])
    stranger = as_role(store.url, make_role(store.url, "stranger"))
    for question in ("latest()", "health_states()", "health_outages()", "occupancy_hours()", "occupancy_hourly"):
        assert refusal(stranger, f"SELECT * FROM public.{question}") == errors.InsufficientPrivilege.sqlstate
    for role in (stranger, reader):
        assert refusal(role, "SELECT lo_from_bytea(0, 'x')") == errors.InsufficientPrivilege.sqlstate
    with psycopg.connect(reader) as connection:
        assert connection.execute("SELECT occupied_count, message FROM public.latest()").fetchall() == [(7, "private")]
    with psycopg.connect(store.url) as connection:
        connection.execute("GRANT EXECUTE ON FUNCTION public.latest TO PUBLIC")
    assert "anybody may execute latest" in problems(store.url)[0]
    grant(store.url, readers=[str(parse_url(reader).username)])
    assert problems(store.url) == []


def test_a_reader_that_becomes_ingest_keeps_no_limit_of_connections(database: str, make_role: MakeRole) -> None:
    name = make_role(database, "service")
    grant(database, readers=[name])
    grant(database, ingest=[name])
    with psycopg.connect(database) as connection:
        limit = connection.execute("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", [name]).fetchone()
    assert limit == (-1,)
