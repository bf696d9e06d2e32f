"""The last lines of a run: where it ran, and what could not be had and why."""

from __future__ import annotations

from tests.support.servers import Found
from timeseries import ServerKind

FOUND: dict[ServerKind, Found] = {}
ORIGINS: dict[str, str] = {}  # of each kind that ran, from where
FAILURES: dict[str, list[str]] = {}  # of each kind, what did not start
TIMESCALEDB = (ServerKind.COMMUNITY, ServerKind.APACHE)
NO_TIMESCALEDB = (
    "No TimescaleDB was found, so what only it can do (hypertables, continuous aggregates, native retention) was not"
    " tested. To test it, install Docker and run the tests again: sudo apt-get install docker.io"
)


def note(kind: str, origin: str | None, failures: list[str]) -> None:
    if origin is not None:
        ORIGINS[kind] = origin
    if failures:
        FAILURES[kind] = list(dict.fromkeys([*FAILURES.get(kind, []), *failures]))


def closing_lines() -> list[str]:
    lines = [f"{kind.label}: {where(kind)}" for kind in ServerKind]
    if not any(FOUND[kind].origins and (kind in ORIGINS or kind not in FAILURES) for kind in TIMESCALEDB):
        lines.append(NO_TIMESCALEDB)
    return lines


def where(kind: ServerKind) -> str:
    """What became of a kind of server in this run."""
    found = FOUND[kind]
    reasons = "; ".join((*found.refused, *FAILURES.get(kind, [])))
    if kind not in ORIGINS:
        if kind in FAILURES or not found.origins:
            return f"could not be had: {reasons}"
        return f"not needed; there is {found.origins[0][0]}"
    said = f"ran, from {ORIGINS[kind]}"
    if found.own is None:
        said += "; tests that need a server to themselves were skipped, because none is installed here"
    elif found.own != ORIGINS[kind]:
        said += f"; tests that need a server to themselves ran on {found.own}"
    return f"{said} ({reasons})" if reasons else said
