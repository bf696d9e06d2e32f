"""The capacity of a camera over time: today's is its column, what it was before stays."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from timeseries import Camera, Capacity, InvalidInputError, Store

APRIL, MAY, JUNE = (datetime(2026, month, 1, tzinfo=UTC) for month in (4, 5, 6))


@pytest.fixture
def lot(store: Store) -> Camera:
    return store.cameras.add("North Lot", capacity=100, timezone="Europe/Berlin")


def spans(camera: Camera) -> list[tuple[datetime | None, int | None]]:
    return [(one.since, one.capacity) for one in camera.capacities]


def test_a_new_camera_has_had_its_capacity_always(lot: Camera) -> None:
    assert lot.capacities == (Capacity(None, 100),)


def test_a_capacity_since_a_moment_leaves_what_it_was_before(store: Store, lot: Camera) -> None:
    changed = store.cameras.update(lot, capacity=120, since=MAY)
    assert (changed.capacity, spans(changed)) == (120, [(None, 100), (MAY, 120)])
    assert spans(store.cameras.get(lot)) == [(None, 100), (MAY, 120)]


def test_a_change_of_the_past_holds_until_the_next_one(store: Store, lot: Camera) -> None:
    store.cameras.update(lot, capacity=120, since=JUNE)
    changed = store.cameras.update(lot, capacity=90, since=APRIL)
    assert (changed.capacity, spans(changed)) == (120, [(None, 100), (APRIL, 90), (JUNE, 120)])
    assert spans(store.cameras.update(lot, capacity=80, since=MAY)) == [
        (None, 100), (APRIL, 90), (MAY, 80), (JUNE, 120)
    ]  # fmt: skip


def test_the_capacity_of_before_takes_a_change_back(store: Store, lot: Camera) -> None:
    store.cameras.update(lot, capacity=120, since=MAY)
    store.cameras.update(lot, capacity=None, since=JUNE)
    assert spans(store.cameras.update(lot, capacity=120, since=JUNE)) == [(None, 100), (MAY, 120)]
    assert spans(store.cameras.update(lot, capacity=100, since=MAY)) == [(None, 100)]


def test_without_since_the_capacity_that_holds_today_is_corrected(store: Store, lot: Camera) -> None:
    store.cameras.update(lot, capacity=120, since=MAY)
    assert spans(store.cameras.update(lot, capacity=125)) == [(None, 100), (MAY, 125)]


def test_a_date_is_the_midnight_at_the_lot(store: Store, lot: Camera) -> None:
    changed = store.cameras.update(lot, capacity=120, since=date(2026, 5, 1))
    assert changed.capacities[-1].since == datetime(2026, 4, 30, 22, tzinfo=UTC)


def test_changes_of_capacity_are_in_the_history_of_the_camera(store: Store, lot: Camera) -> None:
    store.cameras.update(lot, capacity=120, since=MAY, by="Ada")
    change = store.cameras.history(lot)[-1]
    assert (change.changed, change.changed_by, change.revision) == (("capacity", "past_capacities"), "Ada", 2)
    assert change.new is not None
    assert spans(change.new) == [(None, 100), (MAY, 120)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"capacity": 120, "since": MAY + timedelta(minutes=1)}, "since .* is not on a quarter of an hour"),
        ({"capacity": 120, "since": datetime(2026, 5, 1)}, "naive"),  # noqa: DTZ001 - on purpose
        ({"capacity": 120, "since": "2199-01-01T00:00Z"}, "lies ahead"),
        ({"capacity": 0, "since": MAY}, "capacity 0"),
        ({"hold": timedelta(hours=1), "since": MAY}, "since goes with capacity"),
        ({"past_capacities": [{"until": MAY, "capacity": 1}, {"until": APRIL, "capacity": 2}]}, "oldest first"),
        ({"past_capacities": [{"until": MAY}]}, "until and capacity"),
        ({"past_capacities": [{"until": MAY, "capacity": -1}]}, "capacity -1"),
        ({"past_capacities": 7}, "not a list"),
    ],
)
def test_a_capacity_that_no_lot_has_is_refused_with_the_remedy(
    store: Store, lot: Camera, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        store.cameras.update(lot, **changes)
    assert store.cameras.get(lot) == lot


@pytest.mark.parametrize(
    "past",
    [
        '{"until": "2026-05-01T00:00:00Z", "capacity": 1}',
        '[{"until": "2026-05-01T00:10:00Z", "capacity": 1}]',
        '[{"until": "2026-05-01T00:00:00+01:00", "capacity": 1}]',
        '[{"until": "2026-05-01T00:00:00Z", "capacity": 0}]',
        '[{"until": "2026-05-01T00:00:00Z"}]',
        '[{"until": "2026-05-01T00:00:00Z", "capacity": 1}, {"until": "2026-05-01T00:00:00Z", "capacity": 2}]',
    ],
)
def test_the_database_refuses_what_is_no_list_of_past_capacities(store: Store, lot: Camera, past: str) -> None:
    with store.pool.connection() as connection, pytest.raises(psycopg.errors.CheckViolation, match="past_capacities"):
        connection.execute("UPDATE cameras SET past_capacities = %s WHERE id = %s", [past, lot.id])


def test_a_camera_is_brought_in_with_its_past_capacities(store: Store) -> None:
    past = [{"until": "2026-05-01T02:00:00+02:00", "capacity": None}]
    assert spans(store.cameras.add("South Lot", capacity=50, past_capacities=past)) == [(None, None), (MAY, 50)]
