"""A Docker engine for the tests: whether there is one, which images it has or can pull, and servers in containers."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.support.clusters import PASSWORD, SETTINGS, TIMESCALE_SETTINGS
from timeseries import ServerKind

IMAGES = {
    kind: os.environ.get(f"TIMESERIES_TEST_{kind.name}_IMAGE", image)
    for kind, image in {
        ServerKind.COMMUNITY: "timescale/timescaledb:2.29.2-pg18",
        ServerKind.APACHE: "timescale/timescaledb:2.29.2-pg18-oss",
        ServerKind.POSTGRESQL: "postgres:18.6",
    }.items()
}
ASK = 20  # seconds for an engine or a registry to say anything
PULL = 900  # seconds for an image


def why_no_engine() -> str | None:
    """Why no container can be started here, None where one can."""
    if shutil.which("docker") is None:
        return "Docker is not installed"
    return _complaint("docker", "version", "--format", "{{.Server.Version}}")


def missing_images(images: Iterable[str]) -> dict[str, str]:
    """Pull what the engine lacks; the images that cannot be had, each with the reason."""
    wanted = list(images)
    with ThreadPoolExecutor(max_workers=4) as pool:
        complaints = pool.map(_obtain, wanted)
    return {image: complaint for image, complaint in zip(wanted, complaints, strict=True) if complaint is not None}


def _obtain(image: str) -> str | None:
    """Ask the registry before pulling, because without a network a pull tries for minutes."""
    if _complaint("docker", "image", "inspect", image) is None:
        return None
    return _complaint("docker", "manifest", "inspect", image) or _complaint("docker", "pull", image, timeout=PULL)


def _complaint(*command: str, timeout: float = ASK) -> str | None:
    """The last thing that a command says when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        return f"no answer to {' '.join(command[:2])} within {timeout:.0f} s"
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"{' '.join(command[:2])} failed"])[-1]


def start_container(kind: ServerKind) -> tuple[str, Callable[[], None]]:
    """A URL of a new server, and how to remove it."""
    from testcontainers.community.postgres import PostgresContainer

    settings = SETTINGS | {"listen_addresses": "*"}
    if kind is not ServerKind.POSTGRESQL:
        settings |= TIMESCALE_SETTINGS
    words = " ".join(f"-c {name}={value}" for name, value in settings.items())
    container = PostgresContainer(
        IMAGES[kind], username="postgres", password=PASSWORD, dbname="postgres", driver=None
    ).with_command(f"postgres {words}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        container.start()
    return container.get_connection_url(), container.stop


def do_without_ryuk() -> None:
    """Containers are removed by the tests alone; testcontainers' own cleaner is an image that may not be had either."""
    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # for the workers, too
