"""Stand-ins for images that cannot be pulled: they reach the index that this machine reaches, and start alike."""

from __future__ import annotations

import configparser
import os

import pytest

from tests.machines import debian
from tests.support.containers import IMAGES
from timeseries import ServerKind


def test_an_image_has_this_machines_index_and_none_of_its_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///srv/wheels")
    read = configparser.ConfigParser()
    read.read_string(debian.pip_conf())
    assert dict(read["global"]) == {
        "cert": "/etc/ssl/certs/ca-certificates.crt",
        "index-url": "https://index.example/simple",
    }


@pytest.mark.docker
@pytest.mark.parametrize("kind", ServerKind)
def test_a_database_image_refuses_to_start_without_a_password(kind: ServerKind) -> None:
    if debian.engine() is None or not debian.is_here(IMAGES[kind]):
        pytest.skip(f"no Docker engine with {IMAGES[kind]}")
    started = debian.docker("run", "--rm", IMAGES[kind], check=False)
    assert started.returncode == 1
    assert "POSTGRES_PASSWORD" in started.stderr + started.stdout
