"""The control plane with sample data on the embedded server: make control, then open http://127.0.0.1:8000.

    python examples/control_plane/demo.py [PORT]

It does what an operator does once: as the owner it makes a role of the kind `control`, as which the control plane
connects. Beside it somebody counts cars, so that there is something to see.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
import threading
from datetime import UTC, datetime

import uvicorn
from sqlalchemy import make_url

from timeseries import CameraExistsError, HealthLog, OccupancyEvent, Store, grant
from timeseries.sample_data import LOTS, SampleLot, occupancy

ROLE = "control_plane"


def add_lots(store: Store) -> None:
    for lot in LOTS:
        try:
            store.cameras.add(lot.name, timezone=lot.timezone, capacity=lot.capacity, id=lot.id, by="demo")
        except CameraExistsError:
            continue


def url_of_role(url: str) -> str:
    """The URL with which the control plane connects, as a role with a fresh password."""
    password = secrets.token_urlsafe()
    grant(url, control=[ROLE], passwords=[password])
    return make_url(url).set(username=ROLE, password=password).render_as_string(hide_password=False)


def count_cars(store: Store, ended: threading.Event) -> None:
    """A count of each lot now and then, until it is ended."""
    with store.writer() as writer:
        for lot in LOTS:
            writer.record(HealthLog(lot.id, datetime.now(UTC), "healthy"))
        while not ended.wait(2):
            writer.record(event_now(random.choice(LOTS)))  # noqa: S311 - not a secret


def event_now(lot: SampleLot) -> OccupancyEvent:
    now = datetime.now(UTC)
    return OccupancyEvent(lot.id, now, occupancy(lot, now, random.gauss(0, 1)))


def main(port: int = 8000) -> None:
    with Store.open() as store:
        add_lots(store)
        os.environ["TIMESERIES_DATABASE_URL"] = url_of_role(store.url)
        ended = threading.Event()
        counting = threading.Thread(target=count_cars, args=[store, ended])
        counting.start()
        try:
            uvicorn.run("control_plane:app", port=port, timeout_graceful_shutdown=2)
        finally:
            ended.set()
            counting.join()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
