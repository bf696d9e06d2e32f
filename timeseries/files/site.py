"""A parking site of a feed: what a camera is made of, and how full it was."""

from __future__ import annotations

import json
import uuid
from collections.abc import Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from timeseries.cameras import validate_camera
from timeseries.errors import InvalidInputError
from timeseries.model.events import LARGEST_COUNT, event_time
from timeseries.model.parsing import localize, parse_count, parse_timestamp

SITES = uuid.UUID("a0a16b3c-5a0f-4a7d-9d9b-6f5f2c0f7e61")  # the namespace of their ids; it must never change
LONGEST_NAME = 200


@dataclass(frozen=True)
class Site:
    """A site as its feed has it: any of `name`, `capacity`, `free`, `spaces` and `at` may be missing, or be anything.

    `number` is its position in the feed, the first being 1; `key` tells it from every other site of any source; `live`
    says whether this feed tells how full it is, `expected` whether such feeds will; `spaces` is how many it has at the
    moment; `state` is kept beside the count, `details` with the camera.
    """

    number: int
    uid: Any
    key: tuple[Any, ...]
    name: Any = None
    capacity: Any = None
    live: bool = False
    expected: bool = True
    spaces: Any = None
    free: Any = None
    at: Any = None
    state: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"site {self.uid!s:.100} ({self.name!s:.100})"

    def has_uid(self) -> bool:
        """Whether it can be found again."""
        return isinstance(self.uid, str | int) and bool(str(self.uid).strip())

    @cached_property
    def camera_id(self) -> uuid.UUID:
        """The id of its camera, the same for each feed of its source."""
        return uuid.uuid5(SITES, json.dumps([None if part is None else str(part) for part in self.key]))

    def camera(self, timezone: str, taken: Set[str]) -> dict[str, Any]:
        """What `Cameras.add` takes; its name is made unique where it is `taken`. A capacity of 0 means an unknown one,
        and a site that is not expected to report is stopped. Raises InvalidInputError.
        """
        if not isinstance(self.name, str):
            raise InvalidInputError(f"name {self.name!r:.100}: it is new, and needs one to become a camera")
        names = (self.name[:LONGEST_NAME], f"{self.name} ({self.uid})", f"{self.name:.150} ({self.camera_id})")
        return validate_camera({
            "id": self.camera_id,
            "name": next(name for name in names if name not in taken and len(name) <= LONGEST_NAME),
            "capacity": None if self.capacity is None else (whole("capacity", self.capacity) or None),
            "timezone": timezone,
            "zone_config": self.details,
            "desired_state": "running" if self.expected else "stopped",
        })  # fmt: skip

    def occupied(self, zone: ZoneInfo | None) -> int:
        """Cars: the spaces that are not free. `zone` is that of naive timestamps. Raises InvalidInputError where the
        number of cars, or their time, cannot be said.
        """
        free, spaces = whole("number of free spaces", self.free), whole("number of spaces", self.spaces)
        if not 0 < spaces <= LARGEST_COUNT:
            raise InvalidInputError(f"number of spaces {spaces}: it must be at least 1 and at most {LARGEST_COUNT}")
        if not 0 <= free <= spaces:
            raise InvalidInputError(
                f"number of free spaces {free}: it must be from 0 to {spaces}, the spaces there are"
            )
        if self.at is None:
            raise InvalidInputError("the time of its count is missing")
        event_time(localize(parse_timestamp(self.at), zone))
        return spaces - free


def whole(what: str, value: Any) -> int:
    """A whole number. Raises InvalidInputError that says what was to be one."""
    if value is None:
        raise InvalidInputError(f"the {what} is missing")
    try:
        return parse_count(value)
    except InvalidInputError as error:
        raise InvalidInputError(f"{what} {error}") from error
