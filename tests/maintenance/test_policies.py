"""Policies: shown as the jobs have them, never set to contradict each other, audited where somebody else set them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers import RunningServer, require_idle_jobs
from timeseries import InvalidInputError, ServerKind, Store
from timeseries.database.connections import connected
from timeseries.maintenance import jobs
from timeseries.maintenance.policy_rules import RelationPolicies, contradictions
from timeseries.model.relations import AGGREGATES, RAW_TABLES, RELATIONS
from timeseries.monitoring.status import read_status

COMMUNITY = pytest.mark.kinds(ServerKind.COMMUNITY)
DAY = timedelta(days=1)


def alter(store: Store, relation: str, job: str, change: str) -> None:
    """What an operator does behind our back."""
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(
            f"""
            SELECT alter_job(j.job_id, {change})
            FROM timescaledb_information.jobs AS j
            LEFT JOIN timescaledb_information.continuous_aggregates AS a
                ON a.materialization_hypertable_name = j.hypertable_name
            WHERE coalesce(a.view_name, j.hypertable_name) = %s AND j.proc_name = %s
            """,
            [relation, job],
        )


@COMMUNITY
def test_the_policies_of_a_fresh_database_keep_raw_rows_for_90_days_and_averages_for_good(store: Store) -> None:
    policies = {policy.relation: policy for policy in store.policies.list()}
    assert tuple(policies) == RELATIONS
    assert {policies[name].drop_after for name in RAW_TABLES} == {timedelta(days=90)}
    assert {policies[name].drop_after for name in AGGREGATES} == {None}
    assert all(policies[name].schedule_interval for name in AGGREGATES)
    assert read_status(store.pool).problems == ()


@COMMUNITY
def test_a_policy_that_was_set_is_the_one_that_the_jobs_have(store: Store) -> None:
    after = store.policies.set("occupancy_events", drop_after="120 days", columnstore_after=timedelta(days=3))
    assert (after.drop_after, after.columnstore_after) == (120 * DAY, 3 * DAY)
    changed = store.policies.set("occupancy_hourly", start_offset="2 days", schedule_interval="10 minutes")
    assert {after, changed} <= set(store.policies.list())
    assert store.policies.set("occupancy_events", columnstore_after=None).columnstore_after is None
    assert read_status(store.pool).problems == ()


@COMMUNITY
@pytest.mark.parametrize(
    ("relation", "settings", "message"),
    [
        ("occupancy_quarter_hourly", {"start_offset": "120 days", "columnstore_after": None},
         "start_offset 120 days + bucket 15 minutes + chunk 1 day = 121 days 15 minutes exceeds drop_after 90 days"),
        ("health_logs", {"drop_after": "4 days", "columnstore_after": "2 days"}, "exceeds drop_after 4 days"),
        ("occupancy_hourly", {"start_offset": "3 hours"}, "= 1 hour is less than two buckets, 2 hours"),
        ("occupancy_weekday", {"end_offset": "87 days"}, "is less than two buckets"),
        ("occupancy_events", {"columnstore_after": "90 days"}, "is not before drop_after 90 days"),
        ("occupancy_hourly", {"columnstore_after": "2 days"}, "each refresh would decompress"),
        ("occupancy_quarter_hourly", {"drop_after": "400 days"}, "that of occupancy_hourly, kept for good"),
        ("occupancy_quarter_hourly", {"drop_after": "30 days"}, "shorter than that of the raw rows"),
        ("occupancy_hourly", {"start_offset": None}, "needs a length of time"),
        ("occupancy_hourly", {"end_offset": "0 days"}, "longer than nothing"),
        ("occupancy_events", {"start_offset": "3 days"}, "it has drop_after, columnstore_after"),
        ("occupancy_events", {"drop_after": "soon"}, "not a length of time"),
        ("cars", {"drop_after": "1 day"}, "no relation is called 'cars'"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused_with_the_arithmetic(
    store: Store, relation: str, settings: dict[str, Any], message: str
) -> None:
    before = store.policies.list()
    with pytest.raises(InvalidInputError) as refused:
        store.policies.set(relation, **settings)
    assert message in str(refused.value)
    assert store.policies.list() == before


@COMMUNITY
def test_status_reports_what_somebody_else_changed(store: Store) -> None:
    refresh = "policy_refresh_continuous_aggregate"
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("CALL remove_columnstore_policy('occupancy_quarter_hourly')")
        connection.execute("SELECT remove_retention_policy('health_logs')")
    alter(store, "occupancy_quarter_hourly", refresh, 'config => j.config || \'{"start_offset": "120 days"}\'')
    alter(store, "occupancy_hourly", refresh, "scheduled => false")
    problems = "\n".join(read_status(store.pool).problems)
    assert "121 days 15 minutes exceeds drop_after 90 days of occupancy_events" in problems
    assert "of occupancy_hourly) is paused" in problems
    assert "health_logs has no retention policy" in problems
    store.policies.set("occupancy_quarter_hourly", start_offset="80 days")  # mends, though other problems remain
    assert "121 days" not in "\n".join(read_status(store.pool).problems)


def job_rows(store: Store) -> list[tuple[Any, ...]]:
    with psycopg.connect(store.url) as connection:
        return connection.execute("""
            SELECT job_id, proc_name, hypertable_name, scheduled, max_retries, retry_period, next_start
            FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY job_id
        """).fetchall()


@COMMUNITY
def test_setting_a_policy_leaves_a_paused_job_paused_and_the_rest_of_it_as_it_was(
    store: Store, server: RunningServer
) -> None:
    require_idle_jobs(server)
    alter(store, "occupancy_events", "policy_retention", "retry_period => interval '7 minutes', max_retries => 3")
    with connected(store.pool) as connection:
        jobs.pause(connection)
    before = job_rows(store)
    store.policies.set("occupancy_events", drop_after="180 days", columnstore_after="3 days")
    store.policies.set("occupancy_quarter_hourly", start_offset="40 days", schedule_interval="10 minutes")
    assert job_rows(store) == before
    assert [policy.drop_after for policy in store.policies.list() if policy.drop_after] == [180 * DAY, 90 * DAY]


@COMMUNITY
def test_a_new_retention_job_waits_for_a_refresh_that_is_paused(store: Store) -> None:
    with connected(store.pool) as connection:
        jobs.pause(connection)
    store.policies.set("occupancy_events", drop_after=None)
    store.policies.set("occupancy_events", drop_after="120 days")
    with connected(store.pool) as connection:
        assert not any(job.scheduled for job in jobs.list_jobs(connection))
    store.jobs.resume()
    store.policies.set("occupancy_events", drop_after=None)
    store.policies.set("occupancy_events", drop_after="120 days")
    assert read_status(store.pool).problems == ()


@COMMUNITY
def test_two_refresh_policies_of_one_aggregate_are_reported(store: Store) -> None:
    add = """
        SELECT add_continuous_aggregate_policy('occupancy_hourly', start_offset => interval '40 days',
                                               end_offset => interval '20 days', schedule_interval => interval '1 hour')
    """
    with psycopg.connect(store.url, autocommit=True) as connection:
        try:
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="overlaps"):
                connection.execute(add)
            store.policies.set("occupancy_hourly", start_offset="10 days")
            connection.execute(add)
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this release refuses a second one itself")
    assert any("occupancy_hourly has two refresh policies" in line for line in read_status(store.pool).problems)


@pytest.mark.kinds(ServerKind.APACHE, ServerKind.POSTGRESQL)
def test_a_server_without_jobs_says_what_to_do_instead(store: Store) -> None:
    assert store.policies.list() == ()
    with pytest.raises(InvalidInputError, match="timeseries prune"):
        store.policies.set("occupancy_events", drop_after="30 days")


lengths = st.none() | st.integers(1, 200).map(lambda days: days * DAY)


@given(st.data())
def test_settings_without_contradiction_never_refresh_what_retention_took(data: st.DataObject) -> None:
    """Whatever the moment at which either job runs: chunks are dropped whole, buckets refreshed whole."""
    raw = RelationPolicies("occupancy_events", drop_after=data.draw(lengths))
    quarter = RelationPolicies(
        "occupancy_quarter_hourly",
        start_offset=data.draw(lengths), end_offset=timedelta(hours=1), schedule_interval=timedelta(hours=1),
    )  # fmt: skip
    chunk = data.draw(st.integers(1, 20)) * DAY
    rest = [RelationPolicies(name) for name in RELATIONS[1:] if name != quarter.relation]
    if list(contradictions([raw, quarter, *rest], {"occupancy_events": chunk})) or raw.drop_after is None:
        return
    assert quarter.start_offset is not None
    minutes = st.integers(0, 10**6).map(lambda n: timedelta(minutes=n))
    now = data.draw(minutes)
    dropped_up_to = (now - raw.drop_after) // chunk * chunk  # whole chunks that are old enough
    refreshed_from = (now - quarter.start_offset) // timedelta(minutes=15) * timedelta(minutes=15)
    assert refreshed_from >= dropped_up_to
