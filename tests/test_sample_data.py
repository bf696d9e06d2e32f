"""The sample data: what the demonstration feeds is all stored."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from timeseries.model.events import HealthLog
from timeseries.sample_data import LOTS, SampleLot, events

END = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.mark.parametrize("lot", LOTS, ids=lambda lot: lot.name)
def test_no_event_lies_outside_of_its_range(lot: SampleLot) -> None:
    for days in range(1, 60):
        start = END - timedelta(days=days)
        assert all(start <= event.timestamp < END for event in events(lot, start, END))


@pytest.mark.parametrize("lot", LOTS, ids=lambda lot: lot.name)
def test_no_lot_is_silent_at_the_end(lot: SampleLot) -> None:
    for days, hours in itertools.product(range(1, 130, 26), (0, 1, 7, 13, 23)):
        end = END + timedelta(hours=hours, minutes=17)
        found = list(events(lot, END - timedelta(days=days), end))
        last, logs = found[-1], [event for event in found if isinstance(event, HealthLog)]
        assert last.timestamp > end - timedelta(hours=6)
        assert max(logs, key=lambda log: log.timestamp).status == "healthy"
