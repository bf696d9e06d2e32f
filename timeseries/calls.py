"""Blocking calls in threads for asyncio: so many at once, each cancelled on the server with its task."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from timeseries.cancellation import LONGEST, Cancellation

Result = TypeVar("Result")


class Calls:
    """Threads for calls; further calls wait for one. A call is cancelled when its task is: one that waits for a thread
    never begins, the statement of one under way is ended on the server.
    """

    def __init__(self, number: int, name: str) -> None:
        """`number` is how many calls there are at once, at most."""
        self._threads = ThreadPoolExecutor(number, thread_name_prefix=name)

    async def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns."""
        cancellation = Cancellation()
        call = self._threads.submit(copy_context().run, cancellation.call, work)
        try:
            return await asyncio.wrap_future(call)
        except asyncio.CancelledError:
            if not call.cancel():  # it has begun
                await _ended(cancellation, call)
            raise

    def close(self) -> None:
        """End the threads when their calls have ended; nothing waits for that."""
        self._threads.shutdown(wait=False)


async def _ended(cancellation: Cancellation, call: Future[Any]) -> None:
    """Wait for the end of a cancelled call, so that its task leaves nothing behind on the server."""
    threading.Thread(target=cancellation.end, args=[call], name="timeseries-cancel", daemon=True).start()
    ended = asyncio.wrap_future(call)
    ended.add_done_callback(lambda future: future.cancelled() or future.exception())  # it concerns nobody any more
    await asyncio.wait([ended], timeout=LONGEST)
