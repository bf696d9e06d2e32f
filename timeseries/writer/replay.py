"""What a writer does when the database is not the one that it delivered to: it was recovered, restored or failed over.

Such a database may have forgotten what was delivered last. What the spool kept of it is sent again, and the first of it
tells whether that is all, because a writer delivers in order: a database that has one event has those before it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from timeseries.errors import SpoolError, TimeseriesError
from timeseries.writer.delivery import Delivery
from timeseries.writer.spool import Kept, Spool

log = logging.getLogger(__name__)


class Replay:
    """`replayed` counts events that were sent again. What was delivered before `lost_before` may be lost."""

    def __init__(self, identify: Callable[[], str | None]) -> None:
        self.replayed = 0
        self.lost_before: datetime | None = None
        self._identify = identify
        self._first: Kept | None = None  # until its first events are settled
        self._duplicates = 0

    def limit(self, number: int) -> int:
        """How many events to take: of those sent again nothing else is in the first batch."""
        return min(number, self._first.number) if self._first is not None else number

    def begin(self, spool: Spool, delivery: Delivery) -> int:
        """After a batch was stored: how many delivered events are to be sent again, and before it; mostly none."""
        if self._first is not None:
            self._judge(self._first, spool, found=delivery.duplicates > self._duplicates)
            self._first = None
        kept = self._kept(spool)
        if kept is None:
            return 0
        if not kept.number:  # a full disk took them
            self._judge(kept, spool, found=False)
            return 0
        self._first, self._duplicates = kept, delivery.duplicates
        self.replayed += kept.number
        log.warning(
            "the database was recovered, restored or failed over: %d delivered events of the spool %s are sent again",
            kept.number, spool.path,
        )  # fmt: skip
        return kept.number

    def _kept(self, spool: Spool) -> Kept | None:
        try:
            identity = self._identify()
            return spool.delivered_to(identity) if identity is not None else None
        except (TimeseriesError, SpoolError) as error:  # asked again after the next batch
            log.debug("which database this is, is not known: %s", error)
            return None

    def _judge(self, first: Kept, spool: Spool, *, found: bool) -> None:
        if not found:
            self.lost_before = first.since or datetime.now(UTC)
            log.error(
                "the database forgot what the spool %s did not keep: events delivered before %s may be lost;"
                " keep_delivered says for how long they are kept",
                spool.path, f"{self.lost_before:%Y-%m-%d %H:%M:%S} UTC",
            )  # fmt: skip
