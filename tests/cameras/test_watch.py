"""Watching cameras: every change once, whatever commits first or stands in between."""

from __future__ import annotations

import asyncio
import contextlib
import time

import psycopg
import pytest

from tests.support.bouncer import Bouncer
from tests.support.faults import opened, port_of, through
from tests.support.proxy import Proxy
from tests.support.roles import MakeRole, control, ingest, make_role, reader, worker
from tests.support.watchers import Watcher, kinds, taken, versions
from timeseries import CameraChange, NotAllowedError, ServerUnavailableError, Store
from timeseries.cameras.watch import CameraWatch
from timeseries.settings import Settings

__all__ = ["MakeRole", "control", "ingest", "make_role", "reader", "worker"]

RTSP = "rtsp://admin:hunter2@10.0.0.7/1"
RARELY = 300.0  # seconds: what comes earlier came by a notification


def test_a_watch_begins_with_what_is_there_and_goes_on_with_each_change(store: Store, worker: str) -> None:
    lot = store.cameras.add("North Lot", capacity=80, connection_string=RTSP)
    with Store.open(worker, settings=Settings()) as narrow, narrow.cameras.watch(poll=RARELY) as watch:
        (present,) = taken(watch, 1)
        assert (present.kind, present.old, present.revision) == ("present", None, 1)
        store.cameras.update(lot, capacity=90, by="ada")
        other = store.cameras.add("Other")
        store.cameras.update(lot, connection_string=None)
        store.cameras.remove(other)
        changes = taken(watch, 4)
    assert kinds(changes) == [("changed", 2), ("added", 1), ("changed", 3), ("removed", 2)]
    first, _, second, last = changes
    assert (first.old, first.changed, first.changed_by) == (present.new, ("capacity",), "ada")
    assert (second.old, second.changed, last.new) == (first.new, ("connection_string",), None)
    assert first.new is not None
    assert (first.new.capacity, first.new.connection_string, first.new.connection_string_hidden) == (90, None, True)
    assert "v1." not in repr(changes)


def test_async_for_sees_the_same_and_a_cancelled_call_loses_nothing(store: Store) -> None:
    async def follow() -> list[CameraChange]:
        async with store.cameras.watch(poll=RARELY) as watch:
            found = [await anext(watch)]
            for capacity in range(1, 21):
                asked = asyncio.ensure_future(anext(watch))
                await asyncio.sleep(0.01 * (capacity % 3))
                await asyncio.to_thread(store.cameras.update, "North Lot", capacity=capacity)
                if asked.cancel():
                    with contextlib.suppress(asyncio.CancelledError):
                        await asked
                else:
                    found.append(asked.result())
            while len(found) < 21:
                found.append(await anext(watch))
            return found

    store.cameras.add("North Lot")
    found = asyncio.run(follow())
    assert kinds(found) == [("present", 1), *(("changed", revision) for revision in range(2, 22))]


def test_watches_that_are_cancelled_again_while_they_close_leave_no_connection(store: Store, control: str) -> None:
    """As a web server does, when many browsers leave at once."""
    watches: list[CameraWatch] = []

    async def follow(narrow: Store) -> None:
        async with narrow.cameras.watch(poll=RARELY) as watch:
            watches.append(watch)
            async for _ in watch:
                pass

    async def life() -> None:
        with Store.open(control, settings=Settings()) as narrow:
            tasks = [asyncio.ensure_future(follow(narrow)) for _ in range(40)]
            while len(watches) < 40 or not all(watch.read_at for watch in watches):
                await asyncio.sleep(0.05)
            for _ in range(3):
                for task in tasks:
                    task.cancel()
                await asyncio.sleep(0)
            await asyncio.gather(*tasks, return_exceptions=True)
            deadline = time.monotonic() + 30
            while any(watch._connection is not None for watch in watches):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    asyncio.run(life())


def test_what_commits_out_of_order_is_seen_and_nothing_waits_for_a_long_transaction(store: Store) -> None:
    with psycopg.connect(store.url) as slow, store.cameras.watch(poll=0.2) as watch, Watcher(watch) as watcher:
        slow.execute("INSERT INTO cameras (name) VALUES ('first')")
        for name in ("second", "third"):
            store.cameras.add(name)
        watcher.wait_for({i: c for i, c in versions(store.url).items() if c.name != "first"}, 10)
        slow.commit()
        watcher.wait_for(versions(store.url), 10)
    assert sorted(change.new.name for change in watcher.seen if change.new) == ["first", "second", "third"]


def test_a_watch_goes_on_by_itself_where_no_notification_comes(store: Store) -> None:
    with Bouncer(port_of(store.url)) as bouncer, opened(through(store.url, bouncer.port)) as far:
        lot = far.cameras.add("North Lot")
        watches = [far.cameras.watch(poll=0.2) for _ in range(2)]
        with Watcher(watches[0]) as first, Watcher(watches[1], by_asyncio=True) as second:
            for capacity in range(1, 21):
                far.cameras.update(lot, capacity=capacity)
            for watcher in (first, second):
                watcher.wait_for(versions(store.url))
                assert [change.revision for change in watcher.seen][-20:] == list(range(2, 22))[-len(watcher.seen) :]


def test_a_restored_history_is_not_told_again(store: Store) -> None:
    """Its transactions are those of another server, whose ids this server comes to later."""
    old = store.cameras.add("removed long ago")
    store.cameras.remove(old)
    lot = store.cameras.add("North Lot")
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute("""
            UPDATE timeseries.camera_versions SET transaction = ((pg_current_xact_id()::text)::bigint + 40)::text::xid8
        """)
        with store.cameras.watch(poll=0.05) as watch, Watcher(watch) as watcher:
            watcher.wait_for(versions(store.url))
            for capacity in range(1, 61):
                store.cameras.update(lot, capacity=capacity)
                connection.execute("SELECT pg_current_xact_id()")
            watcher.wait_for(versions(store.url))
    assert kinds(watcher.seen) == [("present", 1), *(("changed", revision) for revision in range(2, 62))]


def test_who_may_not_read_the_history_is_told_so(store: Store, ingest: str, reader: str, control: str) -> None:
    store.cameras.add("North Lot")
    for url in (ingest, reader):
        with (
            Store.open(url, settings=Settings()) as narrow,
            narrow.cameras.watch() as watch,
            pytest.raises(NotAllowedError),
        ):
            next(watch)
    with Store.open(control, settings=Settings()) as narrow, narrow.cameras.watch() as watch:
        assert next(watch).kind == "present"


def test_a_watch_says_that_the_server_is_away_and_ends_when_it_is_closed(store: Store) -> None:
    store.cameras.add("North Lot")
    with Proxy(port_of(store.url)) as proxy, opened(through(store.url, proxy.port)) as far:
        watch = far.cameras.watch(poll=0.1)
        with Watcher(watch) as watcher:
            watcher.wait_for(versions(store.url), 10)
            proxy.refusing = True
            proxy.cut_all()
            while watch.last_error is None:
                time.sleep(0.01)
            assert isinstance(watch.last_error, ServerUnavailableError)
            store.cameras.update("North Lot", capacity=3)
            proxy.refusing = False
            watcher.wait_for(versions(store.url), 10)
            assert watch.last_error is None
        assert watcher.error is None
        proxy.refusing = True
        proxy.cut_all()
        with far.cameras.watch() as late, pytest.raises(ServerUnavailableError):
            next(late)
