"""A database that outgrows its server: plain PostgreSQL that is given TimescaleDB, Apache-2 that becomes Community."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import psycopg
import pytest

from tests.support.clusters import Cluster
from tests.support.faults import opened
from tests.support.histories import add_cameras, answers, events_of, same
from tests.support.roles import as_role
from tests.support.servers import RunningServer
from timeseries import NotMigratedError, OccupancyEvent, ServerKind, Store
from timeseries.access.roles import find_deviations, grant
from timeseries.monitoring.status import read_status
from timeseries.schema import migrations

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
START, END = NOW - timedelta(days=120), NOW  # nothing in it depends on the clock
LESSER = {
    ServerKind.COMMUNITY: [{"shared_preload_libraries": ""}, {"timescaledb.license": "apache"}],
    ServerKind.APACHE: [{"shared_preload_libraries": ""}],
}
# What a migration says when it comes to a step.
HYPERTABLES = "become hypertables"
MATERIALIZED = ["quarters that were kept", "health_quarter_hourly: from", "occupancy_weekday: from"]


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


@contextmanager
def lesser_cluster(server: RunningServer, position: int) -> Iterator[Cluster]:
    """A server of the kind below, with 120 days of events of which 20 are pruned, and with roles."""
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may restart")
    if position >= len(LESSER[server.kind]):
        pytest.skip("there is no other lesser server below this one")
    cluster = server.found.cluster(**LESSER[server.kind][position])
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
            add_averages(store)
        yield cluster
    finally:
        cluster.remove()


def add_averages(store: Store) -> None:
    """Those of a lot once more, for another camera: quarters that came without raw rows."""
    store.cameras.add("averages of lot 0", id=UUID(int=2**128 - 1))
    with TemporaryDirectory() as folder:
        store.export_averages(Path(folder) / "averages", of=["lot 0"])
        store.import_averages(Path(folder) / "averages", mapping={"lot 0": "averages of lot 0"})


def give_timescaledb(cluster: Cluster, **settings: str) -> None:
    cluster.stop()
    cluster.configure(shared_preload_libraries="timescaledb", **settings)
    cluster.start()


def migrate_with_interruptions(url: str, steps: list[str]) -> None:
    """Until it is done, a promotion can be run again, and the store does not open."""
    for step in steps:
        interrupted_migration(url, step)
        if step != HYPERTABLES:
            with pytest.raises(NotMigratedError, match="move it up, run: timeseries migrate"):
                opened(url)
    migrations.migrate(url)
    migrations.migrate(url)


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.APACHE)
@pytest.mark.parametrize("position", [0, 1])
def test_a_database_moves_up_with_all_rows_and_averages(server: RunningServer, position: int) -> None:
    with lesser_cluster(server, position) as cluster:
        url = cluster.url()
        roles = granted(url)
        before = answers(url, START, END)
        with opened(url) as store:
            cameras = store.cameras.ids()
        give_timescaledb(cluster, **({"timescaledb.license": "timescale"} if position else {}))
        steps = [] if position else [HYPERTABLES]
        migrate_with_interruptions(url, steps + (MATERIALIZED if server.kind is ServerKind.COMMUNITY else []))

        assert same(answers(url, START, END), before)
        with opened(url) as store:
            assert store.server().kind is server.kind
            assert_kept_as_before(store)
            assert store.cameras.ids() == cameras
            camera = min(cameras.values())
            (rejection,) = store.record([OccupancyEvent(camera, first_quarter(before), 1)]).rejected
            assert rejection.kind == "finalized"
            store.refresh()
        assert same(answers(url, START, END), before)
        assert_rights_as_before(roles, camera)
        with psycopg.connect(url) as connection:
            # What the extension brings, anybody may execute; only that is left to be taken away.
            assert all("anybody may execute" in finding for finding in find_deviations(connection))


def assert_kept_as_before(store: Store) -> None:
    """The length of retention is the same, the aggregates are those of this kind of server."""
    status = read_status(store.pool)
    kept = {policy.drop_after for policy in status.policies} - {None} or {status.retention.keep}
    assert kept == {timedelta(days=100)}
    kept_as = "continuous aggregate" if status.server.kind is ServerKind.COMMUNITY else "view"
    assert {aggregate.kept_as for aggregate in status.aggregates} == {kept_as}


def assert_rights_as_before(roles: dict[str, str], camera: UUID) -> None:
    for number, role in enumerate(("ingest", "worker"), 3):
        with opened(roles[role]) as store:
            late = OccupancyEvent(camera, NOW - timedelta(days=5, microseconds=number), 1)
            assert store.record([late]).inserted == 1
    for role in ("reader", "control"):
        assert len(answers(roles[role], START, END)["occupancy_weekday"]) > 0


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_a_server_may_be_given_timescaledb_between_two_revisions(server: RunningServer) -> None:
    """The later revision builds on tables, not on the hypertables that this server would have had from the start."""
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may restart")
    cluster = server.found.cluster(shared_preload_libraries="")
    try:
        cluster.start()
        migrations.migrate(cluster.url(), "0001")
        give_timescaledb(cluster)
        migrations.migrate(cluster.url())
        with opened(cluster.url()) as store:
            assert {aggregate.kept_as for aggregate in read_status(store.pool).aggregates} == {"continuous aggregate"}
    finally:
        cluster.remove()
