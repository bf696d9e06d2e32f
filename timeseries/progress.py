"""How far a long call is: the callable that is told, and a loop that tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, TypeVar

Progress: TypeAlias = Callable[[int, int], None] | None  # called with what is done and what there is in all
Item = TypeVar("Item")


def track(items: Sequence[Item], progress: Progress) -> Iterator[Item]:
    """The items; after the body of the loop `progress` is told how many are done."""
    for done, item in enumerate(items, 1):
        yield item
        if progress is not None:
            progress(done, len(items))
