"""Roles for tests: made on the server, granted, and dropped again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import psycopg
import pytest

from analytics import arrow_client
from tests.support.servers import RunningServer
from timeseries import OccupancyEvent
from timeseries.access.roles import Limits, grant

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=40)
MakeRole = Callable[[str, str], str]
counter = itertools.count(1)


def as_role(url: str, name: str, password: str = "secret") -> str:
    return f"postgresql://{quote(name)}:{quote(password, safe='')}@{url.rsplit('@', 1)[1]}"


@pytest.fixture
def make_role(server: RunningServer) -> Iterator[MakeRole]:
    """Makes a role that may log in; all of them are dropped with what they own."""
    made: list[tuple[str, str]] = []

    def make(url: str, kind: str) -> str:
        name = f"{server.prefix}-{kind}-{next(counter)}"  # a forgotten quote shows
        with psycopg.connect(server.admin_url, autocommit=True) as admin:
            admin.execute(f"""CREATE ROLE "{name}" LOGIN PASSWORD 'secret'""")
        made.append((url, name))
        return name

    yield make
    for url, name in reversed(made):
        arrow_client.close(as_role(url, name))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'REASSIGN OWNED BY "{name}" TO CURRENT_USER')
            connection.execute(f'DROP OWNED BY "{name}"; DROP ROLE "{name}"')


@pytest.fixture
def ingest(database: str, make_role: MakeRole) -> str:
    """The database's URL as the role of ingest code."""
    name = make_role(database, "ingest")
    grant(database, ingest=[name])
    return as_role(database, name)


@pytest.fixture
def reader(database: str, make_role: MakeRole) -> str:
    """The database's URL as the role of a dashboard."""
    name = make_role(database, "reader")
    grant(database, readers=[name], limits=Limits(timedelta(seconds=5), 3))
    return as_role(database, name)


@pytest.fixture
def worker(database: str, make_role: MakeRole) -> str:
    """The database's URL as the role of a process that runs cameras."""
    name = make_role(database, "worker")
    grant(database, workers=[name])
    return as_role(database, name)


@pytest.fixture
def control(database: str, make_role: MakeRole) -> str:
    """The database's URL as the role of a control plane."""
    name = make_role(database, "control")
    grant(database, control=[name])
    return as_role(database, name)


def refusal(url: str, statement: str) -> str:
    """The SQLSTATE with which a statement is refused, or what happened instead."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(statement)
        except psycopg.Error as error:
            return error.sqlstate or str(error)
    return f"allowed: {statement}"


def series(camera: object, start: datetime, number: int) -> list[OccupancyEvent]:
    return [OccupancyEvent(camera, start + timedelta(minutes=i), i % 9, {"n": i}) for i in range(number)]  # type: ignore[arg-type]
