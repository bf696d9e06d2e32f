"""What a type checker and `help()` say of the answers. `make lint` holds the assertions of types."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import typing
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, assert_type

import pandas as pd
import pyarrow as pa
import pytest

import analytics
from analytics import aio, averages, health, weekdays
from analytics.query import CountedAnswer, FilledAnswer, RangeAnswer

ANSWERS = [getattr(analytics, name) for name in analytics.__all__ if name != "set_pool_size"]
PROTOCOLS: dict[Any, type] = {
    averages.quarter_hourly_averages: FilledAnswer, averages.hourly_averages: FilledAnswer,
    averages.daily_averages: FilledAnswer, weekdays.weekday_profile: FilledAnswer,
    averages.weekly_averages: FilledAnswer, averages.monthly_averages: FilledAnswer,
    averages.yearly_averages: FilledAnswer, averages.bucket_averages: averages.WidthAnswer,
    weekdays.weekday_averages: FilledAnswer, weekdays.peaks: weekdays.PeaksAnswer,
    health.uptime: CountedAnswer, health.states: RangeAnswer, health.outages: RangeAnswer,
}  # fmt: skip
WRONG = """
import analytics
from analytics import aio

analytics.hourly_averages("North Lot", as_arrow=True, fill="yes")
analytics.uptime(fill=True)
analytics.uptime(fill=True, as_arrow=True)
analytics.weekday_averages(number=3)
analytics.peaks(number="three", as_arrow=True)
analytics.bucket_averages("North Lot")
analytics.monthly_averages(hours=7)
analytics.uptime(weekdays=1.5, as_arrow=True)
analytics.states(hours=("07:00", "19:00"))
analytics.latest(start="2026-11-01")
analytics.time_above("North Lot", share="most")
analytics.time_above("North Lot", by="decade")
analytics.states(starts="2026-11-01")
_ = aio.states(starts="2026-11-01")
_ = aio.uptime(fill=True, as_arrow=True)
"""

if TYPE_CHECKING:
    assert_type(analytics.quarter_hourly_averages(), pd.DataFrame)
    assert_type(analytics.hourly_averages("North Lot", start="2026-11-01", fill=True), pd.DataFrame)
    assert_type(analytics.hourly_averages(as_arrow=False), pd.DataFrame)
    assert_type(analytics.hourly_averages(as_arrow=True, fill=True), pa.Table)
    assert_type(analytics.daily_averages(as_arrow=True), pa.Table)
    assert_type(analytics.weekday_averages(weekdays=["monday"], fill=True), pd.DataFrame)
    assert_type(analytics.weekday_averages(weekdays=1, as_arrow=True), pa.Table)
    assert_type(analytics.monthly_averages(hours=("07:00", "19:00"), without=["2026-12-25"]), pd.DataFrame)
    assert_type(analytics.bucket_averages(width="2h", as_arrow=True), pa.Table)
    assert_type(analytics.bucket_averages(width=timedelta(hours=2), fill=True), pd.DataFrame)
    assert_type(analytics.weekday_profile(), pd.DataFrame)
    assert_type(analytics.peaks(number=3), pd.DataFrame)
    assert_type(analytics.peaks(number=3, as_arrow=True), pa.Table)
    assert_type(analytics.uptime(dtype_backend="pyarrow", weekdays="monday"), pd.DataFrame)
    assert_type(analytics.states(as_arrow=True), pa.Table)
    assert_type(analytics.outages(), pd.DataFrame)
    assert_type(analytics.latest(), pd.DataFrame)
    assert_type(analytics.latest(as_arrow=True), pa.Table)
    assert_type(analytics.aggregate_rows("occupancy_hourly", summary=True), pd.DataFrame)
    assert_type(analytics.aggregate_rows("occupancy_hourly", as_arrow=True), pa.Table)
    assert_type(analytics.events(family="health"), Iterator[pd.DataFrame])
    assert_type(analytics.events(as_arrow=True), Iterator[pa.Table])
    assert_type(analytics.compare(before=(None, None), after=(None, None)), pd.DataFrame)
    assert_type(analytics.time_above("North Lot", share=0.85), pd.DataFrame)
    assert_type(analytics.time_above("North Lot", level=153, by="month", as_arrow=True), pa.Table)
    assert_type(analytics.expected("North Lot", "2026-11-01", "2026-11-02"), pd.DataFrame)
    assert_type(analytics.backtest("North Lot"), pd.DataFrame)


if TYPE_CHECKING:

    async def awaited() -> None:
        assert_type(await aio.hourly_averages("North Lot", start="2026-11-01", fill=True), pd.DataFrame)
        assert_type(await aio.weekday_averages(weekdays=1, as_arrow=True), pa.Table)
        assert_type(await aio.bucket_averages(width="2h"), pd.DataFrame)
        assert_type(await aio.peaks(number=3), pd.DataFrame)
        assert_type(await aio.uptime(as_arrow=False), pd.DataFrame)
        assert_type(await aio.latest(as_arrow=True), pa.Table)
        assert_type(await aio.aggregate_rows("occupancy_hourly", summary=True), pd.DataFrame)
        assert_type(await aio.compare(before=(None, None), after=(None, None)), pd.DataFrame)
        assert_type(await aio.time_above("North Lot", level=153, by="total"), pd.DataFrame)
        assert_type(await aio.expected("North Lot", width="quarter"), pd.DataFrame)
        assert_type(aio.events(family="health"), AsyncIterator[pd.DataFrame])


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_an_answer_is_there_for_asyncio_with_its_arguments_and_its_help(answer: Any) -> None:
    later = getattr(aio, answer.__name__)
    assert inspect.iscoroutinefunction(later) or inspect.isasyncgenfunction(later)
    assert inspect.signature(later) == inspect.signature(answer)
    assert inspect.getdoc(later) == inspect.getdoc(answer)


def test_a_type_checker_refuses_what_an_answer_does_not_take(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "wrong.py").write_text(WRONG)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "mypy", "--no-incremental", str(tmp_path / "wrong.py")]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True).stdout
    refused = {int(line) for line in re.findall(r"wrong\.py:(\d+): error", said)}
    assert refused == {number for number, line in enumerate(WRONG.splitlines(), 1) if "(" in line}, said


@pytest.mark.parametrize("answer", PROTOCOLS, ids=lambda answer: answer.__name__)
def test_an_answer_takes_what_its_protocol_says(answer: Any) -> None:
    protocol = PROTOCOLS[answer]
    name = SimpleNamespace(__module__=protocol.__module__, __qualname__=f"{protocol.__qualname__}.__call__")
    overloads = typing.get_overloads(name)  # type: ignore[arg-type]  # what stays as `__call__` knows neither
    assert len(overloads) == 2
    for overloaded in overloads:
        declared = {*inspect.signature(overloaded).parameters} - {"self", "asked"}
        options = typing.get_type_hints(overloaded)["asked"].__args__[0]
        assert declared | {*options.__annotations__} == {*inspect.signature(answer).parameters}


def test_an_unknown_argument_is_refused_by_the_name_of_the_answer() -> None:
    with pytest.raises(TypeError, match=r"^uptime\(\) got an unexpected keyword argument 'fill'"):
        analytics.uptime(fill=True)  # type: ignore[call-overload]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_the_help_of_an_answer_is_complete_in_itself(answer: Any) -> None:
    text = inspect.getdoc(answer) or ""
    described = re.findall(r"^    (\w+): ", text.partition("\n\nReturns:")[0], re.MULTILINE)
    assert sorted(described) == sorted(inspect.signature(answer).parameters)
    assert re.findall(r"^(\w+):$", text, re.MULTILINE) == ["Args", "Returns", "Raises"]
    assert not re.search(r"(those|else) (of )?`\w+_averages`", text)
    for name in ("UnknownCameraError", "InvalidInputError", "ServerUnavailableError", "NotMigratedError"):
        assert f"    {name}: " in text


@pytest.mark.parametrize("answer", PROTOCOLS, ids=lambda answer: answer.__name__)
def test_the_help_of_an_answer_names_the_columns_of_its_frame(answer: Any) -> None:
    spec = inspect.getclosurevars(answer).nonlocals["spec"]
    told = " ".join((inspect.getdoc(answer) or "").partition("Columns: ")[2].split())
    assert [name for name in spec.columns if not re.search(rf"\b{name}\b", told)] == []


def test_the_reference_shows_the_whole_docstrings() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/analytics.md").read_text()
    for answer in ANSWERS:
        assert f"::: analytics.{answer.__name__}\n    options: {{force_inspection: true}}\n" in page
