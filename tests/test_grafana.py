"""Every query of the dashboards and alerts, taken from their files and run as the reader role on every kind of server.

What is in `${…}` is replaced as Grafana's frontend does it, macros as its PostgreSQL data source does (the behaviour is
that of its macros.go), and a panel gets the columns that its type needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import alerting
from grafana_foundation_sdk.models.dashboard import Dashboard
from granted import as_role, make_role
from psycopg.postgres import types

from timeseries import HealthLog, OccupancyEvent, ServerKind, Store
from timeseries.roles import grant
from timeseries.sample import LOTS, events

__all__ = ["make_role"]

FOLDER = Path(__file__).parent.parent / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "dashboards").glob("*.json"))}
RULES = yaml.safe_load((FOLDER / "provisioning/alerting/parking.yml").read_text())["groups"][0]["rules"]
(SOURCE,) = yaml.safe_load((FOLDER / "provisioning/datasources/timeseries.yml").read_text())["datasources"]
NOW = datetime.now(UTC).replace(microsecond=0)
RANGE = (NOW - timedelta(days=3), NOW)
NUMBERS = {types[name].oid for name in ("int2", "int4", "int8", "float4", "float8", "numeric")}
TEXTS = {types[name].oid for name in ("text", "varchar", "name")}
TIMES = {types[name].oid for name in ("timestamptz", "timestamp")}
MACRO = re.compile(r"\$(__[A-Za-z]+)\(([^)]*)\)")
VARIABLE = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$((?!__)\w+)")
# A panel may be empty where there is nothing to tell.
MAY_BE_EMPTY = {"Outages", "Silent for longer than ${silence}", "Background jobs"}


def formatted(value: str | list[str], how: str | None) -> str:
    """A template variable's value as Grafana writes it into a query."""
    values = value if isinstance(value, list) else [value]
    if how == "sqlstring":
        return ",".join("'" + v.replace("'", "''") + "'" for v in values)
    if how == "singlequote":
        return ",".join("'" + v.replace("'", "\\'") + "'" for v in values)
    assert how is None, f"format {how} is not known to this test"
    return values[0] if len(values) == 1 else "{" + ",".join(values) + "}"


def macro(name: str, arguments: list[str], seconds: int) -> str:
    start, end = (f"'{at.isoformat().replace('+00:00', 'Z')}'" for at in RANGE)
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


def expand(query: str, variables: dict[str, Any], seconds: int = 900) -> str:
    """The query that the server gets."""
    query = VARIABLE.sub(lambda m: formatted(variables[m[1] or m[3]], m[2]), query)
    query = query.replace("$__interval_ms", str(seconds * 1000)).replace("$__interval", f"{seconds}s")
    query = MACRO.sub(lambda m: macro(m[1], [part.strip() for part in m[2].split(",")], seconds), query)
    assert "$_" not in query
    return query


@pytest.fixture
def reader(store: Store, make_role: Callable[[str, str], str]) -> str:
    """The URL of a database with sample lots, one of them with a name that must be quoted, as a dashboard's role."""
    for lot in LOTS:
        store.cameras.add(lot.name, timezone=lot.timezone, capacity=lot.capacity, id=lot.id)
        store.record(events(lot, NOW - timedelta(days=5), NOW))
    store.cameras.add("O'Hare \\ roof")
    name = make_role(store.url, "reader")
    grant(store.url, readers=[name])
    return as_role(store.url, name)


