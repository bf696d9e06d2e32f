"""PostgreSQL's own programs: found by version, run without a secret on their command line."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from timeseries.database.connections import Connection, conninfo
from timeseries.database.installations import installations, wheel_bin_folder
from timeseries.database.silence import answers
from timeseries.errors import BackupError, ConfigurationError
from timeseries.settings import POSTGRES_VARIABLE, Settings, environment_with

VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
SECRETS = ("password", "sslpassword")
# In libpq's units. Longer than elsewhere, because a server that stores a dump may read nothing while its disk is busy,
# and a restore cannot go on where it broke off.
TCP_USER_TIMEOUT = "300000"
ASK_EVERY = 20.0  # seconds between two questions whether the server still answers
UNANSWERED = 3  # of them, after which the program is ended


def find_program(name: str, at_least: int, settings: Settings) -> tuple[Path, int]:
    """The installed program of this name with the lowest major version from `at_least` on, and that version.

    It is looked for beside the servers of this machine, on PATH, and in the embedded server's wheel. The lowest version
    is taken, because more servers can restore its archives. Raises ConfigurationError where there is none.
    """
    found = {folder / name: _major(folder / name) for folder in dict.fromkeys(_folders(name, settings))}
    fitting = [(version, program) for program, version in found.items() if version >= at_least]
    if not fitting:
        others = ", ".join(f"{program} ({version})" for program, version in found.items() if version)
        raise ConfigurationError(
            f"no {name} of PostgreSQL {at_least} or newer was found (found: {others or 'none'}); install"
            f" postgresql-client-{at_least}, or set {POSTGRES_VARIABLE} to the prefix of an installation that has it"
        )
    version, program = min(fitting, key=lambda found: found[0])
    return program, version


def _folders(name: str, settings: Settings) -> Iterator[Path]:
    yield from installations(settings.postgres)
    on_path = shutil.which(name)
    if on_path:
        yield Path(on_path).parent
    with suppress(ConfigurationError):
        yield wheel_bin_folder()


def _major(program: Path) -> int:
    """The major version of a program, 0 where it is not there or does not run."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = VERSION.search(done.stdout)
    return int(version[1]) if version else 0


def target(url: str, connection: Connection) -> tuple[str, dict[str, str]]:
    """The server and database of an open connection for another program: its option --dbname, and its environment.

    Of several hosts the connection's own is named. Raises ConfigurationError for a secret that only the command line
    could carry.
    """
    given = conninfo(url, tcp_user_timeout=TCP_USER_TIMEOUT)
    options = {name: str(value) for name, value in conninfo_to_dict(given).items()}
    secrets = {name: options.pop(name) for name in SECRETS if options.get(name)}
    if "sslpassword" in secrets:
        raise ConfigurationError("the URL has sslpassword, which pg_dump cannot be given in secret; use a plain sslkey")
    options.pop("target_session_attrs", None)
    info = connection.info
    options |= {"host": info.host, "port": str(info.port)}
    if "hostaddr" in options:
        options["hostaddr"] = info.hostaddr
    environment = {"PGPASSWORD": secrets["password"]} if secrets else {}
    return f"--dbname={make_conninfo(**options)}", environment


class _Listener(threading.Thread):
    """Reads a program's standard error to its end: `on_line` gets each line, and its last errors are kept."""

    def __init__(self, process: subprocess.Popen[bytes], stderr: IO[bytes], on_line: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self.said: deque[str] = deque(maxlen=5)
        self.raised: Exception | None = None
        self._process, self._stderr, self._on_line = process, stderr, on_line

    def run(self) -> None:
        for line in self._stderr:
            text = line.decode(errors="replace").strip()
            try:
                self._on_line(text)
            except Exception as error:  # the rest is read all the same, because the program would block on a full pipe
                self.raised = self.raised or error
                self._process.kill()
            if "error:" in text or (self.said and text.startswith(("DETAIL:", "HINT:", "Command was:"))):
                self.said.append(text[:500])


class _Guard(threading.Thread):
    """Kills a program whose server has stopped to answer, because the program itself would wait for ever."""

    def __init__(self, process: subprocess.Popen[bytes], server: str) -> None:
        super().__init__(daemon=True)
        self.raised: Exception | None = None
        self._process, self._server = process, server
        self._ended = threading.Event()

    def run(self) -> None:
        unanswered = 0
        while not self._ended.wait(ASK_EVERY):
            unanswered = 0 if answers(self._server) else unanswered + 1
            if unanswered == UNANSWERED and not self._ended.is_set():
                self.raised = BackupError("the database server has answered nobody for a minute")
                self._process.kill()
                return

    def end(self) -> None:
        self._ended.set()


@contextmanager
def running(
    words: Sequence[str | Path],
    environment: dict[str, str],
    server: str,
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.DEVNULL,
    on_line: Callable[[str], None] = lambda line: None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program during the block and wait for its end; `on_line` gets each line of its standard error.

    It is killed where the block or `on_line` raises, or where `server` (libpq's options) no longer answers. Raises
    BackupError where it fails, with its last errors.
    """
    process = subprocess.Popen(  # noqa: S603 - our own words
        words, env=environment_with(LC_ALL="C", **environment), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
    )
    assert process.stderr is not None  # noqa: S101 - for the type checker
    listener = _Listener(process, process.stderr, on_line)
    guard = _Guard(process, server)
    listener.start()
    guard.start()
    try:
        with suppress(BrokenPipeError):  # the program ended early; its standard error says why
            yield process
            if process.stdin is not None:
                process.stdin.close()
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
        guard.end()
        listener.join()
        for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
            with suppress(BrokenPipeError):
                stream.close()
    for raised in filter(None, (guard.raised, listener.raised)):
        raise raised
    if process.returncode:
        reason = "; ".join(listener.said) or f"exit code {process.returncode}"
        raise BackupError(f"{Path(words[0]).name} failed: {reason}")
