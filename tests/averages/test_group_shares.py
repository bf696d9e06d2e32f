"""The share of a group whose members and capacities change, against brute force, before and after retention."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

import analytics
from tests.support import brute_force
from tests.support.brute_force import QUARTER, Member
from timeseries import OccupancyEvent, Store

START = datetime(2026, 3, 27, 23, tzinfo=UTC)
END = START + 300 * QUARTER
UNKNOWN_FROM = START + 230 * QUARTER
ZONE = ZoneInfo("Europe/Berlin")
ANSWERS: list[tuple[Callable[..., pd.DataFrame], Callable[[datetime, ZoneInfo], Hashable]]] = [
    (analytics.quarter_hourly_averages, lambda quarter, zone: quarter),
    (analytics.hourly_averages, brute_force.hour_label),
    (analytics.daily_averages, brute_force.day_label),
    (analytics.weekday_averages, brute_force.weekday_label),
    (analytics.weekday_profile, brute_force.profile_label),
]


class Gate(NamedTuple):
    """A member, its first capacity, and since when it has 20 more."""

    member: Member
    capacity: int
    since: datetime

    def at(self, quarter: datetime) -> int:
        return self.capacity + 20 * (quarter >= self.since)

    def is_there(self, quarter: datetime) -> bool:
        since, until = self.member.since, self.member.until
        return (since is None or since <= quarter) and (until is None or quarter < until)


def add_gate(store: Store, number: int, since: int | None, until: int | None) -> Gate:
    chance = random.Random(number)
    camera = store.cameras.add(f"gate {number}", capacity=50 + number)
    counts = [(START + timedelta(minutes=13 * i, seconds=number), chance.randrange(50)) for i in range(350)]
    store.record([OccupancyEvent(camera.id, at, count) for at, count in counts])
    joined, left = (None if bound is None else START + bound * QUARTER for bound in (since, until))
    store.groups.join("Lot", camera, since=joined, until=left)
    changes = START + (40 * number + 70) * QUARTER
    store.cameras.update(camera, capacity=70 + number, since=changes)
    return Gate(Member(counts, camera.hold, joined, left), 50 + number, changes)


def capacity(gates: list[Gate], quarter: datetime) -> int | None:
    return None if quarter >= UNKNOWN_FROM else sum(gate.at(quarter) for gate in gates if gate.is_there(quarter))


def key(row: Any, label: Callable[[datetime, ZoneInfo], Hashable]) -> Hashable:
    if hasattr(row, "hour"):
        return row.weekday, row.hour
    if hasattr(row, "weekday"):
        return int(row.weekday)
    return label(max(row.bucket.to_pydatetime(), START).astimezone(UTC), ZONE)


def check(store: Store, gates: list[Gate]) -> None:
    grid = brute_force.quarters(START, END)
    for answer, label in ANSWERS:
        wanted: dict[Hashable, list[float]] = {}
        known = brute_force.group_answer([gate.member for gate in gates], start=START, end=END, labels=[*grid])
        for quarter in grid:
            total, found = capacity(gates, quarter), wanted.setdefault(label(quarter, ZONE), [0, 0])
            if total:
                found[0] += known[quarter].car_seconds / total
                found[1] += known[quarter].counted_seconds
        rows = answer("Lot", start=START, end=END, url=store.url, fill=True).reset_index().itertuples()
        shares: dict[Any, Any] = {key(row, label): row.occupied_share for row in rows}
        assert {*wanted} <= {*shares}
        for name, (integral, seconds) in wanted.items():
            if seconds:
                assert shares[name] == pytest.approx(integral / seconds, rel=1e-9)
            else:
                assert np.isnan(shares[name])


def test_the_share_of_a_group_is_of_the_capacities_that_its_members_had(store: Store) -> None:
    store.groups.add("Lot", timezone=ZONE.key)
    gates = [add_gate(store, *span) for span in ((0, None, None), (1, 20, 200), (2, 90, None))]
    store.cameras.update("gate 0", capacity=None, since=UNKNOWN_FROM)
    check(store, gates)
    store.prune()
    check(store, gates)
