"""A database that outgrows its server: plain PostgreSQL that is given TimescaleDB, Apache-2 that becomes Community."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.support.faults import opened
from tests.support.histories import add_cameras, answers, events_of, same
from tests.support.roles import as_role
from tests.support.servers import RunningServer
from timeseries import NotMigratedError, OccupancyEvent, ServerKind
from timeseries.access.roles import find_deviations, grant
from timeseries.monitoring.status import read_status
from timeseries.schema import migrations

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START, END = NOW - timedelta(days=120), NOW  # nothing in it depends on the clock
LESSER = {
    ServerKind.COMMUNITY: [{"shared_preload_libraries": ""}, {"timescaledb.license": "apache"}],
    ServerKind.APACHE: [{"shared_preload_libraries": ""}],
}


class Interruption(logging.Handler):
    """Ends a migration when it says a certain thing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            raise KeyboardInterrupt(record.getMessage())


def interrupted_migration(url: str, text: str) -> None:
    log, handler = logging.getLogger("timeseries.migrations"), Interruption(text)
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            migrations.migrate(url)
    finally:
        log.removeHandler(handler)


def first_quarter(answers: dict[str, list[tuple[object, ...]]]) -> datetime:
    """Of the first camera by id, with raw rows long gone."""
    bucket = answers["occupancy_quarter_hourly"][0][1]
    assert isinstance(bucket, datetime)
    return bucket


ROLES = ("ingest", "reader", "worker", "control")


def granted(url: str) -> dict[str, str]:
    """Each kind of role and its URL."""
    with psycopg.connect(url) as connection:
        for role in ROLES:
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    grant(url, ingest=["ingest"], readers=["reader"], workers=["worker"], control=["control"])
    return {role: as_role(url, role) for role in ROLES}


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.APACHE)
@pytest.mark.parametrize("position", [0, 1])
def test_a_database_moves_up_with_all_rows_and_averages(server: RunningServer, position: int) -> None:
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may restart")
    if position >= len(LESSER[server.kind]):
        pytest.skip("there is no other lesser server below this one")
    lesser = LESSER[server.kind][position]
    cluster = server.found.cluster(**lesser)
    try:
        cluster.start()
        migrations.migrate(cluster.url())
        with opened(cluster.url()) as store:
            assert store.server().kind is not server.kind
            chance = random.Random(5)
            cameras = add_cameras(store)
            store.groups.add("group", cameras[1:], timezone="Europe/Berlin")
            store.groups.join("group", cameras[0], since=START, until=NOW - timedelta(days=60))
            events = [event for camera in cameras for event in events_of(camera, START, NOW, chance)]
            assert store.record(events).inserted == len(events)
            assert store.prune(timedelta(days=100)).removed > 0
        roles = granted(cluster.url())
        before = answers(cluster.url(), START, END)
        cluster.stop()
        cluster.configure(
            shared_preload_libraries="timescaledb", **({"timescaledb.license": "timescale"} if position else {})
        )
        cluster.start()

        if "shared_preload_libraries" in lesser:
            interrupted_migration(cluster.url(), "become hypertables")
        if server.kind is ServerKind.COMMUNITY:
            for step in ("quarters that were kept", "health_quarter_hourly: from", "occupancy_weekday: from"):
                interrupted_migration(cluster.url(), step)
                with pytest.raises(NotMigratedError, match="move it up, run: timeseries migrate"):
                    opened(cluster.url())
        migrations.migrate(cluster.url())
        migrations.migrate(cluster.url())

        assert same(answers(cluster.url(), START, END), before)
        with opened(cluster.url()) as store:
            assert store.server().kind is server.kind
            status = read_status(store.pool)
            kept = {policy.drop_after for policy in status.policies} - {None} or {status.retention.keep}
            assert kept == {timedelta(days=100)}
            kept_as = "continuous aggregate" if server.kind is ServerKind.COMMUNITY else "view"
            assert {aggregate.kept_as for aggregate in status.aggregates} == {kept_as}
            sealed = OccupancyEvent(min(cameras), first_quarter(before), 1)
            (rejection,) = store.record([sealed]).rejected
            assert "removed by retention" in rejection.reason
            store.refresh()
        assert same(answers(cluster.url(), START, END), before)
        with psycopg.connect(cluster.url()) as connection:
            assert connection.execute("SELECT count(*) FROM cameras").fetchone() == (len(cameras),)
            # What the extension brings, anybody may execute; only that is left to be taken away.
            assert all("anybody may execute" in finding for finding in find_deviations(connection))
        for number, role in enumerate(("ingest", "worker"), 3):
            with opened(roles[role]) as store:
                late = OccupancyEvent(min(cameras), NOW - timedelta(days=5, microseconds=number), 1)
                assert store.record([late]).inserted == 1
        for role in ("reader", "control"):
            assert len(answers(roles[role], START, END)["occupancy_weekday"]) > 0
    finally:
        cluster.remove()


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_server_may_be_given_timescaledb_between_two_revisions(server: RunningServer) -> None:
    """The later revision builds on tables, not on the hypertables that this server would have had from the start."""
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may restart")
    cluster = server.found.cluster(shared_preload_libraries="")
    try:
        cluster.start()
        migrations.migrate(cluster.url(), "0001")
        cluster.stop()
        cluster.configure(shared_preload_libraries="timescaledb")
        cluster.start()
        migrations.migrate(cluster.url())
        with opened(cluster.url()) as store:
            assert {aggregate.kept_as for aggregate in read_status(store.pool).aggregates} == {"continuous aggregate"}
    finally:
        cluster.remove()
