"""Promotion: a database whose server has been given TimescaleDB, or its Community licence, since it was built gets what
the migrations would have made there, with all rows and averages.

It always leads to the newest revision, and so it is not frozen: a revision that changes what the kinds of server
differ in changes it here. `timeseries migrate` runs the steps in order, after the revisions. Each is done wholly or not
at all, can be interrupted, and does nothing where nothing is to be done.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alembic.util import load_python_file

FOLDER = Path(__file__).parents[1]
sql = load_python_file(str(FOLDER), "sql_files.py")
aggregates = load_python_file(str(FOLDER / "versions"), "0002_aggregates.py")
MIDNIGHT = aggregates.MIDNIGHT
FAMILIES = aggregates.FAMILIES
COARSE = [f"{family}_{level}" for family in FAMILIES for level in ("hourly", "weekday")]
log = logging.getLogger("timeseries.migrations")


def make_hypertables() -> None:
    """Tables become hypertables on a server that has TimescaleDB."""
    if sql.built_for() != "postgresql":
        return
    sql.run("versions/0001/extension.sql")
    if sql.run("versions/0001/server_kind.sql").scalar() != "postgresql":
        log.info("occupancy_events and health_logs become hypertables")
        sql.run("versions/0001/hypertables.sql")
        sql.run("versions/0001/built_for.sql", kind="apache")


def make_continuous_aggregates() -> None:
    """Views become continuous aggregates on a Community server. Whoever stores late events, or prunes, is told to try
    again meanwhile.
    """
    if sql.built_for() != "apache" or sql.run("versions/0001/server_kind.sql").scalar() != "community":
        return
    sql.run("promotion/refuse_late.sql")
    rights = sql.run("promotion/rights.sql").fetchall()
    if not materialized():
        replace_views()
        give(rights)
    sql.run("versions/0002/continuous/seed.sql")
    since = {family: sql.run("promotion/since.sql", relation=relation_of(family)).scalar() for family in FAMILIES}
    for family, start in since.items():
        aggregates.refresh([f"{family}_quarter_hourly"], f"'{start}'" if start else "NULL")
    for name in COARSE:
        refill(name)
    aggregates.refresh(COARSE, f"{MIDNIGHT} - interval '24 hours'")
    sql.run("versions/0002/continuous/unseed.sql")
    finish(rights)


STEPS = (make_hypertables, make_continuous_aggregates)


def materialized() -> dict[str, Any]:
    """Of each continuous aggregate the hypertable that keeps it and the view that computes it."""
    found = sql.execute("""
        SELECT name, relation::text, definition::text FROM timeseries.materializations WHERE family IS NOT NULL
    """)
    return {name: (relation, definition) for name, relation, definition in found.fetchall()}


def relation_of(family: str) -> str:
    return str(materialized()[f"{family}_quarter_hourly"][0])


def replace_views() -> None:
    """The continuous aggregates in place of the views, and in them the quarters: kept ones are copied, because their
    raw rows are gone, and the others are computed.
    """
    sql.run("promotion/drop_views.sql")
    sql.run("versions/0002/continuous/catalog.sql")
    aggregates.create_continuous_aggregates()
    sql.run("versions/0002/continuous/final_quarters.sql")
    for family in FAMILIES:
        log.info("%s_quarter_hourly: the quarters that were kept", family)
        sql.execute(f"INSERT INTO {relation_of(family)} SELECT * FROM timeseries.{family}_kept")
        events = sql.blocks("versions/0002/aggregates.sql")[f"{family}.events"]
        compute(f"{family}_quarter_hourly", f"public.{events}", '"timestamp"')


def refill(name: str) -> None:
    """Hours or days once more: an interrupted promotion may have left some of them."""
    sql.execute(f"DELETE FROM {materialized()[name][0]} WHERE bucket < {MIDNIGHT}")
    compute(name, f"public.{name.partition('_')[0]}_quarter_hourly", "bucket")


def compute(name: str, source: str, moment: str) -> None:
    """Materialize what lies before midnight UTC."""
    relation, definition = materialized()[name]
    for start, end in sql.run("promotion/steps.sql", source=source, moment=moment).fetchall():
        log.info("%s: from %s", name, start)
        sql.execute(f"""
            INSERT INTO {relation} SELECT * FROM {definition} WHERE bucket >= '{start}' AND bucket < '{end}'
        """)


def finish(rights: Iterable[tuple[str, bool, str]]) -> None:
    sql.run("promotion/finish.sql")
    aggregates.create_late_functions()
    sql.run("versions/0002/continuous/import_quarters.sql")
    sql.run("versions/0003/continuous/stored.sql")
    give(rights)
    sql.run("versions/0002/continuous/policies.sql")
    sql.run("versions/0001/built_for.sql", kind="community")


def give(rights: Iterable[tuple[str, bool, str]]) -> None:
    """Rights on what promotion has made anew, as they were on what it replaced."""
    for name, is_routine, statements in rights:
        if sql.execute(f"SELECT to_reg{'procedure' if is_routine else 'class'}('{name}')").scalar() is not None:
            sql.execute(statements)
