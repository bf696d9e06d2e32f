"""Many questions at once: each has a connection of its own, as many as there may be, and leaves nothing behind."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

import analytics
from analytics import arrow_client
from tests.support.statements import running
from timeseries import ConfigurationError, InvalidInputError, PoolBusyError, Store
from timeseries.settings import Settings

ECHO = "SELECT $number AS number, pg_backend_pid() AS backend, pg_sleep(0.05)::text AS slept"
SLOW = "SELECT pg_sleep(30)::text AS slept"
FORKED = """
import os, sys
from analytics import arrow_client

def backend():
    return arrow_client.fetch("SELECT pg_backend_pid() AS pid", {}, sys.argv[1])["pid"][0].as_py()

before = backend()
with arrow_client._lock:  # another thread of the parent may be in there
    child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert backend() == before
else:
    assert backend() != before
"""


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    yield store.url
    arrow_client._sizes.clear()
    arrow_client.close(store.url)


def ask(url: str, number: int) -> tuple[int, int]:
    (found,) = arrow_client.fetch(ECHO, {"number": number}, url).to_pylist()
    return int(found["number"]), found["backend"]


def backends(url: str, numbers: range = range(24)) -> set[int]:
    """The sessions that answered as many questions at once, each of which got its own answer."""
    with ThreadPoolExecutor(len(numbers)) as threads:
        found = list(threads.map(lambda number: ask(url, number), numbers))
    assert [number for number, _ in found] == [*numbers]
    return {backend for _, backend in found}


def test_questions_at_once_use_the_connections_there_may_be_and_mix_up_no_answer(url: str) -> None:
    assert len(backends(url)) == 4
    analytics.set_pool_size(7, url)
    assert len(backends(url)) == 7
    analytics.set_pool_size(2, url)
    assert len(backends(url)) == 2


def test_a_small_pool_of_one_database_leaves_the_others_theirs(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_client, "_sizes", {})
    assert arrow_client.largest_pool_size() == 4
    analytics.set_pool_size(1, url)
    assert arrow_client.largest_pool_size() == 4
    analytics.set_pool_size(9, url)
    assert arrow_client.largest_pool_size() == 9


def test_the_environment_says_how_many_connections_answers_have(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMESERIES_READ_POOL_SIZE", "3")
    assert len(backends(url)) == 3
    for text in ("none", "0", "-1", "1.5"):
        with pytest.raises(ConfigurationError, match=f"TIMESERIES_READ_POOL_SIZE is '{text}'"):
            Settings.from_environment({"TIMESERIES_READ_POOL_SIZE": text})
    with pytest.raises(InvalidInputError, match="connections 0: there must be at least 1"):
        analytics.set_pool_size(0, url)


def test_a_question_that_finds_all_connections_busy_says_so_and_how_to_have_more(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_client, "WAIT_FOR_PLACE", 0.2)
    analytics.set_pool_size(1, url)
    busy = threading.Thread(target=arrow_client.fetch, args=["SELECT pg_sleep(2)::text AS slept", {}, url])
    busy.start()
    wait_for(lambda: running(url, "pg_sleep"))
    with pytest.raises(PoolBusyError, match=r"all 1 connections for answers.*TIMESERIES_READ_POOL_SIZE"):
        ask(url, 1)
    busy.join()
    assert ask(url, 2)[0] == 2


def test_connections_that_the_server_ended_are_replaced(url: str) -> None:
    ended = backends(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [[*ended]])
    assert not backends(url) & ended


def test_a_forked_process_asks_by_connections_of_its_own(url: str) -> None:
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", FORKED, url], check=True, timeout=60, env=environment)


def test_ctrl_c_ends_the_statement_on_the_server(url: str) -> None:
    def interrupt() -> None:
        wait_for(lambda: running(url, "pg_sleep"))
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        arrow_client.fetch(SLOW, {}, url)
    assert not running(url, "pg_sleep")
    assert ask(url, 1)[0] == 1


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
