"""`make soak`: every fault while everything goes on, from a seed; then nothing is lost or doubled, no average off."""

from __future__ import annotations

import argparse
import logging
import random
import signal
import sys

from tests.soak.soak import LONGEST, Soak, soak
from tests.support.servers import RunningServer, discover, refused_by_docker
from timeseries import ServerKind
from timeseries.cli.output import print_table

COLUMNS = ["server", "seed", "events", "faults", "lost", "doubled", "strange", "wrong", "averages", "worst error"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="in all, the same for each kind of server")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--longest", type=float, default=LONGEST, help="that network or server are silent, in seconds")
    parser.add_argument("--kind", action="append", choices=[kind.value for kind in ServerKind], help="only this kind")
    given = parser.parse_args()
    logging.disable()  # of each fault, the writers say that they wait
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what a fault did is taken back, as at Ctrl-C
    refused = refused_by_docker(only_local=True)
    found = [discover(kind, refused) for kind in ServerKind if given.kind is None or kind in given.kind]
    servers = [RunningServer(place, "", "", lambda: None) for place in found if place.cluster is not None]
    if not servers:
        print("no server is installed here that a soak may harm")
        return 1
    again = f"--seed {given.seed} --seconds {given.seconds:g} --longest {given.longest:g}"
    print(f"seed {given.seed}: make soak SOAK='{again}'", flush=True)
    soaks = []
    for server in servers:
        soaks.append(soak(server, given.seconds / len(servers), given.seed, given.longest))
        show(soaks[-1])
    print_table(COLUMNS, [row(one) for one in soaks])
    return 0 if all(one.good for one in soaks) else 1


def show(one: Soak) -> None:
    print(f"{one.kind.label}: " + ", ".join(f"{number:,} {name}" for name, number in (one.faults | one.counts).items()))
    for bug in one.bugs:
        print(f"  {bug}")
    sys.stdout.flush()


def row(one: Soak) -> list[object]:
    found = one.verdict
    return [
        one.kind.label, str(one.seed), found.events, sum(one.faults.values()), found.lost, found.doubled, found.strange,
        found.wrong, found.averages, f"{found.error:.1e}",
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
