"""Both commands of README on machines that have nothing but Python, git and make: containers of Debian 12 and 13.

Each takes a fresh clone of HEAD, and runs the commands as root or as an ordinary user; with the
network, or cut off from it once `.venv` is made. Prints a table; exit code 0 only when each command succeeded.

    make fresh                                                    # all of it
    make fresh FRESH="--debian 12 --user parking --network on"    # one machine
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.machines import debian

ROOT = Path(__file__).parents[2]
USERS = ("root", "parking")
COMMANDS = ("make demo", "make test")
CLONE = "cd && git clone --quiet /checkout.bundle project"
SHARED_MEMORY = "8g"  # at the most; a machine that is no container has half of its memory there
READY = "cd && cd project && make .venv/.ready"


@dataclass(frozen=True)
class Machine:
    """A container: Debian's version, who works there, and whether the network is `on`, or `cut` after installation."""

    version: int
    user: str
    network: str


@dataclass(frozen=True)
class Outcome:
    """What a command did on a machine; `log` is all that it printed."""

    machine: Machine
    command: str
    code: int
    seconds: float
    log: Path

    def row(self) -> str:
        where = f"debian:{self.machine.version}  {self.machine.user:8} {self.machine.network:8}"
        said = re.sub(r"^make: \*\*\*.*", "", self.log.read_text(errors="replace"), flags=re.MULTILINE)
        last = debian.last_line(said).strip("= ")  # pytest draws a line around its last words
        return f"{where} {self.command:20} {self.code:4} {self.seconds:8.0f}  {last[:100]}"


HEADER = f"{'image':10} {'user':8} {'network':8} {'command':20} {'exit':>4} {'seconds':>8}  last line"


def image(version: int) -> str:
    """Debian as the users of README have it. Raises NoImageError."""
    name = f"timeseries-test/fresh:{version}"
    if not debian.is_here(name):
        packages = ["git", "make", "python3", "python3-venv"]
        debian.install(name, version, packages, f"RUN useradd --create-home --shell /bin/bash {USERS[1]}\n")
    return name


@contextmanager
def started(machine: Machine, bundle: Path) -> Iterator[str]:
    """The id of a running container that sees the bundle."""
    given = ["--volume", f"{bundle}:/checkout.bundle:ro", "--shm-size", SHARED_MEMORY]
    words = ["run", "--detach", "--init", *given, image(machine.version)]
    container = debian.docker(*words, "sleep", "infinity").stdout.strip()
    try:
        yield container
    finally:
        debian.docker("rm", "--force", "--volumes", container)


def outcomes(machine: Machine, commands: list[str], bundle: Path, logs: Path) -> Iterator[Outcome]:
    """What the commands did, one after the other; after a failed preparation nothing else is tried."""
    with started(machine, bundle) as container:
        for command in [CLONE, READY] if machine.network == "cut" else [CLONE]:
            prepared = execute(container, machine, command, logs)
            if prepared.code:
                yield prepared
                return
        if machine.network == "cut":
            debian.docker("network", "disconnect", "bridge", container)
        for command in commands:
            yield execute(container, machine, f"cd && cd project && {command}", logs)


def execute(container: str, machine: Machine, command: str, logs: Path) -> Outcome:
    name = command.rpartition("&& ")[2]
    title = f"debian {machine.version} {machine.user} {machine.network} {name}"
    log = logs / (re.sub(r"\W+", "-", title) + ".log")
    begin = time.monotonic()
    with log.open("w") as output:
        words = ["docker", "exec", "--user", machine.user, container, "bash", "-lc", command]
        code = subprocess.run(words, stdout=output, stderr=subprocess.STDOUT).returncode
    return Outcome(machine, name, code, time.monotonic() - begin, log)


@contextmanager
def committed() -> Iterator[Path]:
    """HEAD as a bundle, a file that git clones whoever owns it: containers reach nothing else of the checkout."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "checkout.bundle"
        subprocess.run(["git", "-C", ROOT, "bundle", "create", "--quiet", bundle, "HEAD"], check=True)
        Path(folder).chmod(0o755)
        bundle.chmod(0o644)
        yield bundle


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--debian", nargs="+", type=int, choices=debian.SUITES, default=list(debian.SUITES))
    parser.add_argument("--user", nargs="+", choices=USERS, default=list(USERS))
    parser.add_argument("--network", nargs="+", choices=["on", "cut"], default=["on", "cut"])
    parser.add_argument("--command", nargs="+", default=list(COMMANDS), metavar="COMMAND")
    parser.add_argument("--logs", type=Path, default=ROOT / "build" / "fresh", help="folder for what is printed there")
    return parser.parse_args()


def main() -> int:
    given = options()
    if debian.engine() is None:
        print("no Docker engine answers: see `docker version`")
        return 1
    given.logs.mkdir(parents=True, exist_ok=True)
    failed = 0
    print(HEADER, flush=True)
    with committed() as bundle:
        for machine in itertools.starmap(Machine, itertools.product(given.debian, given.user, given.network)):
            for outcome in outcomes(machine, given.command, bundle, given.logs):
                print(outcome.row(), flush=True)
                failed += outcome.code != 0
    print(f"all that was printed there: {os.path.relpath(given.logs)}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except debian.NoImageError as error:
        sys.exit(f"no machine: {error}")
