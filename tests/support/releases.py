"""Releases of TimescaleDB that are installed side by side, as the official images carry them."""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.clusters import SETTINGS, TIMESCALE_SETTINGS, Cluster
from timeseries import ServerKind, Store
from timeseries.database.installations import SOURCE_PREFIX, has_community, installations
from timeseries.database.releases import OLDEST, number
from timeseries.settings import Settings

AWAKE = {
    "timescaledb.max_background_workers": "8",
    "max_worker_processes": "24",
    "timescaledb.bgw_launcher_poll_time": "1000",
}


@cache
def folder_of(bin_folder: Path, what: str) -> Path:
    """`sharedir` or `pkglibdir` of an installation."""
    asked = [str(bin_folder / "pg_config"), f"--{what}"]
    return Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()).resolve()


def offered(bin_folder: Path) -> list[str]:
    """The releases of the Community edition that a server of this installation offers, oldest first."""
    scripts = (folder_of(bin_folder, "sharedir") / "extension").glob("timescaledb--*.sql")
    names = [script.stem.removeprefix("timescaledb--") for script in scripts]
    libraries = folder_of(bin_folder, "pkglibdir")
    there = [name for name in names if (libraries / f"timescaledb-tsl-{name}.so").exists()]
    return sorted(there, key=lambda name: (number(name), name))


def community_installations() -> list[Path]:
    """Every installation with the Community edition, that of the tests first: also beside it, as PREFIX-15."""
    beside = [folder / "bin" for folder in sorted(SOURCE_PREFIX.parent.glob(f"{SOURCE_PREFIX.name}-*"))]
    found = [*installations(Settings.from_environment().postgres), *beside]
    there = [folder for folder in found if (folder / "postgres").exists() and (folder / "pg_config").exists()]
    return list(dict.fromkeys(folder for folder in there if has_community(folder)))


@cache
def with_default(bin_folder: Path, release: str) -> Path:
    """The `bin` folder of an installation like this one that creates this release where none is named, as the image of
    that release does. Its programs are copied, because a server finds its folders, and a wheel's its libraries, from
    its own real path; the rest are links, but for the extension's control file.
    """
    if release not in offered(bin_folder):
        raise LookupError(f"{bin_folder} offers TimescaleDB {', '.join(offered(bin_folder))}, not {release}")
    programs = bin_folder.resolve()
    control = folder_of(bin_folder, "sharedir") / "extension" / "timescaledb.control"
    folder = Path(tempfile.mkdtemp(prefix="ts-release-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    mirror(Path("/"), folder, programs, control)
    named = re.search(r"(?m)^default_version = '(.*)'", control.read_text())
    assert named is not None
    changed = control.read_text().replace(named[1], release)  # in the path of the library, too
    (folder / control.relative_to("/")).write_text(changed)
    folder.chmod(0o755)
    return folder / programs.relative_to("/")


def mirror(original: Path, copy: Path, programs: Path, control: Path) -> None:
    """Links to all that is in a folder, and folders of links on the way to the two that are not linked."""
    copy.mkdir(exist_ok=True)
    for entry in original.iterdir():
        if entry == programs:
            shutil.copytree(entry, copy / entry.name)
        elif entry in (*programs.parents, *control.parents):
            mirror(entry, copy / entry.name, programs, control)
        elif entry != control:
            (copy / entry.name).symlink_to(entry)


@cache
def postgresql(bin_folder: Path) -> str:
    said = subprocess.run([bin_folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2]


@dataclass(frozen=True)
class Place:
    """One release of TimescaleDB on one installed PostgreSQL."""

    bin_folder: Path
    release: str

    def __str__(self) -> str:
        return f"{self.release}-pg{self.major}"

    @property
    def postgresql(self) -> str:
        return postgresql(self.bin_folder)

    @property
    def major(self) -> int:
        return number(self.postgresql)[0]

    @property
    def names(self) -> str:
        return f"TimescaleDB {self.release} on PostgreSQL {self.postgresql}"

    def cluster(self, **settings: str) -> Cluster:
        """A server. Where no release is named, it creates its own newest one."""
        return Cluster(self.bin_folder, SETTINGS | TIMESCALE_SETTINGS | settings)

    def database(self, cluster: Cluster, name: str, *, extension: bool = True) -> str:
        """The URL of a new database, with the extension in this release."""
        with psycopg.connect(cluster.url(), autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")
        if extension:
            self._execute(cluster.url(name), f"CREATE EXTENSION timescaledb SCHEMA public VERSION '{self.release}'")
        return cluster.url(name)

    def update(self, url: str) -> None:
        """Bring a database to this release."""
        self._execute(url, f"ALTER EXTENSION timescaledb UPDATE TO '{self.release}'")

    def _execute(self, url: str, statement: str) -> None:
        """In a new session, as the extension asks. Skip the test where its loader is older than the release."""
        with psycopg.connect(url, autocommit=True) as connection:
            try:
                connection.execute(statement)
            except psycopg.errors.FeatureNotSupported as error:
                if "loader" not in str(error):
                    raise
                pytest.skip(f"{self} cannot be made here: {error.diag.message_primary}")


def places() -> list[Any]:
    """What there is to try, as parameters of a test."""
    oldest = number(OLDEST[ServerKind.COMMUNITY])
    found = [
        Place(folder, release)
        for folder in community_installations()
        for release in offered(folder)
        if number(release) >= oldest
    ]
    if len(found) > 1:
        return list({str(place): place for place in reversed(found)}.values())[::-1]
    return [pytest.param(None, marks=pytest.mark.skip("no releases of TimescaleDB are installed side by side here"))]


def run_jobs(url: str) -> None:
    """Refresh, columnstore and retention of every relation, in the order in which they were made."""
    with psycopg.connect(url, autocommit=True) as connection:
        jobs = connection.execute("SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY 1")
        for (job,) in jobs.fetchall():
            connection.execute("CALL run_job(%s)", [job])


def found_problems(store: Store) -> list[str]:
    """What status reports, but that cameras are silent and that the server offers another release."""
    ours = ("the database has TimescaleDB", "camera")
    return [line for line in store.status().problems if not line.startswith(ours) and "silent" not in line]
