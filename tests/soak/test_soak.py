"""A short soak; `make soak` runs a long one."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from tests.soak.soak import soak
from tests.soak.verdict import Verdict, compare_rows
from tests.support.servers import RunningServer

SECONDS = 30
AT = datetime(2026, 9, 1, tzinfo=UTC)
ROWS = [(UUID(int=7), AT + timedelta(seconds=i), i) for i in range(10)]


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (lambda rows: rows, (0, 0, 0, 0)),
        (lambda rows: rows[1:], (1, 0, 0, 0)),
        (lambda rows: [*rows, rows[3]], (0, 1, 0, 0)),
        (lambda rows: [*rows, (UUID(int=8), AT, 1)], (0, 0, 1, 0)),
        (lambda rows: [*rows[1:], (UUID(int=7), AT, 99)], (0, 0, 0, 1)),
    ],
)
def test_the_verdict_finds_what_a_store_does_wrong(
    spoil: Callable[[list[tuple[UUID, datetime, int]]], list[tuple[UUID, datetime, int]]],
    wanted: tuple[int, int, int, int],
) -> None:
    verdict = Verdict(averages=1)
    compare_rows(verdict, spoil(ROWS), {(camera, at): count for camera, at, count in ROWS}, AT)
    assert (verdict.lost, verdict.doubled, verdict.strange, verdict.wrong) == wanted
    assert verdict.good == (not any(wanted))


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_and_no_average_is_off_whatever_happens(server: RunningServer) -> None:
    found = soak(server, SECONDS, random.SystemRandom().randrange(10**6))
    print(f"\n{found}")
    assert found.bugs == []
    assert found.good, found
