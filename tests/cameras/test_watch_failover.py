"""Watching cameras across cut connections, failovers and frozen servers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from uuid import UUID

import pytest

from tests.support.bouncer import Bouncer
from tests.support.clusters import Cluster
from tests.support.faults import opened, own_cluster, repeated, through
from tests.support.network import frozen
from tests.support.proxy import Proxy
from tests.support.servers import RunningServer
from tests.support.standby import copy_as_standby, wait_for_standby
from tests.support.watchers import Watcher, kinds, versions
from timeseries import Camera, ServerUnavailableError

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
        for watcher in watchers:
            watcher.wait_until_begun()
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
            texts, told = {str(entry) for entry in history}, {str(entry) for entry in seen}
            assert (told - texts, texts - told) == (set(), set())
            assert len(seen) == len(history)
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
