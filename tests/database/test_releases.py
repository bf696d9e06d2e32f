"""Which releases are judged how, and that the remedy fits this PostgreSQL."""

from __future__ import annotations

import psycopg
import pytest

from tests.support.servers import RunningServer
from timeseries import ConfigurationError, ServerKind
from timeseries.database import releases
from timeseries.database.releases import KNOWN_BAD, find_faults, jobs_run, number, why_refused
from timeseries.database.server import Server
from timeseries.schema import migrations


def community(postgresql: str, timescaledb: str) -> Server:
    return Server(ServerKind.COMMUNITY, postgresql, timescaledb)


def test_releases_are_compared_as_numbers() -> None:
    assert number("2.9.10") < number("2.10") <= number("2.10.0") < number("2.30.0-dev")


@pytest.mark.parametrize("version", sorted(KNOWN_BAD))
def test_releases_that_are_known_to_be_bad_are_named(version: str) -> None:
    (said,) = find_faults(community("18.4", version))
    assert f"TimescaleDB {version} has known faults" in said
    assert "install 2.29.2 or newer" in said


@pytest.mark.parametrize(
    ("postgresql", "timescaledb", "remedy"),
    [
        ("15.19", "2.27.2", None),
        ("15.20", "2.20.3", "install 2.28.4 (from 2.29 on it needs PostgreSQL 16)"),
        ("15.20", "2.27.2", "install 2.28.4 (from 2.29 on it needs PostgreSQL 16)"),
        ("15.20", "2.27.3", None),
        ("15.21", "2.28.4", None),
        ("16.15", "2.29.2", None),
        ("16.16", "2.29.2", "install 2.31.2 or newer"),
        ("17.12", "2.26.4", "install 2.31.2 or newer"),
        ("18.6", "2.26.4", None),
        ("18.7", "2.30.0-dev", "install 2.31.2 or newer"),
        ("18.7", "2.31.2", None),
        ("18.7", "2.32.0", None),
        ("19.0", "2.32.0", None),
    ],
)
def test_releases_that_do_not_go_together_are_named(postgresql: str, timescaledb: str, remedy: str | None) -> None:
    server = community(postgresql, timescaledb)
    found = list(find_faults(server))
    assert jobs_run(server) == (remedy is None) == (not found)
    for line in found:
        assert f"scheduled jobs of TimescaleDB {timescaledb} fail on PostgreSQL {postgresql}" in line
        assert str(remedy) in line


def test_the_apache_edition_has_none_of_these_faults_because_it_has_no_jobs_of_ours() -> None:
    assert list(find_faults(Server(ServerKind.APACHE, "15.20", "2.28.0"))) == []


@pytest.mark.parametrize(
    ("old", "reason"),
    [
        (Server(ServerKind.POSTGRESQL, "14.9", None), "PostgreSQL 14.9 is older than 15"),
        (community("15.4", "2.19.3"), "TimescaleDB 2.19.3 is older than 2.20"),
        (Server(ServerKind.APACHE, "15.4", "2.18.0"), "TimescaleDB 2.18.0 is older than 2.19"),
    ],
)
def test_what_is_too_old_is_refused_with_the_reason(old: Server, reason: str) -> None:
    assert reason in str(why_refused(old))


def test_a_migration_refuses_an_extension_that_is_too_old(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is there already or would be made; on plain PostgreSQL there is none to refuse."""
    for kind in (ServerKind.COMMUNITY, ServerKind.APACHE):
        monkeypatch.setitem(releases.OLDEST, kind, "99.0")
    url = server.empty()
    try:
        if server.kind is ServerKind.POSTGRESQL:
            migrations.migrate(url)
            return
        with pytest.raises(ConfigurationError, match=r"is older than 99.0, .* install 2\."):
            migrations.migrate(url)
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT FROM pg_extension WHERE extname = 'timescaledb'").fetchall() == []
            connection.execute("CREATE EXTENSION timescaledb SCHEMA public")
        with pytest.raises(ConfigurationError, match=r"is older than 99.0"):
            migrations.migrate(url)
    finally:
        server.drop()
