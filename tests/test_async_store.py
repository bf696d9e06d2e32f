"""The store for asyncio: the same answers and errors, and a cancelled task leaves nothing on the server."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from analytics import aio, arrow_client
from tests.support.statements import running, waiting
from timeseries import AsyncStore, Camera, OccupancyEvent, Store, UnknownCameraError
from timeseries.async_store import AsyncCameras, AsyncGroups
from timeseries.cameras import Cameras, Groups
from timeseries.settings import Settings

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
SLOW = "SELECT pg_sleep(30)::text AS slept"


@pytest.fixture
def url(database: str) -> Iterator[str]:
    yield database
    arrow_client.close(database)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Every statement that reads cameras waits."""
    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE cameras IN ACCESS EXCLUSIVE MODE")
        yield


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to that")


async def lots(store: AsyncStore, number: int) -> list[Camera]:
    """As many cameras, each with its own count for two hours."""
    cameras = [await store.cameras.add(f"lot {n}") for n in range(number)]
    hours = [NOW - timedelta(hours=h) for h in (2, 3)]
    await store.record([OccupancyEvent(lot.id, hour, n) for n, lot in enumerate(cameras) for hour in hours])
    return cameras


def test_cameras_events_and_answers_are_awaited(url: str) -> None:
    async def life() -> None:
        async with await AsyncStore.open(url, settings=Settings()) as store:
            (lot,) = await lots(store, 1)
            assert await store.cameras.get("lot 0") == lot
            assert (await store.cameras.update(lot, capacity=9)).capacity == 9
            async with store.cameras.watch() as watch:
                assert (await anext(watch)).camera_id == lot.id
            assert (await store.status()).cameras == 1
            assert (await aio.latest("lot 0", url=url))["occupied_count"].tolist() == [0]
            pages = [page async for page in aio.events(batch_size=1, url=url)]
            assert [len(page) for page in pages] == [1, 1]
            with pytest.raises(UnknownCameraError, match="did you mean 'lot 0'"):
                await store.cameras.get("lot 1")

    asyncio.run(life())


def test_sixty_four_answers_at_once_are_each_its_own_by_four_connections(url: str) -> None:
    async def life() -> None:
        async with await AsyncStore.open(url, settings=Settings()) as store:
            cameras = await lots(store, 64)
            asked = [aio.hourly_averages(lot, start=NOW - timedelta(hours=3), end=NOW, url=url) for lot in cameras]
            answers = await asyncio.gather(*asked)
            for number, frame in enumerate(answers):
                assert frame["camera"].unique().tolist() == [f"lot {number}"]
                assert frame["occupied_avg"].tolist() == [number] * 3
            assert len(arrow_client._client(url)._free) <= 4

    asyncio.run(life())


Call = Callable[[AsyncStore, Camera, str], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "answer": lambda store, lot, url: aio.latest(url=url),
    "page": lambda store, lot, url: anext(aio.events(url=url)),
    "cameras": lambda store, lot, url: store.cameras.list(),
    "record": lambda store, lot, url: store.record([OccupancyEvent(lot.id, NOW, 7)]),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_cancelled_task_leaves_no_statement_on_the_server(url: str, name: str) -> None:
    async def life() -> None:
        async with await AsyncStore.open(url, settings=Settings()) as store:
            (lot,) = await lots(store, 1)
            with locked(url):
                task = asyncio.ensure_future(CALLS[name](store, lot, url))
                await until(lambda: waiting(url))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert waiting(url) == []
            assert (await aio.latest(url=url))["occupied_count"].tolist() == [0]  # nothing of it was stored
            assert await store.record([OccupancyEvent(lot.id, NOW, 7)])

    asyncio.run(life())


def test_a_time_limit_of_asyncio_ends_the_query_on_the_server(url: str) -> None:
    async def life() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await aio.awaited(arrow_client.fetch)(SLOW, {}, url)
        assert running(url, "pg_sleep") == []
        assert len(await aio.latest(url=url)) == 0

    asyncio.run(life())


def test_a_question_that_waits_for_its_turn_is_cancelled_before_it_begins(url: str) -> None:
    async def life() -> None:
        ask = aio.awaited(arrow_client.fetch)
        busy = [asyncio.ensure_future(ask(SLOW, {}, url)) for _ in range(8)]  # four of them wait in their threads
        await until(lambda: len(running(url, "pg_sleep")) == 4)
        later = asyncio.ensure_future(ask("SELECT 'later' AS said, pg_sleep(30)::text AS slept", {}, url))
        await asyncio.sleep(0)
        later.cancel()
        await asyncio.wait([later], timeout=1)
        assert later.cancelled()
        for task in busy:
            task.cancel()
        await asyncio.wait(busy)
        assert running(url, "pg_sleep") == []

    asyncio.run(life())


def test_every_method_of_cameras_and_groups_is_there_with_its_arguments_and_docstring() -> None:
    public = {name for name, value in vars(Cameras).items() if callable(value) and not name.startswith("_")}
    assert {name for name in vars(AsyncCameras) if not name.startswith("_")} == public - {"decrypt_if_encrypted"}
    public = {name for name, value in vars(Groups).items() if callable(value) and not name.startswith("_")}
    assert {name for name in vars(AsyncGroups) if not name.startswith("_")} == public
    for own, of in ((AsyncCameras, Cameras), (AsyncGroups, Groups), (AsyncStore, Store)):
        for name in {*vars(own)} & {*vars(of)} - {"open", "close"}:
            later, method = getattr(own, name), getattr(of, name)
            if not name.startswith("_"):
                assert inspect.iscoroutinefunction(later) == (name != "watch")  # that is an iterator for both
                assert inspect.signature(later) == inspect.signature(method)
                assert inspect.getdoc(later) == inspect.getdoc(method)
