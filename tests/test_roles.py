"""Roles: what ingest code and dashboards may do on a real server, and everything else that they may not."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from conftest import RunningServer
from psycopg import errors
from test_cli import run

import analytics
from analytics import source
from timeseries import (
    HealthLog,
    InvalidInputError,
    NotAllowedError,
    OccupancyEvent,
    ServerKind,
    Store,
    schema,
)
from timeseries.connections import parse_url
from timeseries.roles import Limits, audit, grant
from timeseries.settings import Settings

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=40)
MakeRole = Callable[[str, str], str]
counter = itertools.count(1)


def as_role(url: str, name: str) -> str:
    parsed = parse_url(url).set(drivername="postgresql", username=name, password="secret")
    return parsed.render_as_string(hide_password=False)


@pytest.fixture
def make_role(server: RunningServer) -> Iterator[MakeRole]:
    """Makes a role that may log in; all of them are dropped with what they own."""
    made: list[tuple[str, str]] = []

    def make(url: str, kind: str) -> str:
        name = f"{kind}-{next(counter)}"  # a forgotten quote shows
        with psycopg.connect(server.admin_url, autocommit=True) as admin:
            admin.execute(f"""CREATE ROLE "{name}" LOGIN PASSWORD 'secret'""")  # type: ignore[arg-type]
        made.append((url, name))
        return name

    yield make
    for url, name in reversed(made):
        source.close(as_role(url, name))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'REASSIGN OWNED BY "{name}" TO CURRENT_USER')  # type: ignore[arg-type]
            connection.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')  # type: ignore[arg-type]


@pytest.fixture
def ingest(database: str, make_role: MakeRole) -> str:
    """The database's URL as the role of ingest code."""
    name = make_role(database, "ingest")
    grant(database, ingest=[name])
    return as_role(database, name)


@pytest.fixture
def reader(database: str, make_role: MakeRole) -> str:
    """The database's URL as the role of a dashboard."""
    name = make_role(database, "reader")
    grant(database, readers=[name], limits=Limits(timedelta(seconds=5), 3))
    return as_role(database, name)


