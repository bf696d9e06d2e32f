"""Answers from a standby: the same as from the primary, through a URL with both hosts, as the reader role."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

import analytics
from analytics import arrow_client
from tests.support.clusters import Cluster
from tests.support.faults import opened, series
from tests.support.servers import RunningServer
from tests.support.standby import primary_and_standby, wait_for_standby
from timeseries import Store
from timeseries.access.roles import grant

Pair = tuple[Cluster, Cluster]


@pytest.fixture
def pair(server: RunningServer) -> Iterator[Pair]:
    """A primary and its standby."""
    with primary_and_standby(server) as both:
        yield both


def test_notebooks_read_from_the_standby_and_from_the_primary_while_there_is_none(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = pair
    both = "postgresql://reader:secret@" + primary.url(beside=standby).split("@")[1]
    monkeypatch.setenv("TIMESERIES_DATABASE_URL", primary.url())
    monkeypatch.setenv("TIMESERIES_READ_URL", both)
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'")
    grant(primary.url(), readers=["reader"])
    with opened(primary.url()) as store:
        lot = store.cameras.add("North Lot", timezone="Europe/Berlin")
        store.record(series(lot.id, 3000, datetime.now(UTC) - timedelta(days=30)))
    wait_for_standby(primary, standby)

    def on_standby() -> bool:
        return bool(arrow_client.fetch("SELECT pg_is_in_recovery() AS r", {}).to_pylist()[0]["r"])

    there = analytics.weekday_averages("North Lot")
    assert on_standby()
    assert there["samples"].sum() == 3000
    assert there.equals(analytics.weekday_averages("North Lot", url=primary.url()))
    standby.stop()
    assert analytics.weekday_averages("North Lot").equals(there)
    assert not on_standby()
    arrow_client.close(both)
    arrow_client.close(primary.url())


def test_a_store_writes_to_the_primary_whatever_the_order_of_the_hosts(pair: Pair) -> None:
    primary, standby = pair
    with Store.open(standby.url(beside=primary)) as store:
        lot = store.cameras.add("North Lot")
        assert store.record(series(lot.id, 10)).inserted == 10
    wait_for_standby(primary, standby)
    with psycopg.connect(standby.url()) as connection:
        assert connection.execute("SELECT count(*) FROM public.occupancy_events").fetchone() == (10,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM public.occupancy_events")
