"""Rows come in the order that is promised, whatever the keys are; Polars reads them as they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
import numpy as np
import polars
import pytest
from hypothesis import given

import analytics
from analytics.frames import order_of
from timeseries import OccupancyEvent, Store

MICROSECONDS = int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()) * 10**6
KEYS = [
    ("cameras", st.integers(0, 500), np.int32),
    ("weekdays", st.integers(1, 7), np.int8),
    ("buckets", st.integers(0, 400_000).map(lambda quarter: quarter * 900 * 10**6), np.int64),
    ("moments", st.integers(-MICROSECONDS, MICROSECONDS), np.int64),
]


@given(st.data(), st.lists(st.sampled_from(KEYS), min_size=1, max_size=3), st.integers(0, 60))
def test_rows_come_in_the_order_of_their_keys(data: st.DataObject, kinds: list[Any], rows: int) -> None:
    keys = [
        np.array(data.draw(st.lists(values, min_size=rows, max_size=rows), label=name), dtype=kind)
        for name, values, kind in kinds
    ]
    order = order_of(keys)
    assert np.array_equal(np.arange(rows) if order is None else order, np.lexsort(keys[::-1]))


def test_polars_reads_a_table_with_its_values_and_its_zone(store: Store) -> None:
    start = datetime(2026, 10, 31, 22, tzinfo=UTC)
    lot = store.cameras.add("North Lot", timezone="America/New_York", capacity=8)
    store.record([OccupancyEvent(lot.id, start + timedelta(hours=i), i) for i in range(12)])
    asked = {"start": start, "end": start + timedelta(hours=12), "url": store.url}
    wanted = analytics.hourly_averages("North Lot", **asked)  # type: ignore[call-overload]
    found = polars.from_arrow(analytics.hourly_averages("North Lot", as_arrow=True, **asked))  # type: ignore[call-overload]
    assert isinstance(found, polars.DataFrame)
    assert found.schema["bucket"] == polars.Datetime("us", "America/New_York")
    assert [at.timestamp() for at in found["bucket"]] == [at.timestamp() for at in wanted.index]
    assert [at.utcoffset() for at in found["bucket"]] == [at.utcoffset() for at in wanted.index]
    assert found["camera"].to_list() == ["North Lot"] * 12
    assert found["occupied_avg"].to_list() == pytest.approx(list(range(12)), rel=1e-12)
    assert found["occupied_share"].to_list() == wanted["occupied_share"].tolist()
