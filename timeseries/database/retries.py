"""Another try at a transaction that could not get its locks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg

LOCKED = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,  # of two sessions that decompress the same batch
)
Result = TypeVar("Result")


def retried(
    work: Callable[[], Result],
    *,
    attempts: int = 5,
    pause: float = 0.0,
    patience: float = math.inf,
    on: tuple[type[psycopg.Error], ...] = LOCKED,
) -> Result:
    """What `work` returns. After an error of `on` it is tried again, `attempts` times in all, or until `patience`
    seconds have passed; the last error passes.

    The pauses grow by `pause` seconds each, because sessions that queue for the lock must get it first.
    """
    end = time.monotonic() + patience
    for attempt in range(1, attempts):
        try:
            return work()
        except on:
            if time.monotonic() > end:
                raise
            time.sleep(pause * attempt)
    return work()
