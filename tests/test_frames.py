"""Rows come in the order that is promised, whatever the keys are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from analytics.frames import order_of

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
