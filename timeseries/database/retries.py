"""Another try at a transaction that could not get its locks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
Result = TypeVar("Result")


def retried(
    work: Callable[[], Result], *, attempts: int = 5, pause: float = 0.0, on: tuple[type[psycopg.Error], ...] = LOCKED
) -> Result:
    """What `work` returns. After an error of `on` it is tried again, `attempts` times in all; the last error passes.

    The pauses grow by `pause` seconds each, because sessions that queue for the lock must get it first.
    """
    for attempt in range(1, attempts):
        try:
            return work()
        except on:
            time.sleep(pause * attempt)
    return work()
