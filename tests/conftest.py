"""Every test that asks for a `server`, a `database` or a `store` runs on each kind of server that was found."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import psycopg
import pytest
from servers import Found, copy_database, discover, drop_database

from analytics import source
from timeseries import ServerKind, Store, schema
from timeseries.connections import parse_url
from timeseries.jobs import bound_lock_waits
from timeseries.keyring import generate_key
from timeseries.settings import Settings

SECRET_KEY = generate_key()
FOUND: dict[ServerKind, Found] = {}
counter = itertools.count(1)


@dataclass
class RunningServer:
    """A started server with a migrated template database."""

    kind: ServerKind
    found: Found
    admin_url: str
    close: Callable[[], None]
    databases: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        return (
            parse_url(self.admin_url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
        )

    def empty(self) -> str:
        return self.copy("template1")

    def copy(self, template: str = "timeseries_template") -> str:
        name = f"test_{next(counter)}"
        copy_database(self.admin_url, template, name)
        self.databases.append(name)
        if template != "template1":  # what is set for a database is not copied with it
            with psycopg.connect(self.url(name)) as connection:
                bound_lock_waits(connection)
        return self.url(name)

    def drop(self) -> None:
        while self.databases:
            name = self.databases.pop()
            source.close(self.url(name))
            drop_database(self.admin_url, name)


def pytest_addoption(parser: pytest.Parser) -> None:
    kinds = [kind.value for kind in ServerKind]
    parser.addoption("--require", action="append", default=[], choices=kinds, help="fail where this kind is missing")
    parser.addoption("--own", action="store_true", help="fail where a required kind has no servers of a test's own")


def pytest_configure(config: pytest.Config) -> None:
    for kind in ServerKind:
        found = discover(kind)
        if found is not None:
            FOUND[kind] = found
    required = config.getoption("--require")
    missing = [kind for kind in required if kind not in FOUND]
    if missing:
        raise pytest.UsageError(f"no server of kind {', '.join(missing)} was found")
    shared = [kind for kind in required if FOUND[kind].cluster is None]
    if shared and config.getoption("--own"):
        raise pytest.UsageError(f"no server of kind {', '.join(shared)} is there for a test to have to itself")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" not in metafunc.fixturenames:
        return
    only = metafunc.definition.get_closest_marker("kinds")
    kinds = [kind for kind in FOUND if only is None or kind in only.args]
    metafunc.parametrize("server", kinds, indirect=True, ids=[kind.value for kind in kinds], scope="session")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("servers")
    for kind in ServerKind:
        found = FOUND.get(kind)
        if found is None:
            where = "not found"
        elif found.own is None:
            where = f"ran, from {found.origin}; what needs a server to itself was skipped: none is installed here"
        elif found.own == found.origin:
            where = f"ran, from {found.origin}"
        else:
            where = f"ran, from {found.origin}; what needs a server to itself ran on {found.own}"
        terminalreporter.line(f"{kind.label}: {where}")


running: dict[ServerKind, RunningServer] = {}


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[ServerKind, RunningServer]]:
    yield running
    for server in running.values():
        server.drop()
        server.close()
    running.clear()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, servers: dict[ServerKind, RunningServer]) -> RunningServer:
    kind: ServerKind = request.param
    if kind not in servers:
        admin_url, close = FOUND[kind].start()
        started = RunningServer(kind, FOUND[kind], admin_url, close)
        drop_database(admin_url, "timeseries_template")
        copy_database(admin_url, "template1", "timeseries_template")
        schema.migrate(started.url("timeseries_template"))
        servers[kind] = started
    return servers[kind]


@pytest.fixture
def database(server: RunningServer) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    yield server.copy()
    server.drop()


@pytest.fixture
def empty_database(server: RunningServer) -> Iterator[str]:
    """The URL of a database without the schema."""
    yield server.empty()
    server.drop()


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    with Store.open(database, settings=Settings(secret_key=SECRET_KEY)) as opened:
        yield opened