def refusal(url: str, statement: str) -> str:
    """The SQLSTATE with which a statement is refused, or what happened instead."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(statement)  # type: ignore[arg-type]
        except psycopg.Error as error:
            return error.sqlstate or str(error)
    return f"allowed: {statement}"


def problems(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return audit(connection)


def series(camera: object, start: datetime, number: int) -> list[OccupancyEvent]:
    return [OccupancyEvent(camera, start + timedelta(minutes=i), i % 9, {"n": i}) for i in range(number)]  # type: ignore[arg-type]


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


def test_the_reader_role_answers_every_question_of_notebooks_and_the_command_line(store: Store, reader: str) -> None:
    lot = store.cameras.add("North Lot", timezone="Europe/Berlin", connection_string="rtsp://admin:hunter2@10.0.0.7/1")
    store.record(series(lot.id, NOW - timedelta(days=3), 600))
    for ask in (analytics.weekday_averages, analytics.hourly_averages):
        assert ask("North Lot", url=reader).equals(ask("North Lot", url=store.url))
    assert run(reader, "weekday", "North Lot").exit_code == 0
    with psycopg.connect(reader) as connection:
        answers = connection.execute("""
            SELECT p.oid::regproc::text || '()' FROM pg_proc AS p
            WHERE p.pronamespace = 'public'::regnamespace AND p.proretset AND p.pronargs = p.pronargdefaults
              AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
        """).fetchall()
        assert {"occupancy_hours()", "health_weekdays()", "store_jobs()"} <= {name for (name,) in answers}
        levels = ("quarter_hourly", "hourly", "weekday")
        aggregates = [f"{family}_{level}" for family in ("occupancy", "health") for level in levels]
        for name in [*(name for (name,) in answers), *aggregates]:
            connection.execute(f"SELECT * FROM public.{name}")  # type: ignore[arg-type]


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
    "SELECT timeseries.materialize('occupancy', ARRAY[gen_random_uuid()], ARRAY[now()])",
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


@pytest.mark.parametrize("before_migration", [True, False])
def test_the_owner_role_migrates_prunes_and_runs_jobs_without_being_a_superuser(
    empty_database: str, make_role: MakeRole, server: RunningServer, before_migration: bool
) -> None:
    name = make_role(empty_database, "owner")
    owner = as_role(empty_database, name)
    if not before_migration:
        schema.migrate(empty_database)
    grant(empty_database, owner=name)
    schema.migrate(owner)
    grant(empty_database, owner=name)
    with Store.open(owner, settings=Settings()) as store:
        lot = store.cameras.add("North Lot")
        store.record(series(lot.id, NOW - timedelta(days=100), 30))
        store.cameras.update(lot, timezone="Asia/Kolkata")
        assert store.prune(timedelta(days=90)).removed == 30
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
    source.close(owner)
    schema.migrate(owner, "base")
    schema.migrate(owner)


def test_objects_planted_on_the_search_path_are_not_found(store: Store) -> None:
    lot = store.cameras.add("North Lot", timezone="Europe/Berlin")
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA evil")
        for name in ("cameras", "occupancy_events", "health_logs", "alembic_version", "incoming"):
            connection.execute(f"CREATE TABLE evil.{name} (id text)")  # type: ignore[arg-type]
        for name in ("occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday"):
            connection.execute(f"CREATE VIEW evil.{name} AS SELECT 1 AS planted")  # type: ignore[arg-type]
        for name in ("sealed", "materialize", "occupancy_hours", "occupancy_buckets", "local_buckets", "midnight"):
            connection.execute(f"CREATE FUNCTION evil.{name}() RETURNS int LANGUAGE sql AS 'SELECT 1'")  # type: ignore[arg-type]
    lured = store.url + ("&" if "?" in store.url else "?") + "options=-csearch_path%3Devil%2Cpublic"
    events = series(lot.id, LONG_AGO, 90)
    with Store.open(lured, settings=Settings()) as other:
        assert other.record(events[:50]).inserted == 50
        assert other.record(events).inserted == 40
        assert other.cameras.get("North Lot") == lot
    assert analytics.hourly_averages(lot, url=lured).equals(analytics.hourly_averages(lot, url=store.url))
    with psycopg.connect(store.url) as connection:
        assert connection.execute("SELECT count(*) FROM evil.occupancy_events").fetchone() == (0,)


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
            f'GRANT SELECT ON public.occupancy_events TO "{names[reader]}"',
            f'REVOKE SELECT ON public.health_hourly FROM "{names[reader]}"',
            f'ALTER ROLE "{names[reader]}" CONNECTION LIMIT -1',
            f'GRANT DELETE ON public.health_logs TO "{names[ingest]}"',
            f'REVOKE EXECUTE ON FUNCTION timeseries.materialize FROM "{names[ingest]}"',
            f'GRANT SELECT (connection_string) ON public.cameras TO "{stranger}"',
        ):
            connection.execute(statement)  # type: ignore[arg-type]
    found = "\n".join(problems(store.url))
    for part in (
        "anybody may create objects in the schema public",
        f'"{names[reader]}" (reader) may SELECT public.occupancy_events',
        f'"{names[reader]}" (reader) may not SELECT public.health_hourly',
        f'"{names[reader]}" (reader) has no limit on connections',
        f'"{names[ingest]}" (ingest) may DELETE public.health_logs',
        f'"{names[ingest]}" (ingest) may not execute timeseries.materialize',
        f'"{stranger}" may read cameras.connection_string',
    ):
        assert part in found
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(f'REVOKE SELECT (connection_string) ON public.cameras FROM "{stranger}"')  # type: ignore[arg-type]
    grant(store.url, ingest=[str(names[ingest])], readers=[str(names[reader])])
    assert problems(store.url) == []


def test_a_granted_role_that_becomes_mighty_is_reported(database: str, reader: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'ALTER ROLE "{parse_url(reader).username}" CREATEROLE')  # type: ignore[arg-type]
    assert any("may do everything" in problem for problem in problems(database))


def test_roles_are_made_with_passwords_that_the_server_never_sees(
    database: str, make_role: MakeRole, server: RunningServer
) -> None:
    name = make_role(database, "dashboard")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f'DROP ROLE "{name}"')  # type: ignore[arg-type]
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
