"""The commands that answer: what they print is JSON to every reader."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from analytics.cli import records
from tests.support.keys import SECRET_KEY
from timeseries import OccupancyEvent, Store
from timeseries.cli import main
from timeseries.cli.output import print_json


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def run(store: Store, *words: str) -> Any:
    runner = CliRunner(env={"TIMESERIES_DATABASE_URL": store.url, "TIMESERIES_SECRET_KEY": SECRET_KEY})
    result = runner.invoke(main, words)
    assert result.exit_code == 0 or words[0] == "status", result.output  # which asks for an operator
    return result.stdout


def test_a_lot_without_a_capacity_has_a_share_of_null(store: Store) -> None:
    camera = store.cameras.add("North Lot")
    store.record([OccupancyEvent(camera.id, datetime(2026, 8, 4, tzinfo=UTC), 3)])
    (row,) = strict(run(store, "weekday", "North Lot", "--start", "2026-08-04", "--end", "2026-08-05", "--json"))
    assert (row["occupied_share"], row["occupied_avg"], row["weekday"]) == (None, 3, 2)


def test_the_command_counts_the_hours_and_days_that_it_is_told(store: Store) -> None:
    camera = store.cameras.add("North Lot", timezone="Europe/Berlin")
    start = datetime(2026, 8, 3, tzinfo=UTC)  # a Monday
    store.record([OccupancyEvent(camera.id, start + timedelta(hours=i), i % 24) for i in range(7 * 24)])
    words = ["weekday", "North Lot", "--start", "2026-08-04", "--end", "2026-08-09", "--json"]
    chosen = ["--weekday", "tue", "--weekday", "wed", "--hours", "22:00-06:00", "--without", "2026-08-05"]
    (row,) = strict(run(store, *words, *chosen))
    assert (row["weekday"], row["samples"], row["coverage"]) == (2, 8, 1)
    (row,) = strict(run(store, *words, "--date", "2026-08-07"))
    assert row["weekday"] == 5


@pytest.mark.parametrize(
    "words", ["status", "camera list", "policy show", "key check", "key rotate", "jobs list", "prune"]
)
def test_what_else_is_for_programs_is_json_of_a_store_without_rows_and_with_some(store: Store, words: str) -> None:
    strict(run(store, *words.split(), "--json"))
    camera = store.cameras.add("North Lot")
    store.record([OccupancyEvent(camera.id, datetime(2026, 8, 4, tzinfo=UTC), 3)])
    strict(run(store, *words.split(), "--json"))


def test_an_export_for_programs_is_json(store: Store, tmp_path: Path) -> None:
    strict(run(store, "export", "occupancy_hourly", str(tmp_path / "hours.csv"), "--json"))


def test_what_is_missing_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame(
        {"a": [1.5, np.nan], "b": pd.array([1, None], "Int32"), "c": pd.to_datetime(["2026-08-04", None])}  # type: ignore[arg-type]
    )
    first, second = records(frame)
    assert (first["a"], first["b"], second) == (1.5, 1, {"a": None, "b": None, "c": None})
    print_json([float("nan"), float("inf"), pd.NaT, {"x": float("-inf")}, 0.5])
    assert strict(capsys.readouterr().out) == [None, None, None, {"x": None}, 0.5]


def test_what_is_expected_and_its_errors_are_json_and_tables(store: Store, tmp_path: Path) -> None:
    camera = store.cameras.add("North Lot", timezone="Europe/Berlin")
    start = datetime(2026, 7, 1, tzinfo=UTC)
    store.record([OccupancyEvent(camera.id, start + timedelta(hours=i), i % 24) for i in range(30 * 24)])
    asked = ("North Lot", "--start", "2026-07-29", "--end", "2026-07-30", "--holiday", "2026-07-03")
    picture = str(tmp_path / "expected.png")
    rows = strict(run(store, "expected", *asked, "--plot", picture, "--json"))
    assert len(rows) == 24
    assert rows[3]["expected"] == pytest.approx(rows[3]["occupied_avg"])
    assert Path(picture).stat().st_size > 0
    assert "90% are to lie within" in run(store, "expected", *asked)
    errors = strict(run(store, "backtest", "North Lot", "--end", "2026-07-30", "--json"))
    assert [row["horizon"] for row in errors] == [3600, 21600, 86400, 604800]
    assert all(row["mae"] == pytest.approx(0, abs=1e-9) for row in errors)
    assert "last week" in run(store, "backtest", "North Lot", "--end", "2026-07-30")
