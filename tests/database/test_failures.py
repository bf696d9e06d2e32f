"""What a database error means: by SQLSTATE, in one place, for every library."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

import analytics
from tests.support.servers import RunningServer
from tests.support.urls import parse_url
from timeseries import (
    InvalidInputError,
    NotMigratedError,
    OccupancyEvent,
    PoolBusyError,
    Rejection,
    ServerUnavailableError,
    Store,
    TimeseriesError,
)
from timeseries.database.connections import translated_errors
from timeseries.schema import migrations
from timeseries.settings import Settings

AT = datetime(2026, 9, 1, 12, tzinfo=UTC)
DEPTH = 4_500  # Python 3.12 and newer write no deeper JSON


@pytest.fixture
def shallow(store: Store) -> Iterator[Store]:
    """A store whose server takes less deep JSON than Python writes; by default it takes about 17,000 levels."""
    name = sql.Identifier(parse_url(store.url).database or "")
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} SET max_stack_depth = '400kB'").format(name))
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # what 3.11 goes by
    with Store.open(store.url, settings=Settings()) as opened:
        yield opened
    sys.setrecursionlimit(before)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def series(camera: Any, number: int = 40, culprit: int = 17) -> list[OccupancyEvent]:
    return [
        OccupancyEvent(camera, AT + timedelta(minutes=i), i, nested(DEPTH if i == culprit else 2))
        for i in range(number)
    ]


def stored(store: Store) -> int:
    with psycopg.connect(store.url) as connection:
        return int(connection.execute("SELECT count(*) FROM occupancy_events").fetchone()[0])  # type: ignore[index]


def test_the_server_calls_json_that_is_too_deep_a_limit_that_was_exceeded(shallow: Store) -> None:
    with psycopg.connect(shallow.url) as connection, pytest.raises(errors.StatementTooComplex):
        connection.execute("SELECT %s::jsonb", ["[" * DEPTH + "]" * DEPTH])


def test_an_event_beyond_a_limit_of_the_server_comes_back_and_the_others_are_stored(shallow: Store) -> None:
    lot = shallow.cameras.add("lot")
    result = shallow.record(series(lot.id))
    assert (result.inserted, [r.index for r in result.rejected]) == (39, [17])
    assert "stack depth limit exceeded" in result.rejected[0].reason
    assert result.rejected[0].kind == "server"
    assert stored(shallow) == 39


def test_a_writer_does_not_wait_for_an_event_beyond_a_limit_of_the_server(shallow: Store, tmp_path: Path) -> None:
    lot = shallow.cameras.add("lot")
    for spool in (None, tmp_path / "spool"):
        rejected: list[Rejection] = []
        with shallow.writer(on_rejected=rejected.append, spool=spool) as writer:
            for event in series(lot.id):
                writer.record(event)
            writer.flush(20)
        assert len(rejected) == 1
        assert (writer.state.stored + writer.state.duplicates, writer.state.retries) == (39, 0)
    assert stored(shallow) == 39


def test_a_file_with_a_row_beyond_a_limit_of_the_server_is_stored_without_it(shallow: Store, tmp_path: Path) -> None:
    shallow.cameras.add("lot")
    path = tmp_path / "events.csv"
    rows = [f'lot,{e.timestamp.isoformat()},{e.occupied_count},"{json.dumps(e.raw_data)}"' for e in series("lot")]
    path.write_text("camera,timestamp,occupied_count,raw_data\n" + "\n".join(rows))
    result = shallow.import_file(path)
    assert (result.inserted, result.rejected) == (39, 1)


def test_a_camera_beyond_a_limit_of_the_server_is_refused_as_a_value(shallow: Store) -> None:
    with pytest.raises(InvalidInputError, match=r"camera 'deep'.*stack depth"):
        shallow.cameras.add("deep", zone_config=nested(DEPTH))


def meant(error: psycopg.Error) -> type[BaseException]:
    with pytest.raises((TimeseriesError, psycopg.Error)) as raised, translated_errors():
        raise error
    return type(raised.value)


def test_only_the_fault_of_the_data_is_refused_for_good() -> None:
    for error in (errors.NumericValueOutOfRange(), errors.CheckViolation(), errors.StatementTooComplex(),
                  errors.ProgramLimitExceeded(), psycopg.DataError()):  # fmt: skip
        assert meant(error) is InvalidInputError
    for error in (errors.OutOfMemory(), errors.DiskFull(), errors.ConfigurationLimitExceeded(), errors.IoError(),  # type: ignore[assignment]
                  errors.DeadlockDetected(), errors.LockNotAvailable(), errors.AdminShutdown(),
                  errors.ConfigFileError(), psycopg.OperationalError()):  # fmt: skip
        assert meant(error) is ServerUnavailableError
    assert meant(errors.UndefinedTable()) is meant(errors.UndefinedColumn()) is NotMigratedError
    for error in (errors.FeatureNotSupported(), errors.InternalError_(), errors.RaiseException(), errors.SyntaxError()):  # type: ignore[assignment]
        assert meant(error) is type(error)


def test_store_and_notebook_give_the_same_reason_where_nobody_is_let_in(database: str) -> None:
    url = parse_url(database).set(password="hunter2")
    text = url.render_as_string(hide_password=False)
    said = []
    for ask in (lambda: analytics.latest(url=text), lambda: Store.open(text, settings=Settings())):
        with pytest.raises(ServerUnavailableError, match=r"cannot be reached: .*password authentication") as raised:
            ask()
        said.append(str(raised.value))
        assert "hunter2" not in str(raised.value)
    assert said[0] == said[1]


def test_a_store_whose_connections_are_all_busy_says_so(store: Store) -> None:
    store.pool.timeout = 0.2
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(store.pool.connection())
        with pytest.raises(PoolBusyError, match=r"all 4 connections of this store are busy.*TIMESERIES_POOL_SIZE"):
            store.cameras.list()
    assert store.cameras.list() == []


@pytest.mark.parametrize("settings", [{"settings": Settings(pool_size=2)}, {"pool_size": 2}])
def test_a_store_has_as_many_connections_as_it_is_given(database: str, settings: dict[str, Any]) -> None:
    with Store.open(database, **{"settings": Settings(), **settings}) as store:
        assert store.pool.max_size == 2
    with pytest.raises(InvalidInputError, match="pool_size 0: it must be at least 1"):
        Store.open(database, settings=Settings(), pool_size=0)


def test_a_store_whose_server_went_away_says_that(server: RunningServer) -> None:
    if server.found.cluster is None:
        pytest.skip("needs a server that the test may stop")
    cluster = server.found.cluster()
    try:
        cluster.start()
        migrations.migrate(cluster.url())
        with Store.open(cluster.url(), settings=Settings()) as store:
            cluster.stop()
            store.pool.timeout = 0.5
            with pytest.raises(ServerUnavailableError, match=r"cannot be reached: .*refused"):
                store.cameras.list()
    finally:
        cluster.remove()
