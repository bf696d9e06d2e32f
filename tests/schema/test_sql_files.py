"""The SQL of the migrations: how it is filled in, and that TimescaleDB's private catalog is read in one place."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from alembic.util import load_python_file

from tests.support.servers import RunningServer
from timeseries import ServerKind
from timeseries.schema import migrations, revisions
from timeseries.schema.migrations import removed_by

ROOT = Path(__file__).parents[2]
sql_files = load_python_file(str(revisions.migrations_folder()), "sql_files.py")
# TimescaleDB's update scripts drop and recreate tables of their catalog, which a view of ours would forbid.
HINDRANCES = """
    SELECT r.ev_class::regclass::text
    FROM pg_depend AS d
    JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    JOIN pg_class AS ours ON ours.oid = r.ev_class AND ours.relnamespace = 'timeseries'::regnamespace
    LEFT JOIN pg_class AS c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
    LEFT JOIN pg_proc AS p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
    WHERE coalesce(c.relnamespace, p.pronamespace)::regnamespace::text ~ '^_timescaledb_(catalog|functions|config)'
"""


def test_placeholders_are_filled_in_those_of_values_too() -> None:
    assert sql_files.fill("SELECT '$1', @outer, '100%'", outer="@{inner}_x", inner="y") == "SELECT '$1', y_x, '100%'"
    with pytest.raises(KeyError, match="unknown"):
        sql_files.fill("SELECT @unknown")


def test_parts_of_a_later_owner_take_the_place_of_those_of_an_earlier_one() -> None:
    parts = sql_files.parts("versions/0002/aggregates.sql", "coarse", "quarter_hourly")
    assert "FROM @source\nGROUP BY" in parts["query"]
    assert parts["source"] == "public.@events"
    assert parts["width"] == "15 minutes"
    assert sql_files.parts("versions/0002/aggregates.sql", "hourly")["local_date"] == ""


def test_a_revision_that_names_nothing_counts_as_one_that_removes_everything() -> None:
    modules = {"0001": SimpleNamespace(removes=("cameras",)), "0002": SimpleNamespace(removes=()), "0003": object()}
    script = SimpleNamespace(walk_revisions=lambda: [SimpleNamespace(revision=r, module=m) for r, m in modules.items()])
    found = {step: removed_by(script, [step]) for step in modules}  # type: ignore[arg-type]
    assert found == {"0001": ["cameras"], "0002": [], "0003": ["cameras"]}


def test_one_file_alone_reads_the_private_catalog_of_timescaledb() -> None:
    files = [
        path
        for folder in ("migrations", "timeseries", "analytics", "grafana")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".sql", ".json", ".yml") and "_timescaledb_" in path.read_text()
    ]
    # The one names schemas that a new database has, the other a table of releases that change no more.
    known = [ROOT / "timeseries/backup/restore.py", ROOT / "timeseries/access/roles.sql"]
    assert [path for path in files if path not in known] == [ROOT / "migrations/versions/0002/continuous/catalog.sql"]


def test_the_schema_says_what_it_was_built_for_and_nothing_in_it_hinders_an_update(
    database: str, server: RunningServer
) -> None:
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT timeseries.built_for()").fetchone() == (server.kind,)
        assert connection.execute(HINDRANCES).fetchall() == []


def test_materializations_are_known_where_there_are_any(database: str, server: RunningServer) -> None:
    names = [
        f"{family}_{level}" for family in ("health", "occupancy") for level in ("hourly", "quarter_hourly", "weekday")
    ]
    with psycopg.connect(database) as connection:
        found = connection.execute("""
            SELECT name, family || '_' || level, watermark = date_trunc('day', watermark, 'UTC'), relation IS NOT NULL
            FROM timeseries.materializations ORDER BY name
        """).fetchall()
    assert found == ([(name, name, True, True) for name in names] if server.kind is ServerKind.COMMUNITY else [])


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_an_aggregate_of_the_operator_is_one_without_a_family(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("""
            CREATE MATERIALIZED VIEW busiest WITH (timescaledb.continuous) AS
            SELECT public.time_bucket('1 day', "timestamp") AS day, max(occupied_count) FROM occupancy_events GROUP BY 1
            WITH NO DATA
        """)
        query = "SELECT family, hypertable_name IS NOT NULL FROM timeseries.materializations WHERE name = 'busiest'"
        assert connection.execute(query).fetchone() == (None, True)
    assert migrations.migrate(database) == revisions.head()
