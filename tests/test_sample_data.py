"""The sample data: what the demonstration feeds is all stored."""

from __future__ import annotations

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


def test_an_outage_at_the_end_has_not_ended() -> None:
    (station,) = (lot for lot in LOTS if lot.feed == "outages")
    last = [
        [event.status for event in events(station, END - timedelta(days=days), END) if isinstance(event, HealthLog)][-1]
        for days in range(1, 60)
    ]
    assert {"healthy", "disconnected"} == set(last)
