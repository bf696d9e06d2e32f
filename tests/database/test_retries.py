"""Lock errors are retried, each time after a longer pause; what else goes wrong is not."""

from __future__ import annotations

import psycopg
import pytest

from timeseries.database.retries import retried

LOCKED, GONE = psycopg.errors.LockNotAvailable, psycopg.errors.AdminShutdown


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("timeseries.database.retries.time.sleep", slept.append)
    return slept


def attempt(error: type[psycopg.Error] | None) -> int:
    if error is not None:
        raise error("as if")
    return 7


@pytest.mark.parametrize(
    ("errors", "raised", "slept"),
    [
        ([], None, []),
        ([LOCKED, LOCKED], None, [0.5, 1.0]),
        ([LOCKED, LOCKED, LOCKED], LOCKED, [0.5, 1.0]),
        ([LOCKED, GONE], GONE, [0.5]),
    ],
)
def test_three_attempts_are_made_where_a_lock_is_held(
    pauses: list[float], errors: list[type[psycopg.Error]], raised: type[psycopg.Error] | None, slept: list[float]
) -> None:
    left = iter([*errors, None])
    if raised is None:
        assert retried(lambda: attempt(next(left)), attempts=3, pause=0.5) == 7
    else:
        with pytest.raises(raised):
            retried(lambda: attempt(next(left)), attempts=3, pause=0.5)
    assert pauses == slept
