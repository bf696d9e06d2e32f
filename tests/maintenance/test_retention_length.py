"""How long raw rows are kept: one length for all processes, which the database records."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from click.testing import CliRunner

from tests.support.retention import DAY, WITHOUT_POLICIES, record
from tests.support.roles import make_role, reader
from timeseries import InvalidInputError, ServerKind, Store
from timeseries.cli.main import main
from timeseries.monitoring.status import read_status
from timeseries.settings import Settings

__all__ = ["make_role", "reader"]


@WITHOUT_POLICIES
def test_of_two_settings_the_longer_one_rules_until_a_command_says_otherwise(store: Store, reader: str) -> None:
    def kept(keep: timedelta | None) -> timedelta:
        with Store.open(store.url, settings=Settings(keep=keep)):
            pass
        with psycopg.connect(reader) as connection:
            found = {row[0] for row in connection.execute("SELECT keep FROM store_tables()").fetchall()}
        assert found == {record(store.url).keep, read_status(store.pool).retention.keep}
        return record(store.url).keep

    assert [kept(keep) for keep in (None, 30 * DAY, 180 * DAY, 30 * DAY, None)] == [
        90 * DAY, 30 * DAY, 180 * DAY, 180 * DAY, 180 * DAY
    ]  # fmt: skip
    (problem,) = read_status(store.pool, 30 * DAY).problems
    assert "TIMESERIES_KEEP is 30 days here, but the database keeps raw rows for 180 days" in problem
    with Store.open(store.url, settings=Settings(keep=30 * DAY)) as operator:
        operator.prune()
    assert kept(None) == 30 * DAY
    store.prune(timedelta(days=40))
    assert kept(None) == 40 * DAY
    with pytest.raises(InvalidInputError, match="1 hour only: the shortest retention is 2 days"):
        Store.open(store.url, settings=Settings(keep=timedelta(hours=1)))


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_an_explicit_length_is_refused_where_policies_rule(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="timeseries policy set occupancy_events --drop-after '10 days'"):
        store.prune(10 * DAY)
    refused = CliRunner().invoke(main, ["--database-url", store.url, "prune", "--keep", "10 days"])
    assert refused.exit_code == 1
    with Store.open(store.url, settings=Settings(keep=10 * DAY)) as other:
        assert other.prune().removed == 0
    found = read_status(store.pool, 10 * DAY)
    assert (found.retention.by, found.problems) == ("policy", ())
