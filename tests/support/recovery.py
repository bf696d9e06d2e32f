"""Servers that archive their WAL and are brought back to any moment, by pgBackRest or PostgreSQL's own programs."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from configparser import ConfigParser
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from tests.support.clusters import PASSWORD, Cluster
from tests.support.pages import blocks

# Where the tests' own server is, in place of the folders of docs/backup.md.
PLACES = """
[global]
repo1-path={folder}/repository
log-path={folder}
lock-path={folder}/lock
spool-path={folder}/spool
log-level-file=off

[timeseries]
pg1-path={folder}/data
pg1-socket-path={folder}
pg1-port={port}
pg1-user=postgres
"""
RECOVERY = """
restore_command = 'cp {folder}/archive/%f %p'
recovery_target_time = '{moment}'
recovery_target_action = 'promote'
default_transaction_read_only = 'on'
"""


class BaseBackups:
    """A base backup and copies of the WAL."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.folder = cluster.inside(cluster.folder)
        cluster.run("mkdir", self.folder / "archive")
        archive(cluster, f"cp %p {self.folder}/archive/%f")

    def backup(self) -> None:
        target = ["-D", self.folder / "base", "-d", self.cluster.url(), "-c", "fast"]
        self.cluster.run(self.cluster.bin_folder / "pg_basebackup", *target)

    def recover(self, moment: datetime) -> None:
        """The data folder as it was; the server is stopped, and recovers when it starts."""
        self.cluster.run("rm", "-rf", self.cluster.inside(self.cluster.data))
        self.cluster.run("cp", "-a", self.folder / "base", self.cluster.inside(self.cluster.data))
        with (self.cluster.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(RECOVERY.format(folder=self.folder, moment=moment))
        self.cluster.run("touch", self.cluster.inside(self.cluster.data) / "recovery.signal")


class PgBackRest:
    """The same by pgBackRest, as docs/backup.md sets it up."""

    def __init__(self, cluster: Cluster) -> None:
        found = [cluster.root / place.lstrip("/") / "pgbackrest" for place in os.environ["PATH"].split(":")]
        program = next((place for place in found if place.exists()), None)
        if program is None:
            pytest.skip(f"needs pgBackRest in {cluster.root}: apt-get install pgbackrest")
        self.cluster = cluster
        configuration = cluster.folder / "pgbackrest.conf"
        folder = cluster.inside(cluster.folder)
        with configuration.open("w") as file:
            documented_configuration(folder, cluster.port).write(file, space_around_delimiters=False)
        self.words = [cluster.inside(program), f"--config={cluster.inside(configuration)}", "--stanza=timeseries"]
        try:
            self.run(*documented("stanza-create"))
        except RuntimeError as error:
            if "unexpected control version" in str(error) or "not supported" in str(error):
                pytest.skip(f"this release of pgBackRest does not know the server's version of PostgreSQL: {error}")
            raise
        archive(cluster, " ".join(map(str, [*self.words, "archive-push", "%p"])))

    def run(self, *words: str) -> None:
        self.cluster.environment["PGPASSWORD"] = PASSWORD
        self.cluster.run(*self.words, *words)

    def backup(self) -> None:
        self.run(*documented("check"))
        self.run(*documented("backup"))
        (recording,) = [line for line in blocks("docs/backup.md", "sh")[0].splitlines() if line.startswith("psql")]
        with psycopg.connect(self.cluster.url()) as connection:
            connection.execute(shlex.split(recording)[2])
        time.sleep(1.1)  # its end is known to the second, and a moment must be later

    def recover(self, moment: datetime) -> None:
        *options, verb = documented("restore")
        self.run(*(f"--target={moment}" if word.startswith("--target=") else word for word in options), verb)


def documented_configuration(folder: Path, port: int) -> ConfigParser:
    """The file of docs/backup.md with other folders."""
    found = ConfigParser()
    found.read_string(blocks("docs/backup.md", "ini")[0])
    found.read_string(PLACES.format(folder=folder, port=port))
    return found


def documented(verb: str) -> list[str]:
    """What docs/backup.md lets pgBackRest do: the words of a command, which end with the verb."""
    lines = "".join(blocks("docs/backup.md", "sh")).splitlines()
    (words,) = [line for line in lines if line.startswith("pgbackrest") and line.endswith(f" {verb}")]
    return shlex.split(words)[2:]


Archive = BaseBackups | PgBackRest
ARCHIVES: dict[str, Callable[[Cluster], Archive]] = {"pgBackRest": PgBackRest, "pg_basebackup": BaseBackups}


def archive(cluster: Cluster, command: str) -> None:
    cluster.stop()
    cluster.configure(archive_mode="on", wal_level="replica", max_wal_senders="4", archive_command=command)
    cluster.start()


def wait_until_archived(url: str) -> None:
    """All WAL up to now is in the archive."""
    with psycopg.connect(url, autocommit=True) as connection:
        (segment,) = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchall()[0]
        for _ in range(600):
            (last,) = connection.execute("SELECT last_archived_wal FROM pg_stat_archiver").fetchall()[0]
            if last is not None and Path(last).stem >= segment:
                return
            time.sleep(0.05)
    raise AssertionError(f"{segment} is not archived")


def back_to(archive: Archive, moment: datetime, **settings: str) -> None:
    """Stop the server, recover it to a moment, and wait until it has done so."""
    archive.cluster.stop("immediate")
    archive.recover(moment)
    archive.cluster.configure(**settings)
    archive.cluster.start()
    with psycopg.connect(archive.cluster.url(), autocommit=True) as connection:
        for _ in range(600):
            if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (False,):
                return
            time.sleep(0.05)
    raise AssertionError(f"the server did not recover: {archive.cluster.log.read_text()[-2000:]}")
