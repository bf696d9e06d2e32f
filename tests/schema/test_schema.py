"""The schema on every kind of server: up, down, up; what Alembic sees; what TimescaleDB has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.support.proxy import Proxy
from tests.support.servers import RunningServer
from tests.support.urls import parse_url
from timeseries import ConfigurationError, NotMigratedError, ServerKind, Store
from timeseries.database.connections import create_engine
from timeseries.schema import migrations, revisions
from timeseries.schema.orm import Base
from timeseries.settings import Settings

ROOT = Path(__file__).parents[2]
RELATIONS = """
    SELECT c.relname::text, c.relkind::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v') AND c.relname NOT LIKE 'pg_%'
"""
OURS = """
    SELECT p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = 'timeseries' OR n.nspname = 'public' AND p.proname ~ '^(occupancy|health)_'
    UNION ALL
    SELECT t.typname FROM pg_type AS t WHERE t.typname IN ('desired_state', 'health_status')
"""


def relations(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {name for name, _ in connection.execute(RELATIONS).fetchall()}


def test_upgrade_downgrade_upgrade_leaves_nothing_and_then_everything(empty_database: str) -> None:
    before = relations(empty_database)
    migrations.migrate(empty_database)
    full = relations(empty_database)
    assert {"cameras", "occupancy_events", "health_logs", "occupancy_weekday", "health_hourly"} <= full
    migrations.migrate(empty_database, "0001")
    assert {"cameras"} <= relations(empty_database)
    migrations.migrate(empty_database, "base")
    assert relations(empty_database) - {"alembic_version"} == before
    with psycopg.connect(empty_database) as connection:
        assert connection.execute(OURS).fetchall() == []
    migrations.migrate(empty_database)
    assert relations(empty_database) == full


def test_alembic_itself_does_the_same(empty_database: str) -> None:
    environment = os.environ | {"TIMESERIES_DATABASE_URL": empty_database}
    for words in (["upgrade", "head"], ["downgrade", "base"], ["upgrade", "head"], ["check"]):
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    Store.open(empty_database, settings=Settings()).close()


def test_autogenerate_reports_nothing_and_sees_a_real_difference(database: str) -> None:
    config = migrations.alembic_config()
    engine = create_engine(database)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.check(config)
        connection.rollback()
        connection.execute(sqlalchemy.text("ALTER TABLE cameras ADD COLUMN colour text"))
        connection.execute(sqlalchemy.text("CREATE INDEX ix_planted ON health_logs (status)"))
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        found = {change[0] for change in compare_metadata(context, Base.metadata) if isinstance(change, tuple)}
    engine.dispose()
    assert {"remove_column", "remove_index"} <= found


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_community_has_hypertables_continuous_aggregates_and_policies(database: str) -> None:
    with psycopg.connect(database) as connection:

        def column(query: str) -> list[object]:
            return [row[0] for row in connection.execute(query).fetchall()]

        hypertables = column("""
            SELECT hypertable_name FROM timescaledb_information.hypertables
            WHERE hypertable_schema = 'public' ORDER BY 1
        """)
        assert hypertables == ["health_logs", "occupancy_events"]
        assert column("SELECT DISTINCT time_interval FROM timescaledb_information.dimensions"
                      " WHERE hypertable_schema = 'public'")[0].days == 1  # type: ignore[attr-defined] # fmt: skip
        assert len(column("SELECT view_name FROM timescaledb_information.continuous_aggregates"
                          " WHERE NOT materialized_only")) == 6  # fmt: skip
        jobs = connection.execute(
            "SELECT proc_name, count(*), min(config ->> 'drop_after') FROM timescaledb_information.jobs"
            " WHERE hypertable_name IS NOT NULL GROUP BY 1"
        ).fetchall()
        assert {name: number for name, number, _ in jobs} == {
            "policy_refresh_continuous_aggregate": 6, "policy_retention": 2, "policy_compression": 8,
        }  # fmt: skip
        assert {after for name, _, after in jobs if name == "policy_retention"} == {"90 days"}


@pytest.mark.kinds(ServerKind.APACHE)
def test_apache_has_hypertables_and_views(database: str) -> None:
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM timescaledb_information.hypertables").fetchone() == (2,)
    assert "occupancy_hourly" in relations(database)


def test_the_head_is_known_without_loading_the_migrations() -> None:
    assert revisions.head() == ScriptDirectory.from_config(migrations.alembic_config()).get_current_head()


def test_a_store_is_opened_with_one_connection_that_is_used_on(database: str) -> None:
    url = parse_url(database)
    with Proxy(url.port or 0) as proxy:
        through = url.set(port=proxy.port).render_as_string(hide_password=False)
        with Store.open(through, settings=Settings()) as store:
            assert proxy.connections == 1
            store.cameras.list()
            store.server()
        assert proxy.connections == 1


def test_opening_an_unmigrated_database_says_what_to_do(empty_database: str) -> None:
    with pytest.raises(NotMigratedError, match="timeseries migrate"):
        Store.open(empty_database, settings=Settings())


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_licence_that_would_break_every_insert_is_named(server: RunningServer) -> None:
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may restart")
    cluster = server.found.cluster()
    try:
        cluster.start()
        migrations.migrate(cluster.url())
        cluster.stop()
        cluster.configure(**{"timescaledb.license": "apache"})
        cluster.start()
        with pytest.raises(ConfigurationError, match=r"timescaledb\.license"):
            Store.open(cluster.url(), settings=Settings())
    finally:
        cluster.remove()


CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = ANY (%s::regclass[]) AND contype IN ('c', 'f', 'p', 'u')
"""
COLUMNS = """
    SELECT a.attrelid::regclass::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           a.attidentity::text, pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
    FROM pg_attribute AS a LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
    WHERE a.attrelid = ANY (%s::regclass[]) AND a.attnum > 0 AND NOT a.attisdropped
"""

FUNCTIONS_OF_CHECKS = """
    SELECT DISTINCT pg_get_functiondef(d.refobjid)
    FROM pg_depend AS d JOIN pg_constraint AS c ON c.oid = d.objid AND d.classid = 'pg_constraint'::regclass
    WHERE d.refclassid = 'pg_proc'::regclass AND c.contype = 'c' AND c.connamespace = 'public'::regnamespace
"""


def definitions(url: str, query: LiteralString) -> dict[tuple[str, str], tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(query, [list(Base.metadata.tables)]).fetchall()
    return {(table, name): tuple(definition) for table, name, *definition in rows}


@pytest.mark.parametrize("query", [CONSTRAINTS, COLUMNS], ids=["constraints", "columns"])
def test_models_and_migrations_define_the_same_tables(database: str, empty_database: str, query: LiteralString) -> None:
    """Alembic compares no CHECK: so a database is made of the models alone, and the server spells both. A CHECK may
    call a function, which models do not declare.
    """
    with psycopg.connect(database) as migrated, psycopg.connect(empty_database) as empty:
        empty.execute("CREATE SCHEMA timeseries")
        for (function,) in migrated.execute(FUNCTIONS_OF_CHECKS).fetchall():
            empty.execute(function)
    engine = create_engine(empty_database)
    Base.metadata.create_all(engine)
    engine.dispose()
    assert definitions(empty_database, query) == definitions(database, query)
