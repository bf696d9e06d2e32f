"""What the tests run on is found as README says, and a container is started as testcontainers wants it."""

from __future__ import annotations

import pytest
import servers
from docker.errors import DockerException

from timeseries import ServerKind


def test_without_an_engine_a_container_fails_by_dockers_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(DockerException, match="fetching server API version"):
        servers.start_container(ServerKind.POSTGRESQL)


@pytest.mark.parametrize("kind", ServerKind)
def test_a_test_has_local_servers_to_itself_beside_docker_and_a_url(
    monkeypatch: pytest.MonkeyPatch, kind: ServerKind
) -> None:
    place = servers.local_place(kind)
    if place is None:
        pytest.skip(f"no {kind.label} is installed here")
    monkeypatch.setattr(servers, "docker", lambda: True)
    found = servers.discover(kind)
    monkeypatch.setenv(f"TIMESERIES_TEST_{kind.name}_URL", "postgresql://somewhere/else")
    beside_url = servers.discover(kind)
    assert found is not None
    assert beside_url is not None
    assert (found.origin, beside_url.origin) == (f"Docker, {servers.IMAGES[kind]}", "the URL of the environment")
    for each in (found, beside_url):
        assert each.own is not None
        assert each.own.endswith(str(place[0]))
        assert each.cluster is not None


@pytest.mark.parametrize("kind", ServerKind)
def test_docker_alone_leaves_a_test_without_a_server_to_itself(
    monkeypatch: pytest.MonkeyPatch, kind: ServerKind
) -> None:
    monkeypatch.delenv(f"TIMESERIES_TEST_{kind.name}_URL", raising=False)
    monkeypatch.setattr(servers, "docker", lambda: True)
    monkeypatch.setattr(servers, "local_place", lambda kind: None)
    found = servers.discover(kind)
    assert found is not None
    assert found.cluster is None
    monkeypatch.setattr(servers, "docker", lambda: False)
    assert servers.discover(kind) is None
