"""The images that compose and the tests need: pulled, or stand-ins under their names where they cannot be.

A stand-in is Debian's PostgreSQL with Debian's TimescaleDB, which is the Apache-2 edition; a local installation of the
Community edition, copied; Debian's Python. It behaves as the published image does at its start, and is not its version.

    make images                  # says of each image where it came from; exit code 1 where one is missing
    docker image rm NAME         # makes way for the published one
    tests/machines/images.py --kinds      # the kinds of server whose image is here, as words for pytest
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from tests.machines import debian
from tests.support.containers import IMAGES
from timeseries import ServerKind
from timeseries.database.installations import has_community, installations

HERE = Path(__file__).parent
PYTHON = re.findall(r"^ARG BASE=(\S+)$", (HERE.parents[1] / "Dockerfile").read_text(), re.MULTILINE)[0]
# glibc's own libraries are the image's; it has a newer one than the machine that a local installation was made on.
GLIBC = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util))\.so\.\d+")
DATABASE = """\
COPY entrypoint /usr/local/bin/docker-entrypoint.sh
ENV PATH={bin}:$PATH LANG=C.UTF-8 PGDATA=/var/lib/postgresql/18/docker
RUN id postgres >/dev/null 2>&1 || useradd --system --user-group --home-dir /var/lib/postgresql postgres; \\
    install --directory --owner=postgres --group=postgres --mode=3777 \\
        /var/run/postgresql /var/lib/postgresql /docker-entrypoint-initdb.d \\
    && printf '%s\\n' "listen_addresses = '*'" "unix_socket_directories = '/var/run/postgresql, /tmp'" {settings} \\
        >> {share}/postgresql.conf.sample
{extension}VOLUME /var/lib/postgresql
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
EXPOSE 5432
STOPSIGNAL SIGINT
"""
TIMESCALE = "\"shared_preload_libraries = 'timescaledb'\""
EXTENSION = """\
RUN echo 'CREATE EXTENSION timescaledb; \\c template1 \\\\ CREATE EXTENSION timescaledb;' \\
    > /docker-entrypoint-initdb.d/000_install_timescaledb.sql
"""


def plain(image: str) -> None:
    distributed(image, ["postgresql-17"], timescale=False)


def apache(image: str) -> None:
    distributed(image, ["postgresql-17-timescaledb"], timescale=True)


def distributed(image: str, packages: list[str], *, timescale: bool) -> None:
    share, folder = "/usr/share/postgresql/17", "/usr/lib/postgresql/17/bin"
    debian.install(image, 13, packages, database(folder, share, timescale=timescale), {"entrypoint": entrypoint()})


def database(folder: str, share: str, *, timescale: bool) -> str:
    extra = {"settings": TIMESCALE, "extension": EXTENSION} if timescale else {"settings": "", "extension": ""}
    return DATABASE.format(bin=folder, share=share, **extra)


def entrypoint() -> Path:
    return HERE / "image_entrypoint.sh"


def community(image: str) -> None:
    """A local installation of the Community edition, in the folders that it was made for."""
    folders = (folder for folder in installations() if (folder / "postgres").exists())
    found = next(filter(has_community, folders), None)
    if found is None:
        raise debian.NoImageError(f"{image} cannot be pulled, and no TimescaleDB Community is installed here to copy")
    parts = {name: Path(run(found / "pg_config", f"--{name}").strip()) for name in ("bindir", "pkglibdir", "sharedir")}
    libraries = {path.name: path for path in shared_libraries(parts.values())}
    copies = "".join(f"COPY {name} {path}\n" for name, path in parts.items())
    copies += "".join(f"COPY {name} /usr/local/lib/\n" for name in libraries)
    text = database(str(parts["bindir"]), str(parts["sharedir"]), timescale=True)
    files = parts | libraries | {"entrypoint": entrypoint()}
    debian.install(image, 13, ["tzdata"], f"{copies}RUN ldconfig\n{text}", files)


def shared_libraries(folders: Iterable[Path]) -> set[Path]:
    """What the programs and modules in these folders are linked with, glibc aside."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    programs = [path for path in files if path.read_bytes()[:4] == b"\x7fELF"]
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True)  # 1 where one is linked with nothing
    linked = re.findall(r"=> (/\S+)", listed.stdout)
    return {Path(path) for path in linked if not GLIBC.fullmatch(Path(path).name)}


def run(*words: object) -> str:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout


def python(image: str) -> None:
    """Debian's Python under the names of the published image, whose pip installs into it."""
    then = "RUN ln -s python3 /usr/bin/python && rm /usr/lib/python3*/EXTERNALLY-MANAGED\n"
    debian.install(image, 13, ["python3", "python3-pip"], then)


MAKERS: dict[str, Callable[[], None]] = {
    IMAGES[ServerKind.POSTGRESQL]: partial(plain, IMAGES[ServerKind.POSTGRESQL]),
    IMAGES[ServerKind.APACHE]: partial(apache, IMAGES[ServerKind.APACHE]),
    IMAGES[ServerKind.COMMUNITY]: partial(community, IMAGES[ServerKind.COMMUNITY]),
    PYTHON: partial(python, PYTHON),
}


def provide(image: str) -> str:
    """Have an image; return where it came from. Raises NoImageError."""
    if not debian.can_be_had(image):
        MAKERS[image]()
    return "stand-in" if debian.is_stand_in(image) else "published"


def main(words: list[str]) -> int:
    if debian.engine() is None:
        print("no Docker engine answers: see `docker version`", file=sys.stderr)
        return 1
    if words == ["--kinds"]:
        print(" ".join(f"--require {kind}" for kind, image in IMAGES.items() if debian.is_here(image)))
        return 0
    missing = 0
    for image in MAKERS:
        try:
            where = provide(image)
        except debian.NoImageError as error:
            where, missing = f"missing: {error}", missing + 1
        print(f"{image:45} {where}", flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
