"""Which releases of TimescaleDB the store works with, which it must not run on, and which do not go together with a
release of PostgreSQL. Everything that judges a release asks here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from timeseries.database.server import Server, ServerKind

# The oldest releases that the tests ran on.
OLDEST = {ServerKind.COMMUNITY: "2.20", ServerKind.APACHE: "2.19"}
OLDEST_POSTGRESQL = 15
# Continuous aggregates of these releases lose, repeat or cannot refresh rows; the release after each fixed it.
KNOWN_BAD = {"2.22.0", "2.28.0", "2.28.1", "2.28.2", "2.28.3"}
# From these minor releases of PostgreSQL on, every scheduled job fails ("cannot drop portal "" while it is being set
# up") with a TimescaleDB that is older than the fix of its series. Source: TimescaleDB's release notes, and tried on
# PostgreSQL 15.20 with 2.20.3 and 2.27.2.
STRICT_PORTALS = {15: 20, 16: 16, 17: 12, 18: 7}
FIXED = ("2.27.3", "2.28.4", "2.31.2")
NEWEST_OF_POSTGRESQL_15 = "2.28.4"  # 2.29 needs PostgreSQL 16
GOOD = "2.29.2"


def number(version: str) -> tuple[int, ...]:
    """2.29.2 as (2, 29, 2), to compare; of 2.30.0-dev the part before the hyphen."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def why_refused(server: Server) -> str | None:
    """Why the schema is not made on this server, with the remedy; None where it is."""
    if number(server.postgresql)[0] < OLDEST_POSTGRESQL:
        return f"PostgreSQL {server.postgresql} is older than {OLDEST_POSTGRESQL}, the oldest that the store works with"
    return too_old(server)


def too_old(server: Server) -> str | None:
    oldest = OLDEST.get(server.kind)
    if server.timescaledb is None or oldest is None or number(server.timescaledb) >= number(oldest):
        return None
    return (
        f"TimescaleDB {server.timescaledb} is older than {oldest}, the oldest that the store is tested on;"
        f" {update(server)}"
    )


def find_faults(server: Server) -> Iterator[str]:
    """What is wrong with the releases of a server, a sentence each with the remedy."""
    if too := too_old(server):
        yield too
    if server.kind is not ServerKind.COMMUNITY or server.timescaledb is None:
        return
    if server.timescaledb in KNOWN_BAD:
        yield f"TimescaleDB {server.timescaledb} has known faults in continuous aggregates; {update(server)}"
    if not jobs_run(server):
        yield (
            f"scheduled jobs of TimescaleDB {server.timescaledb} fail on PostgreSQL {server.postgresql}, so nothing is"
            f" refreshed, compressed or removed; {update(server)}"
        )


def jobs_run(server: Server) -> bool:
    """Whether scheduled jobs of this TimescaleDB run on this PostgreSQL."""
    if server.timescaledb is None or not has_strict_portals(server):
        return True
    found = number(server.timescaledb)
    return found >= number(FIXED[-1]) or any(
        found[:2] == number(fixed)[:2] and found >= number(fixed) for fixed in FIXED
    )


def has_strict_portals(server: Server) -> bool:
    major, minor, *_ = (*number(server.postgresql), 0)
    return major in STRICT_PORTALS and minor >= STRICT_PORTALS[major]


def update(server: Server) -> str:
    """The remedy: a release that is good on this PostgreSQL, and how a database comes to it."""
    if number(server.postgresql)[0] <= OLDEST_POSTGRESQL:
        wanted = f"{NEWEST_OF_POSTGRESQL_15} (from 2.29 on it needs PostgreSQL 16)"
    else:
        wanted = f"{FIXED[-1] if has_strict_portals(server) else GOOD} or newer"
    return (
        f"install {wanted}, and as the owner of the database run, first in a new session: ALTER EXTENSION timescaledb"
        " UPDATE"
    )
