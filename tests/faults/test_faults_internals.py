"""An update of TimescaleDB under which its private catalog is no longer what the store knows."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

import analytics
from tests.support.faults import opened
from tests.support.histories import assert_averages
from timeseries import ConfigurationError, NotMigratedError, OccupancyEvent, ServerKind, Store
from timeseries.database.connections import connected
from timeseries.database.internals import find_wrong_internals
from timeseries.schema import migrations

pytestmark = pytest.mark.kinds(ServerKind.COMMUNITY)
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
RENAME = "ALTER TABLE _timescaledb_catalog.{table} RENAME COLUMN {old} TO {new}"
RENAMED = [
    ("continuous_aggs_watermark", "watermark", "mark"),
    ("continuous_agg", "partial_view_name", "definition_name"),
    ("continuous_agg", "mat_hypertable_id", "materialization_id"),
]


def events_since(store: Store, start: datetime, number: int = 200) -> list[OccupancyEvent]:
    camera = store.cameras.list()[0].id
    return [OccupancyEvent(camera, start + timedelta(minutes=7 * i, seconds=1), i % 40) for i in range(number)]


def rename(url: str, table: str, old: str, new: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(RENAME.format(table=table, old=old, new=new))


def test_all_is_well_on_this_release(store: Store) -> None:
    with connected(store.pool) as connection:
        assert find_wrong_internals(connection, store.server()) is None


@pytest.mark.parametrize("renamed", RENAMED, ids=str)
def test_a_changed_catalog_is_named_by_whoever_opens_asks_or_migrates(
    store: Store, renamed: tuple[str, str, str], caplog: pytest.LogCaptureFixture
) -> None:
    store.cameras.add("lot")
    rename(store.url, *renamed)
    with caplog.at_level(logging.WARNING), opened(store.url) as other:
        (problem, *_) = other.status().problems
    assert "keeps its continuous aggregates in another way" in problem
    assert f"{renamed[1]} does not exist" in problem
    assert problem in caplog.messages
    with pytest.raises(ConfigurationError, match="in another way"):
        migrations.migrate(store.url)
    with pytest.raises(NotMigratedError, match="run: timeseries migrate"):
        analytics.weekday_averages("lot", url=store.url)


def test_events_are_stored_nevertheless_and_the_native_refresh_averages_them(store: Store) -> None:
    store.cameras.add("lot")
    before = events_since(store, NOW - 20 * DAY)
    assert store.record(before).inserted == len(before)
    rename(store.url, *RENAMED[0])
    late, new, old = (events_since(store, NOW - days * DAY + timedelta(seconds=9)) for days in (20, 1, 95))
    result = store.record([*late, *new, *old])
    assert (result.inserted, len(result.rejected)) == (400, 200)
    assert "too old for the refresh policies" in result.rejected[0].reason
    assert store.record(late).duplicates == 200
    with psycopg.connect(store.url, autocommit=True) as connection:
        for name in ("occupancy_quarter_hourly", "occupancy_hourly", "occupancy_weekday"):
            connection.execute(f"CALL refresh_continuous_aggregate('{name}', now() - interval '80 days', now())")
    rename(store.url, "continuous_aggs_watermark", "mark", "watermark")
    assert_averages(store, [*before, *late, *new], NOW - 21 * DAY, NOW)


def test_other_columns_than_those_that_are_computed_are_never_written(store: Store) -> None:
    store.cameras.add("lot")
    with psycopg.connect(store.url) as connection:
        (text,) = connection.execute("SELECT pg_get_functiondef('timeseries.read_catalog'::regproc)").fetchone() or (
            "",
        )
        connection.execute(text.replace("a.partial_view_schema::text, a.partial_view_name", "'public', 'cameras'"))
    (problem, *_) = store.status().problems
    assert "occupancy_hourly has other columns than what computes it" in problem
    assert store.record(events_since(store, NOW - 20 * DAY)).inserted == 200
