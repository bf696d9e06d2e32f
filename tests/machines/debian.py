"""Debian as images of a Docker engine: the published ones, or made by debootstrap where those cannot be pulled.

Needs nothing but Python, so that it runs before any environment is made.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

SUITES = {12: "bookworm", 13: "trixie"}
ROOTS = Path(os.environ.get("TIMESERIES_TEST_ROOTS", "/var/lib/timeseries-test"))
LABEL = "timeseries.stand-in"
# Debian's packages, and then what this machine needs to reach a package index: `install` writes the three files.
INSTALL = """\
FROM {base}
LABEL {label}="{base}"
COPY apt.conf /etc/apt/apt.conf.d/99host
RUN apt-get update -qq \\
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends {packages} >/dev/null \\
    && rm -rf /var/lib/apt/lists/*
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY pip.conf /etc/pip.conf
"""


class NoImageError(Exception):
    """An image can neither be pulled nor made; the message gives the reason."""


def engine() -> str | None:
    """The version of the engine that `docker` talks to, or None."""
    if shutil.which("docker") is None:
        return None
    done = docker("version", "--format", "{{.Server.Version}}", check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def docker(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *map(str, words)], capture_output=True, text=True)
    if check and done.returncode:
        raise NoImageError(f"docker {words[0]}: {last_line(done.stdout + done.stderr)}")
    return done


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def is_here(image: str) -> bool:
    return docker("image", "inspect", image, check=False).returncode == 0


def is_stand_in(image: str) -> bool:
    """Whether an image that is here was made by this module, not published under its name."""
    label = docker("image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', image).stdout
    return bool(label.strip())


def can_be_had(image: str) -> bool:
    """Whether the engine has an image, or could pull it just now."""
    return is_here(image) or docker("pull", "--quiet", image, check=False).returncode == 0


def base(version: int) -> str:
    """The name of an image of this Debian with nothing installed. Raises NoImageError."""
    image = f"debian:{version}"
    if not can_be_had(image):
        import_root(image, SUITES[version])
    return image


def import_root(image: str, suite: str) -> None:
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise NoImageError(f"{image} cannot be pulled, and to make it takes debootstrap and root")
    ROOTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOTS, prefix=f"{suite}-") as folder:
        done = subprocess.run(["debootstrap", "--variant=minbase", suite, folder], capture_output=True, text=True)
        if done.returncode:
            raise NoImageError(f"debootstrap {suite}: {last_line(done.stdout + done.stderr)}")
        with subprocess.Popen(["tar", "-C", folder, "--exclude=./var/cache/apt/archives/*.deb", "-c", "."],
                              stdout=subprocess.PIPE) as tar:  # fmt: skip
            words = ["docker", "import", "--change", f'LABEL {LABEL}="{suite}"', "--change", 'CMD ["bash"]', "-", image]
            subprocess.run(words, stdin=tar.stdout, check=True, capture_output=True)


def install(
    image: str, version: int, packages: list[str], then: str = "", files: dict[str, Path] | None = None
) -> None:
    """Make an image of Debian with packages; `then` are further lines of its Dockerfile, `files` what they COPY."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        (context / "apt.conf").write_text(apt_conf())
        (context / "pip.conf").write_text(pip_conf())
        shutil.copyfile(ssl.get_default_verify_paths().cafile or os.devnull, context / "ca-certificates.crt")
        for name, path in (files or {}).items():
            copy = shutil.copytree if path.is_dir() else shutil.copy
            copy(path, context / name)
        text = INSTALL.format(base=base(version), label=LABEL, packages=" ".join(packages)) + then
        (context / "Dockerfile").write_text(text)
        proxies = [f"--build-arg={name}" for name in os.environ if re.fullmatch("(?i)(https?|no)_proxy", name)]
        docker("build", "--quiet", *proxies, "--tag", image, context)


def apt_conf() -> str:
    """How this machine's apt reaches its mirror."""
    if shutil.which("apt-config") is None:
        return ""
    dumped = subprocess.run(["apt-config", "dump"], capture_output=True, text=True).stdout
    kept = re.findall(r"^Acquire::(?:https?::Proxy|Check-).*;$", dumped, re.MULTILINE)
    return "".join(f"{line}\n" for line in kept)


def pip_conf() -> str:
    """How this machine's pip reaches its index; folders of this machine are left out, because no image has them."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    found = re.findall(r"^\S+\.(index-url|extra-index-url|trusted-host|proxy)='(.*)'$", listed, re.MULTILINE)
    kept = {name: value for name, value in found if "file:" not in value}
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt", *(f"{n} = {value}" for n, value in kept.items())]
    return "\n".join(lines) + "\n"
