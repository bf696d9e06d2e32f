"""Tasks that are cancelled at any moment, of servers that are well and of one that stands still."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from analytics import aio, arrow_client
from tests.support.faults import own_cluster
from tests.support.network import frozen
from tests.support.servers import RunningServer
from tests.support.statements import running
from timeseries import AsyncStore, OccupancyEvent
from timeseries.settings import Settings

pytestmark = pytest.mark.slow
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
TASKS = 300


def test_tasks_cancelled_at_any_moment_leave_nothing_and_lose_nothing(database: str) -> None:
    chance = random.Random(7)

    async def record(store: AsyncStore, events: list[OccupancyEvent]) -> None:
        while True:  # as a caller does that was interrupted: once more
            try:
                async with asyncio.timeout(chance.expovariate(20)):
                    await store.record(events)
                    return
            except TimeoutError:
                continue

    async def ask(number: int, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                frame = await aio.hourly_averages(f"lot {number % 4}", start=NOW - timedelta(hours=9), url=database)
        except TimeoutError:
            return False
        assert set(frame["camera"]) == {f"lot {number % 4}"}
        return True

    async def life() -> None:
        async with await AsyncStore.open(database, settings=Settings()) as store:
            lots = [await store.cameras.add(f"lot {number}") for number in range(4)]
            await store.record([OccupancyEvent(lot.id, NOW - timedelta(hours=9), 1) for lot in lots])
            parts = [
                [OccupancyEvent(lot.id, NOW - timedelta(minutes=5 * n + i), n) for lot in lots for i in range(5)]
                for n in range(1, 41)
            ]
            asked = [ask(number, chance.uniform(0, 3)) for number in range(TASKS)]
            answered = await asyncio.gather(*asked, *(record(store, part) for part in parts))
            print(f"\n{answered[:TASKS].count(True)} of {TASKS} questions were answered, the others cancelled")
            assert running(database, "") == []
            assert {len(page) async for page in aio.events(batch_size=5_000, url=database)} == {4 + 40 * 20}
            assert await ask(1, None)
            assert len(arrow_client._client(database)._free) <= 4

    asyncio.run(life())
    arrow_client.close(database)


def test_a_cancelled_task_of_a_frozen_server_ends_within_seconds(server: RunningServer) -> None:
    async def life(url: str) -> None:
        async with await AsyncStore.open(url, settings=Settings()) as store:
            await store.cameras.add("lot")
            assert len(await aio.latest(url=url)) == 1
            with frozen(cluster):
                for call in (lambda: aio.latest(url=url), store.cameras.list):
                    begun = time.monotonic()
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(1):
                            await call()
                    assert time.monotonic() - begun < 20
            assert len(await aio.latest(url=url)) == len(await store.cameras.list()) == 1

    with own_cluster(server) as cluster:
        asyncio.run(life(cluster.url()))
        arrow_client.close(cluster.url())
