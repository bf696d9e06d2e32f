"""Watches of cameras in threads, and what they have seen."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from uuid import UUID

from tests.support.faults import opened
from timeseries import Camera, CameraChange
from timeseries.cameras.watch import CameraWatch


def taken(watch: CameraWatch, number: int) -> list[CameraChange]:
    return list(itertools.islice(watch, number))


def kinds(changes: list[CameraChange]) -> list[tuple[str, int]]:
    return [(change.kind, change.revision) for change in changes]


class Watcher:
    """Watches in a thread, by `for` or by `async for`, until it is closed; what it saw, and what ended it."""

    def __init__(self, watch: CameraWatch, *, by_asyncio: bool = False) -> None:
        self.seen: list[CameraChange] = []
        self.error: Exception | None = None
        self._watch = watch
        self._thread = threading.Thread(target=self._run, args=[by_asyncio])

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.close()
        self._thread.join()

    def _run(self, by_asyncio: bool) -> None:
        try:
            if by_asyncio:
                asyncio.run(self._follow())
            else:
                self.seen.extend(iter(self._watch))
        except Exception as error:
            self.error = error

    async def _follow(self) -> None:
        async for change in self._watch:
            self.seen.append(change)

    def wait_until_begun(self, seconds: float = 60.0) -> None:
        """Until it has read what is there: what changes before is no change to it, but present."""
        deadline = time.monotonic() + seconds
        while self._watch.read_at is None:
            assert self.error is None, self.error
            assert time.monotonic() < deadline, "the watch does not begin"
            time.sleep(0.01)

    def state(self) -> dict[UUID, Camera]:
        """The cameras, as the changes leave them."""
        found: dict[UUID, Camera] = {}
        for change in list(self.seen):
            if change.new is None:
                found.pop(change.camera_id, None)
            else:
                found[change.camera_id] = change.new
        return found

    def wait_for(self, wanted: dict[UUID, Camera], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while self.state() != wanted:
            assert self.error is None, self.error
            assert time.monotonic() < deadline, f"{len(self.seen)} changes seen"
            time.sleep(0.05)


def versions(url: str) -> dict[UUID, Camera]:
    """The cameras as a watcher sees them."""
    with opened(url) as store, store.cameras.watch() as watch:
        number = len(store.cameras.ids())
        return {change.camera_id: change.new for change in taken(watch, number) if change.new}
