"""The files of Grafana, and every query of the dashboards: run as the reader role on every kind of server, it gives a
panel the columns that its type needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import alerting
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.grafana_queries import (
    DASHBOARDS,
    FOLDER,
    NOW,
    NUMBERS,
    RULES,
    SOURCE,
    TEXTS,
    TIMES,
    ask,
    expand,
    make_role,
    reader,
    sample,
)
from timeseries import Store
from timeseries.sample_data import LOTS

__all__ = ["make_role", "reader", "sample"]

# A panel may be empty where there is nothing to tell.
MAY_BE_EMPTY = {"Outages", "Silent for longer than ${silence}", "Background jobs"}


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
        values = [row["__value"] for row in rows]
        assert len(rows) == (1 if variable["name"] == "group" else len(LOTS) + 1)
        one = values[0] if variable["name"] == "group" else str(LOTS[0].id)
        found[variable["name"]] = values if variable["multi"] else one
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
def test_every_query_of_a_dashboard_gives_the_reader_what_its_panel_needs(sample: str, name: str) -> None:
    dashboard = DASHBOARDS[name]
    variables = variables_of(dashboard, sample)
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == SOURCE["uid"]
        (target,) = panel["targets"]
        check_columns(panel, *ask(sample, expand(target["rawSql"], variables)))


def test_periods_are_annotations_of_their_lot(sample: str, store: Store) -> None:
    (annotation,) = DASHBOARDS["parking-lot"]["annotations"]["list"]
    assert annotation["datasource"]["uid"] == SOURCE["uid"]
    start = NOW.replace(minute=0, second=0) - timedelta(hours=9)
    store.periods.add(LOTS[0].id, start, start + timedelta(hours=2), "wrong", "knocked over")
    store.periods.add(LOTS[0].id, start + timedelta(hours=3), None, "closed")
    store.periods.add(LOTS[1].id, start, None, "note")
    columns, rows = ask(sample, expand(annotation["target"]["rawSql"], {"lot": str(LOTS[0].id)}))
    assert {columns["time"], columns["timeend"]} <= TIMES
    assert {columns["text"], columns["tags"]} <= TEXTS
    assert [(row["text"], row["tags"]) for row in rows] == [("knocked over", "wrong"), ("", "closed")]


def test_periods_of_members_are_annotations_of_their_group(sample: str, store: Store) -> None:
    (annotation,) = DASHBOARDS["parking-group"]["annotations"]["list"]
    group = store.groups.get("North and South")
    quarter = NOW.replace(minute=0, second=0) - timedelta(hours=9)
    store.groups.leave(group, LOTS[0].id, at=quarter)
    store.periods.add(LOTS[0].id, quarter - timedelta(hours=2), quarter + timedelta(hours=2), "wrong", "knocked over")
    store.periods.add(LOTS[0].id, quarter, None, "closed", "no member any more")
    store.periods.add(LOTS[1].id, quarter, None, "note")
    store.periods.add(LOTS[2].id, quarter, None, "note", "of no member")
    columns, rows = ask(sample, expand(annotation["target"]["rawSql"], {"group": str(group.id)}))
    assert {columns["time"], columns["timeend"]} <= TIMES
    assert {columns["text"], columns["tags"]} <= TEXTS
    assert [(row["text"], row["tags"]) for row in rows] == [
        ("North Lot: knocked over", "wrong"), ("Harbour Garage", "note")
    ]  # fmt: skip


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
    unknown = [key for key in keys(dashboard) if key not in set(keys(read)) and not re.search(r"\.targets?\b", key)]
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
