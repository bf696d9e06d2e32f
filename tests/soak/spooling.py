"""A writer with a spool in a process of its own, which is killed at any moment: python -m tests.soak.spooling.

It writes the number of each event when it is accepted. When its input ends, it stores what waits, and ends.
"""

from __future__ import annotations

import sys
import threading
import time
from datetime import datetime
from itertools import count
from uuid import UUID

from tests.soak.events import event_at
from timeseries import Store, TimeseriesError
from timeseries.settings import Settings


def opened(url: str) -> Store:
    """The store, when its server is there."""
    while True:
        try:
            return Store.open(url, settings=Settings())
        except TimeseriesError:
            time.sleep(0.3)


def main(url: str, spool: str, camera: str, seed: str, end: str, first: str) -> None:
    stopping = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        stopping.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with (
        opened(url) as store,
        store.writer(spool=spool, batch_size=50, flush_interval=0.1, close_timeout=120) as writer,
    ):
        for number in count(int(first)):
            writer.record(event_at(UUID(camera), int(seed), number, datetime.fromisoformat(end)))
            print(number, flush=True)
            if stopping.wait(0.005):
                return


if __name__ == "__main__":
    main(*sys.argv[1:])