def ask(url: str, query: str) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Types of the columns, and the rows, in a session whose zone is nobody's."""
    with psycopg.connect(url, options="-ctimezone=Pacific/Chatham") as connection:
        cursor = connection.execute(query)  # type: ignore[call-overload]
        columns = {column.name: column.type_code for column in cursor.description}
        return columns, [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def variables_of(dashboard: dict[str, Any], url: str) -> dict[str, Any]:
    """All values for a variable that takes several, the first for others."""
    found: dict[str, Any] = {}
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "custom":
            found[variable["name"]] = variable["current"]["value"]
            continue
        columns, rows = ask(url, expand(variable["query"], {}))
        assert columns.keys() == {"__text", "__value"}
        assert set(columns.values()) <= TEXTS
        assert len(rows) == len(LOTS) + 1
        values = [row["__value"] for row in rows]
        found[variable["name"]] = values if variable["multi"] else str(LOTS[0].id)
    return found


def names_used(panel: dict[str, Any]) -> set[str]:
    """Columns that overrides, transformations and options name."""
    names = {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"] if o["matcher"]["id"] == "byName"}
    matrix = set()
    for transformation in panel.get("transformations", []):
        assert transformation["id"] == "groupingToMatrix"
        options = transformation["options"]
        matrix |= {options["rowField"], options["columnField"], options["valueField"]}
        names.discard(f"{options['rowField']}\\{options['columnField']}")
    return names | matrix | ({panel["options"]["xField"]} if "xField" in panel["options"] else set())


def check_columns(panel: dict[str, Any], columns: dict[str, int], rows: list[dict[str, Any]]) -> None:
    kinds = set(columns.values())
    assert kinds <= NUMBERS | TEXTS | TIMES, "a type that Grafana does not draw"
    assert names_used(panel) <= columns.keys()
    assert rows or panel["title"] in MAY_BE_EMPTY
    if panel["targets"][0]["format"] == "time_series":
        assert columns["time"] in TIMES | NUMBERS
        assert columns.get("metric", next(iter(TEXTS))) in TEXTS
        assert {c for name, c in columns.items() if name not in ("time", "metric")} <= NUMBERS
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    if panel["type"] == "barchart":
        assert columns[panel["options"]["xField"]] in TEXTS
        assert kinds & NUMBERS
    if panel["type"] == "stat":
        assert len(rows) == 1


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_of_a_dashboard_gives_the_reader_what_its_panel_needs(reader: str, name: str) -> None:
    dashboard = DASHBOARDS[name]
    variables = variables_of(dashboard, reader)
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == SOURCE["uid"]
        (target,) = panel["targets"]
        check_columns(panel, *ask(reader, expand(target["rawSql"], variables)))


def rule_values(url: str, uid: str) -> dict[tuple[str, ...], float]:
    """What an alert looks at: one number for each set of labels."""
    (rule,) = (rule for rule in RULES if rule["uid"] == uid)
    columns, rows = ask(url, expand(rule["data"][0]["model"]["rawSql"], {}))
    assert set(columns.values()) <= NUMBERS | TEXTS
    (value,) = (name for name, kind in columns.items() if kind in NUMBERS)
    labels = [name for name, kind in columns.items() if kind in TEXTS]
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert label in labels
    assert all(row[value] is not None for row in rows)
    return {tuple(row[label] for label in labels): float(row[value]) for row in rows}


def test_every_alert_gives_one_number_for_each_set_of_labels(reader: str, store: Store) -> None:
    for rule in RULES:
        values = rule_values(reader, rule["uid"])
        assert values or (rule["uid"] == "job-failing" and store.server().kind is not ServerKind.COMMUNITY)


def test_alerts_fire_for_what_they_are_named_after(store: Store, reader: str) -> None:
    assert rule_values(reader, "camera-silent")[("North Lot",)] <= 0
    assert rule_values(reader, "camera-silent")[("O'Hare \\ roof",)] > 0
    store.cameras.update("O'Hare \\ roof", desired_state="stopped")
    assert ("O'Hare \\ roof",) not in rule_values(reader, "camera-silent")
    lot = store.cameras.get("North Lot")
    store.record([HealthLog(lot.id, NOW, "disconnected", "no route")])
    assert rule_values(reader, "camera-unhealthy")[("North Lot", "disconnected")] == 1
    assert rule_values(reader, "retention-failing")[("occupancy_events",)] <= 0
    store.record([OccupancyEvent(lot.id, NOW - timedelta(days=100), 1)])
    assert rule_values(reader, "retention-failing")[("occupancy_events",)] > 0


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_the_lag_of_aggregates_shrinks_with_a_refresh_and_a_failed_job_is_seen(store: Store, reader: str) -> None:
    lot = LOTS[0].id
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("DELETE FROM occupancy_events WHERE timestamp < now() - interval '4 days'")
        before = rule_values(reader, "aggregate-lag")[("occupancy_quarter_hourly",)]
        connection.execute("CALL refresh_continuous_aggregate('occupancy_quarter_hourly', NULL, NULL)")
        store.record([OccupancyEvent(lot, NOW, 1)])
        after = rule_values(reader, "aggregate-lag")[("occupancy_quarter_hourly",)]
        assert after <= before
        assert after <= 0
        rows = connection.execute("SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name IS NOT NULL")
        assert len(rule_values(reader, "job-failing")) == len(rows.fetchall())
        assert set(rule_values(reader, "job-failing").values()) == {0}


def test_weekday_and_hour_are_those_at_the_lot(store: Store, make_role: Callable[[str, str], str]) -> None:
    lot = store.cameras.add("Station Deck", timezone="Asia/Kolkata", capacity=100, hold=timedelta(hours=1))
    midnight = NOW.astimezone(lot.zone).replace(hour=0, minute=0, second=0) - timedelta(days=1)
    nine = midnight + timedelta(hours=9)
    store.record(
        [OccupancyEvent(lot.id, nine, 20), OccupancyEvent(lot.id, nine + timedelta(minutes=30), 60),
         OccupancyEvent(lot.id, nine + timedelta(hours=1), 0)]
    )  # fmt: skip
    name = make_role(store.url, "reader")
    grant(store.url, readers=[name])
    panels = {panel["title"]: panel for panel in DASHBOARDS["parking-lot"]["panels"]}

    def rows(title: str) -> list[dict[str, Any]]:
        query = expand(panels[title]["targets"][0]["rawSql"], {"lot": str(lot.id)})
        return ask(as_role(store.url, name), query)[1]

    day = nine.strftime("%a")
    cells = {
        (row["weekday"], row["hour"]): float(row["cars"]) for row in rows("Weekday by hour, local time: average cars")
    }
    assert cells == {(f"{nine.isoweekday()} {day}", "09"): 40, (f"{nine.isoweekday()} {day}", "10"): 0}
    (shares,) = rows("Share of places taken, by local day")
    assert shares == {"day": f"{nine:%Y-%m-%d} {day}", "taken": pytest.approx(0.2)}
    assert [row["hour"] for row in rows("Hours, local time")] == [f"{nine:%Y-%m-%d} {day} {h}:00" for h in ("10", "09")]


def keys(value: Any, path: str = "") -> Iterator[str]:
    """Every path in a JSON document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{path}.{key}"
            yield from keys(item, f"{path}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from keys(item, f"{path}[{position}]")


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafanas_own_model_of_a_dashboard_knows_every_key(name: str) -> None:
    register_default_plugins()
    dashboard = DASHBOARDS[name]
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
    # Targets belong to the data source, whose model is not among these.
    unknown = [key for key in keys(dashboard) if key not in set(keys(read)) and ".targets[" not in key]
    assert unknown == []


def test_dashboards_do_not_overlap_and_link_to_each_other() -> None:
    uids = [dashboard["uid"] for dashboard in DASHBOARDS.values()]
    assert uids == list(DASHBOARDS)
    for dashboard in DASHBOARDS.values():
        cells: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            box = panel["gridPos"]
            taken = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
            assert not cells & taken
            cells |= taken
        for uid in re.findall(r"/d/([a-z-]+)", json.dumps(dashboard)):
            assert uid in uids


def test_grafanas_own_model_of_an_alert_knows_every_key_and_its_panel_exists() -> None:
    own = {"dashboardUid", "panelId", "uid", "condition", "data", "labels", "annotations", "title", "for"}
    for rule in RULES:
        read = json.loads(JSONEncoder().encode(alerting.Rule.from_json(rule)))
        assert set(rule) - set(read) <= own
        assert rule["condition"] in [query["refId"] for query in rule["data"]]
        panels = {panel["id"]: panel for panel in DASHBOARDS[rule["dashboardUid"]]["panels"]}
        assert rule["panelId"] in panels
        assert {query["datasourceUid"] for query in rule["data"]} == {SOURCE["uid"], "__expr__"}
    assert len({rule["uid"] for rule in RULES}) == len(RULES)


def test_the_docs_name_every_dashboard_and_alert() -> None:
    page = (FOLDER.parent / "docs/grafana.md").read_text()
    for title in [*(dashboard["title"] for dashboard in DASHBOARDS.values()), *(rule["title"] for rule in RULES)]:
        assert f"| {title} |" in page


def test_the_data_source_and_the_folder_take_everything_from_the_environment() -> None:
    assert SOURCE["url"] == "${TIMESERIES_HOST}"
    assert SOURCE["secureJsonData"] == {"password": "${TIMESERIES_READER_PASSWORD}"}
    provider = yaml.safe_load((FOLDER / "provisioning/dashboards/timeseries.yml").read_text())["providers"][0]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"
