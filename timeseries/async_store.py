"""The store for asyncio: the methods of `Store`, `Cameras` and `Groups` themselves, run in threads of their own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from timeseries.calls import Calls
from timeseries.cameras import Cameras, Groups
from timeseries.cameras.watch import CameraWatch
from timeseries.periods import Periods
from timeseries.settings import Settings
from timeseries.store import Store

P = ParamSpec("P")
R = TypeVar("R")


def asynchronous(
    method: Callable[Concatenate[Any, P], R],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """A method with the name, arguments and docstring of another, which it calls in a thread."""

    @wraps(method)
    async def call(
        self: AsyncStore | AsyncCameras | AsyncGroups | AsyncPeriods, *given: P.args, **options: P.kwargs
    ) -> R:
        return await self._calls.run(partial(method, self._called, *given, **options))

    return cast(Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], call)


class AsyncCameras:
    """`Cameras` for asyncio."""

    def __init__(self, cameras: Cameras, calls: Calls) -> None:
        self._called, self._calls = cameras, calls

    add = asynchronous(Cameras.add)
    update = asynchronous(Cameras.update)  # type: ignore[arg-type]  # to a ParamSpec `self` could be a change
    get = asynchronous(Cameras.get)
    list = asynchronous(Cameras.list)
    ids = asynchronous(Cameras.ids)
    remove = asynchronous(Cameras.remove)
    connection_string = asynchronous(Cameras.connection_string)
    history = asynchronous(Cameras.history)

    def watch(self, *, poll: float = 2.0) -> CameraWatch:
        return self._called.watch(poll=poll)

    watch.__doc__ = Cameras.watch.__doc__  # no wraps(), by which type checkers take it for a function without self


class AsyncPeriods:
    """`Periods` for asyncio."""

    def __init__(self, periods: Periods, calls: Calls) -> None:
        self._called, self._calls = periods, calls

    add = asynchronous(Periods.add)
    update = asynchronous(Periods.update)  # type: ignore[arg-type]
    get = asynchronous(Periods.get)
    list = asynchronous(Periods.list)
    remove = asynchronous(Periods.remove)


class AsyncGroups:
    """`Groups` for asyncio."""

    def __init__(self, groups: Groups, calls: Calls) -> None:
        self._called, self._calls = groups, calls

    add = asynchronous(Groups.add)
    update = asynchronous(Groups.update)  # type: ignore[arg-type]  # as that of cameras
    get = asynchronous(Groups.get)
    list = asynchronous(Groups.list)
    remove = asynchronous(Groups.remove)
    join = asynchronous(Groups.join)
    leave = asynchronous(Groups.leave)


class AsyncStore:
    """`Store` for asyncio, as a web process needs it: `cameras`, `groups`, `periods`, events and the status. Close it,
    or use `async with`.

    When a task is cancelled its statement is cancelled on the server, before the task ends: nothing of it is stored,
    unless it was committed already. A call that comes when all connections are busy waits for one, as long as it takes.
    `store` is the `Store` itself, with all that blocks; its writer has `arecord`.
    """

    def __init__(self, store: Store) -> None:
        self.store = self._called = store
        self._calls = Calls(store.pool.max_size, "timeseries-store")
        self.cameras = AsyncCameras(store.cameras, self._calls)
        self.groups = AsyncGroups(store.groups, self._calls)
        self.periods = AsyncPeriods(store.periods, self._calls)

    def __repr__(self) -> str:
        return "AsyncStore()"

    @classmethod
    async def open(
        cls, url: str | None = None, *, settings: Settings | None = None, pool_size: int | None = None
    ) -> AsyncStore:
        """`Store.open` in a thread, with its arguments and errors: `async with await AsyncStore.open() as store`."""
        opening = Calls(1, "timeseries-open")
        try:
            return cls(await opening.run(partial(Store.open, url, settings=settings, pool_size=pool_size)))
        finally:
            opening.close()

    record = asynchronous(Store.record)
    record_frame = asynchronous(Store.record_frame)
    export_averages = asynchronous(Store.export_averages)
    import_averages = asynchronous(Store.import_averages)
    status = asynchronous(Store.status)
    server = asynchronous(Store.server)

    async def close(self) -> None:
        """Give the connections back, when the calls under way have ended."""
        await self._calls.run(self.store.close)
        self._calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
