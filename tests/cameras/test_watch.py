"""Watching cameras: every change once, whatever commits first, stands in between or breaks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from tests.support.bouncer import Bouncer
from tests.support.clusters import Cluster
from tests.support.faults import opened, own_cluster, port_of, repeated, through
from tests.support.network import frozen
from tests.support.proxy import Proxy
from tests.support.roles import MakeRole, control, ingest, make_role, reader, worker
from tests.support.servers import RunningServer
from tests.support.standby import copy_as_standby, wait_for_standby
from timeseries import Camera, CameraChange, NotAllowedError, ServerUnavailableError, Store
from timeseries.cameras.watch import CameraWatch
from timeseries.settings import Settings

__all__ = ["MakeRole", "control", "ingest", "make_role", "reader", "worker"]

RTSP = "rtsp://admin:hunter2@10.0.0.7/1"
RARELY = 300.0  # seconds: what comes earlier came by a notification


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


Pair = tuple[Cluster, Cluster]


@contextlib.contextmanager
def pair(server: RunningServer, *, synchronous: bool) -> Iterator[Pair]:
    """A primary and its standby, which loses nothing if it is synchronous."""
    names = {"synchronous_standby_names": "*"} if synchronous else {}
    with own_cluster(server, wal_level="replica", max_wal_senders="4", hot_standby="on", **names) as primary:
        standby = copy_as_standby(primary)
        standby.configure(synchronous_standby_names="")
        try:
            standby.start()
            yield primary, standby
        finally:
            standby.remove()


def change_cameras(url: str, writer: int, number: int) -> None:
    """So many changes of a writer's three cameras; what fails is done again, which changes nothing if it was done."""
    with opened(url) as store:
        for count in range(number):
            name = f"lot {writer} {count % 3}"
            while True:
                try:
                    if name not in store.cameras.ids():
                        store.cameras.add(name)
                    store.cameras.update(name, zone_config={"count": count}, by=f"writer {writer}")
                    if count % 50 == 49:
                        store.cameras.remove(name)
                    break
                except ServerUnavailableError:
                    time.sleep(0.1)


@pytest.mark.slow
def test_a_thousand_changes_by_four_writers_reach_every_watcher_across_cuts_and_a_failover(
    server: RunningServer,
) -> None:
    with pair(server, synchronous=True) as (primary, standby), contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(cluster.port)) for cluster in (primary, standby)]
        head, tail = primary.url().rsplit("@", 1)
        hosts = ",".join(f"127.0.0.1:{proxy.port}" for proxy in proxies)
        url = f"{head}@{hosts}/{tail.split('/')[1]}"
        store = stack.enter_context(opened(url))
        watchers = [
            stack.enter_context(Watcher(store.cameras.watch(poll=0.5), by_asyncio=number == 2)) for number in range(3)
        ]
        writers = [threading.Thread(target=change_cameras, args=(url, number, 250)) for number in range(4)]

        def cut() -> None:
            for proxy in proxies:
                proxy.cut_all()

        with repeated(cut, every=0.25) as cuts:
            for thread in writers:
                thread.start()
            while len(store_history(primary)) < 500:
                time.sleep(0.1)
            proxies[0].refusing = True
            primary.stop("immediate")
            standby.promote()
            for thread in writers:
                thread.join()
        wanted, history = versions(standby.url()), store_history(standby)
        for watcher in watchers:
            watcher.wait_for(wanted)
            seen = [(change.camera_id, change.revision, change.kind, change.new) for change in watcher.seen]
            assert sorted(seen, key=str) == sorted(history, key=str)
            assert len({entry[:2] for entry in seen}) == len(seen)
        print(f"\n{len(history)} versions, {cuts[0]} cuts, 1 failover: each of 3 watchers saw each version once")
        assert len(history) >= 1000
        assert cuts[0] > 0


def store_history(cluster: Cluster) -> list[tuple[UUID, int, str, Camera | None]]:
    with opened(cluster.url()) as store:
        return [(c.camera_id, c.revision, c.kind, c.new) for c in store.cameras.history()]


def test_what_a_failover_lost_is_corrected(server: RunningServer) -> None:
    """Behind PgBouncer, so that no connection of the watcher breaks."""
    with pair(server, synchronous=False) as (primary, standby), Bouncer(primary.port) as bouncer:
        with opened(primary.url()) as store:
            lot, other, third = (store.cameras.add(name) for name in ("North Lot", "Other", "Third"))
        wait_for_standby(primary, standby)
        with (
            opened(through(primary.url(), bouncer.port)) as far,
            Watcher(far.cameras.watch(poll=0.2)) as watcher,
        ):
            watcher.wait_for(versions(primary.url()))
            standby.stop()
            with opened(primary.url()) as store:
                for capacity in (1, 2):
                    store.cameras.update(lot, capacity=capacity)
                store.cameras.add("lost")
                store.cameras.remove(other)
                watcher.wait_for(versions(primary.url()))
            bouncer.command("PAUSE")
            primary.stop("immediate")
            standby.start()
            standby.promote()
            with opened(standby.url()) as store:
                store.cameras.update(third, capacity=3)
            bouncer.configure(standby.port)
            bouncer.command("RELOAD")
            bouncer.command("RESUME")
            watcher.wait_for(versions(standby.url()))
            with opened(standby.url()) as store:
                store.cameras.update(lot, capacity=7)
            watcher.wait_for(versions(standby.url()))
        names = {c.new.name if c.new else f"no {c.old.name}" for c in watcher.seen[-5:] if c.new or c.old}
        assert {"North Lot", "no lost", "Other", "Third"} == names
        assert not any(change.kind == "changed" and change.old == change.new for change in watcher.seen)


@pytest.mark.slow
def test_a_watch_leaves_a_frozen_server_for_the_promoted_standby(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeseries.cameras.watch.LOOK_WITHIN", 2.0)
    with pair(server, synchronous=False) as (primary, standby):
        url = primary.url(beside=standby) + "?connect_timeout=2"
        with opened(url) as store, Watcher(store.cameras.watch(poll=0.2)) as watcher:
            store.cameras.add("North Lot")
            watcher.wait_for(versions(primary.url()))
            wait_for_standby(primary, standby)
            with frozen(primary):
                standby.promote()
                with opened(standby.url()) as promoted:
                    promoted.cameras.update("North Lot", capacity=80)
                watcher.wait_for(versions(standby.url()))
                assert kinds(watcher.seen)[-1] == ("changed", 2)
                assert len(watcher.seen) == 2
