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
from timeseries.database.embedded import installations, wheel_bin_folder
from timeseries.errors import BackupError, ConfigurationError
from timeseries.settings import POSTGRES_VARIABLE, Settings, environment_with

VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
SECRETS = ("password", "sslpassword")


def find_program(name: str, at_least: int, settings: Settings) -> tuple[Path, int]:
    """The program of this name of the oldest major version that is `at_least` so new, and that version.

    It is looked for beside the servers of this machine, on PATH, and in the embedded server's wheel. The oldest that
    will do is also understood by the most servers. Raises ConfigurationError where there is none.
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
    """The server and database of an open connection for another program: an option, and what goes into its environment.

    Of several hosts it is the one that the connection has. Raises ConfigurationError for a secret that only the
    command line could carry.
    """
    options = {name: str(value) for name, value in conninfo_to_dict(conninfo(url)).items()}
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


@contextmanager
def running(
    words: Sequence[str | Path],
    environment: dict[str, str],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.DEVNULL,
    on_line: Callable[[str], None] = lambda line: None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program during the block and wait for its end; `on_line` gets what it says on standard error.

    It is stopped where the block or `on_line` fails. Raises BackupError with its last words where it failed.
    """
    said: deque[str] = deque(maxlen=5)
    raised: list[Exception] = []

    def listen(stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode(errors="replace").strip()
            try:
                on_line(text)
            except Exception as error:  # unread, the program would wait for a reader for ever
                raised.append(error)
                process.kill()
            if "error:" in text or (said and text.startswith(("DETAIL:", "HINT:", "Command was:"))):
                said.append(text[:500])

    process = subprocess.Popen(  # noqa: S603 - our own words
        words, env=environment_with(LC_ALL="C", **environment), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
    )
    assert process.stderr is not None  # noqa: S101 - for the type checker
    listener = threading.Thread(target=listen, args=[process.stderr], daemon=True)
    listener.start()
    try:
        with suppress(BrokenPipeError):  # it ended early, and says why
            yield process
            if process.stdin is not None:
                process.stdin.close()
    except BaseException:
        process.kill()
        raise
    finally:
        process.wait()
        listener.join()
        for stream in filter(None, (process.stdin, process.stdout, process.stderr)):
            with suppress(BrokenPipeError):
                stream.close()
    if raised:
        raise raised[0]
    if process.returncode:
        reason = "; ".join(said) or f"exit code {process.returncode}"
        raise BackupError(f"{Path(words[0]).name} failed: {reason}")
