"""The queries of the dashboards and alerts, as Grafana sends them to a server.

What is in `${…}` is replaced as Grafana's frontend does it, macros as its PostgreSQL data source does (the behaviour is
that of its macros.go).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.postgres import types

from tests.support.roles import as_role, make_role
from timeseries import Store
from timeseries.access.roles import grant
from timeseries.sample_data import LOTS, events

__all__ = ["make_role"]

FOLDER = Path(__file__).parents[2] / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
RULES = yaml.safe_load((FOLDER / "provisioning/alerting/parking.yml").read_text())["groups"][0]["rules"]
(SOURCE,) = yaml.safe_load((FOLDER / "provisioning/datasources/timeseries.yml").read_text())["datasources"]
NOW = datetime.now(UTC).replace(microsecond=0)
Range = tuple[datetime, datetime]
RANGE: Range = (NOW - timedelta(days=3), NOW)
NUMBERS = {types[name].oid for name in ("int2", "int4", "int8", "float4", "float8", "numeric")}
TEXTS = {types[name].oid for name in ("text", "varchar", "name")}
TIMES = {types[name].oid for name in ("timestamptz", "timestamp")}
MACRO = re.compile(r"\$(__[A-Za-z]+)\(([^)]*)\)")
VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$((?!__)\w+)")


def formatted(value: str | list[str], how: str | None) -> str:
    """A template variable's value as Grafana writes it into a query."""
    values = value if isinstance(value, list) else [value]
    if how == "sqlstring":
        return ",".join("'" + v.replace("'", "''") + "'" for v in values)
    if how == "singlequote":
        return ",".join("'" + v.replace("'", "\\'") + "'" for v in values)
    assert how is None, f"format {how} is not known to this test"
    return values[0] if len(values) == 1 else "{" + ",".join(values) + "}"


def macro(name: str, arguments: list[str], seconds: int, between: Range) -> str:
    start, end = (f"'{at.astimezone(UTC).isoformat().replace('+00:00', 'Z')}'" for at in between)
    if name == "__timeFilter":
        return f"{arguments[0]} BETWEEN {start} AND {end}"
    if name in ("__timeFrom", "__timeTo"):
        return start if name == "__timeFrom" else end
    assert name in ("__timeGroup", "__timeGroupAlias"), f"macro {name} is not known to this test"
    assert arguments[1].strip("'") == f"{seconds}s"
    if SOURCE["jsonData"]["timescaledb"]:
        group = f"time_bucket('{seconds:.3f}s',{arguments[0]})"
    else:
        group = f"floor(extract(epoch from {arguments[0]})/{seconds})*{seconds}"
    return group + (' AS "time"' if name.endswith("Alias") else "")


def expand(query: str, variables: dict[str, Any], between: Range = RANGE, seconds: int = 900) -> str:
    """The query that the server gets."""
    query = VARIABLE.sub(lambda m: formatted(variables[m[1] or m[3]], m[2]), query)
    query = query.replace("$__interval_ms", str(seconds * 1000)).replace("$__interval", f"{seconds}s")
    query = MACRO.sub(lambda m: macro(m[1], [part.strip() for part in m[2].split(",")], seconds, between), query)
    assert "$_" not in query
    return query


@pytest.fixture
def reader(store: Store, make_role: Callable[[str, str], str]) -> str:
    """The URL of a store as a dashboard's role."""
    name = make_role(store.url, "reader")
    grant(store.url, readers=[name])
    return as_role(store.url, name)


@pytest.fixture
def sample(store: Store, reader: str) -> str:
    """The same of one with sample lots, a lot with a name that must be quoted, and a group of two."""
    for lot in LOTS:
        store.cameras.add(lot.name, timezone=lot.timezone, capacity=lot.capacity, id=lot.id)
        store.record(events(lot, NOW - timedelta(days=5), NOW))
    store.cameras.add("O'Hare \\ roof")
    store.groups.add("North and South", [lot.id for lot in LOTS[:2]], timezone="Europe/Berlin")
    return reader


def ask(url: str, query: str) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Types of the columns, and the rows, in a session whose zone is nobody's."""
    with psycopg.connect(url, options="-ctimezone=Pacific/Chatham") as connection:
        cursor = connection.execute(query)
        columns = {column.name: column.type_code for column in cursor.description}
        return columns, [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def panel_rows(
    url: str, dashboard: str, title: str, variables: dict[str, Any], between: Range = RANGE
) -> list[dict[str, Any]]:
    """The rows that a panel shows of a range."""
    (panel,) = (panel for panel in DASHBOARDS[dashboard]["panels"] if panel["title"] == title)
    return ask(url, expand(panel["targets"][0]["rawSql"], variables, between))[1]
