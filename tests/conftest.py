"""Every test that asks for a `server`, a `database` or a `store` runs on each kind of server that can be had here.

With pytest-xdist each worker has servers of its own. Only the main process asks Docker what it has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.keys import SECRET_KEY
from tests.support.report import FAILURES, FOUND, ORIGINS, closing_lines, note
from tests.support.servers import URL, Found, RunningServer, discover, refused_by_docker, start
from timeseries import ServerKind, Store
from timeseries.settings import Settings


def pytest_addoption(parser: pytest.Parser) -> None:
    kinds = [kind.value for kind in ServerKind]
    parser.addoption("--require", action="append", default=[], choices=kinds, help="fail where this kind is missing")
    parser.addoption("--own", action="store_true", help="fail where a required kind has no servers of a test's own")
    parser.addoption("--servers", choices=["docker", "local"], help="only from there, but for those given by a URL")
    parser.addoption("--timescaledb", metavar="RELEASE", help="of Community alone, and this release of it")
    parser.addoption("--rewrite", action="store_true", help="write the table of rights in docs/security.md again")


def pytest_configure(config: pytest.Config) -> None:
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    release = config.getoption("--timescaledb")
    only = "local" if release else config.getoption("--servers")
    refused = worker["refused"] if worker else refused_by_docker(only_local=only == "local")
    config.stash[REFUSED] = refused
    for kind in ServerKind:
        found = discover(kind, refused, local=only != "docker", release=release)
        FOUND[kind] = Found(kind, (), ("--timescaledb is of Community",)) if release and kind != "community" else found
    for kind in config.getoption("--require"):
        if not FOUND[kind].origins:
            raise pytest.UsageError(f"no server of kind {kind} can be had: {'; '.join(FOUND[kind].refused)}")
        if config.getoption("--own") and FOUND[kind].cluster is None:
            raise pytest.UsageError(f"no server of kind {kind} is there for a test to have to itself")


REFUSED = pytest.StashKey[dict[ServerKind, str]]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker what Docker said."""
    node.workerinput["refused"] = {kind.value: why for kind, why in node.config.stash[REFUSED].items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Hear from a worker what ran where."""
    for kind, (origin, failures) in getattr(node, "workeroutput", {}).get("servers", {}).items():
        note(kind, origin, failures)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    only = metafunc.definition.get_closest_marker("kinds")
    kinds = [kind for kind in FOUND if FOUND[kind].origins and (only is None or kind in only.args)]
    for name in ("server", "other_server"):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, kinds, indirect=True, ids=[kind.value for kind in kinds], scope="session")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is slow comes last, each by itself. Other tests of one module on one kind of server stay together, because
    they share fixtures.
    """
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if "server" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
        slow = item.get_closest_marker("slow") is not None
        item.add_marker(pytest.mark.xdist_group(item.name if slow else f"{item.path.stem}-{parameters.get('server')}"))
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, because many tests wait for a server or for time to pass. One alone where a
    server is given by its URL, because roles are of the whole server.
    """
    if any(found.origins and found.origins[0][0] == URL for found in FOUND.values()):
        return 1
    return min(4, (os.cpu_count() or 1) + 1)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """The last lines of a run say where it ran, and what could not be had and why."""
    for kind, server in running.items():
        note(kind.value, server.origin if server is not None else None, [])
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["servers"] = {kind.value: (ORIGINS.get(kind), FAILURES.get(kind, [])) for kind in ServerKind}
    if any(kind in FAILURES and kind not in ORIGINS for kind in session.config.getoption("--require")):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and output is None and not session.config.option.collectonly:
        reporter.section("servers")
        for line in closing_lines():
            reporter.line(line)


running: dict[ServerKind, RunningServer | None] = {}


@pytest.fixture(scope="session")
def servers() -> Iterator[dict[ServerKind, RunningServer | None]]:
    yield running
    for server in running.values():
        if server is not None:
            server.drop(keep=0)
            server.close()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, servers: dict[ServerKind, RunningServer | None]) -> RunningServer:
    return started(request.param, servers)


@pytest.fixture(scope="session")
def other_server(request: pytest.FixtureRequest, servers: dict[ServerKind, RunningServer | None]) -> RunningServer:
    """A server of each kind beside `server`, perhaps the same one."""
    return started(request.param, servers)


def started(kind: ServerKind, servers: dict[ServerKind, RunningServer | None]) -> RunningServer:
    if kind not in servers:
        new, failures = start(FOUND[kind])
        note(kind.value, None, list(failures))
        servers[kind] = new
        if new is not None:
            new.prepare()
    found = servers[kind]
    if found is None:
        # Who names a server, or has one installed, wants it tested; only an engine may fail to give one.
        promised = FOUND[kind].origins[0][0] == URL or FOUND[kind].own is not None
        (pytest.fail if promised else pytest.skip)(f"no {kind.label}: {'; '.join(FAILURES[kind.value])}")
    return found


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
