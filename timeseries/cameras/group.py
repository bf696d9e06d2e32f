"""A group of cameras, as a lot that several watch: its name, its time zone, and who was a member when."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from zoneinfo import available_timezones

from timeseries.errors import InvalidInputError
from timeseries.model.parsing import zone_hint


@dataclass(frozen=True, slots=True)
class Membership:
    """A camera is a member from `since` (None: it always was) to before `until` (None: for good), both in UTC."""

    camera: str
    camera_id: UUID
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Group:
    """One group of cameras. `timezone` is an IANA name, or None for that of its members; `zone` is the one that answers
    take, None where the members have several. `members` are by name and time, those of the past and the future, too.
    `opening_hours` are the group's own, in the form of those of `Camera`; those of its members do not matter to it.
    """

    id: UUID
    name: str
    timezone: str | None
    zone: str | None
    created_at: datetime
    members: tuple[Membership, ...]
    opening_hours: dict[str, list[str]] | None = field(default=None, hash=False)

    def members_at(self, moment: datetime) -> tuple[str, ...]:
        """The names of the cameras that are members at a moment."""
        return tuple(
            m.camera
            for m in self.members
            if (m.since is None or m.since <= moment) and (m.until is None or moment < m.until)
        )


def check_group(name: object, timezone: object) -> None:
    """Raise InvalidInputError, with the remedy, for what the constraints of the table would refuse."""
    if not isinstance(name, str) or not name.strip() or len(name) > 200 or "\0" in name:
        raise InvalidInputError(f"group name {name!r:.300}: it must be a text of 1 to 200 characters")
    if timezone is not None and timezone not in available_timezones():
        raise InvalidInputError(
            f"time zone {timezone!r} of group {name!r}: it must be an IANA name; {zone_hint(timezone)}"
        )
