"""A camera: what is configured of it, and the values that it can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from timeseries.cameras.capacity import Capacity, capacities, check_capacity, check_past_capacities
from timeseries.errors import InvalidInputError, NotAllowedError
from timeseries.model.opening_hours import opening_hours
from timeseries.model.parsing import zone_hint
from timeseries.model.relations import DESIRED_STATES

DesiredState = Literal["running", "stopped", "maintenance"]
MINIMAL_HOLD = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera. `timezone` is an IANA name; `hold` is how long an observation stands when none follows;
    `connection_string` is ciphertext: ask `store.cameras.connection_string` for the plaintext. `capacity` is today's;
    `past_capacities` says of each one before until when it was that, as JSON, and `capacities` has all of them.

    `revision` goes up with each change; `changed_at` and `changed_by` say when that was and by whom: the person whom
    the client named, else the database role.

    `opening_hours` hold from and to by the local weekday, as `{"monday": ["07:00", "20:00"], …}`: a weekday that is
    left out is closed, and None says that the lot is always open.

    `hidden` names the fields that the database role may not read: they are None here, whatever the database has.
    """

    id: UUID
    name: str
    connection_string: str | None = field(repr=False)
    zone_config: Any
    capacity: int | None
    desired_state: DesiredState
    timezone: str
    hold: timedelta
    created_at: datetime
    revision: int
    changed_at: datetime
    changed_by: str
    past_capacities: Any
    opening_hours: dict[str, list[str]] | None
    hidden: frozenset[str] = frozenset()

    @property
    def zone(self) -> ZoneInfo:
        """Raises NotAllowedError where the database role may not read the time zone."""
        if "timezone" in self.hidden:
            raise NotAllowedError(f"the database role may not read the time zone of camera {self.name!r}")
        return ZoneInfo(self.timezone)

    @property
    def capacities(self) -> tuple[Capacity, ...]:
        """The capacities in the order of time, the last of them today's.

        Raises NotAllowedError where the database role may not read them.
        """
        if not self.hidden.isdisjoint({"capacity", "past_capacities"}):
            raise NotAllowedError(f"the database role may not read the capacities of camera {self.name!r}")
        return capacities(self.past_capacities, self.capacity)

    @property
    def connection_string_hidden(self) -> bool:
        """Whether the role may not see if there is a connection string; otherwise None says that there is none."""
        return "connection_string" in self.hidden


COLUMNS = tuple(column.name for column in fields(Camera) if column.name != "hidden")
UNCHANGEABLE = ("id", "created_at", "revision", "changed_at", "changed_by")
CHANGEABLE = tuple(name for name in COLUMNS if name not in UNCHANGEABLE)


def camera_of(row: Mapping[str, Any]) -> Camera:
    """The camera of a row that may lack columns: those are hidden."""
    return Camera(**{name: row.get(name) for name in COLUMNS}, hidden=frozenset(COLUMNS).difference(row))  # type: ignore[arg-type]


def can_be_a_name(text: str) -> bool:
    """Whether PostgreSQL can hold this text: not with a NUL, nor a lone surrogate."""
    return "\0" not in text and text.encode(errors="ignore").decode() == text


def validate_camera(values: dict[str, Any]) -> dict[str, Any]:
    """The values as they are stored, unless the constraints of the table would refuse one: the error names it and the
    remedy.
    """
    name, zone, hold = (values.get(key) for key in ("name", "timezone", "hold"))
    fits = isinstance(name, str) and name.strip() and len(name) <= 200 and can_be_a_name(name)
    if "name" in values and not fits:
        raise InvalidInputError(f"camera name {name!r}: it must be a text of 1 to 200 characters")
    if "timezone" in values and zone not in available_timezones():
        raise InvalidInputError(f"time zone {zone!r} of camera {name!r}: it must be an IANA name; {zone_hint(zone)}")
    if "hold" in values and (not isinstance(hold, timedelta) or hold < MINIMAL_HOLD):
        raise InvalidInputError(f"hold {hold!r}: it must be a timedelta of at least 15 minutes")
    check_capacity(values.get("capacity"))
    if "past_capacities" in values:
        values["past_capacities"] = check_past_capacities(values["past_capacities"])
    if values.get("desired_state", "running") not in DESIRED_STATES:
        raise InvalidInputError(
            f"desired state {values['desired_state']!r}: it must be one of {', '.join(DESIRED_STATES)}"
        )
    if "opening_hours" in values:
        values = values | {"opening_hours": opening_hours(values["opening_hours"])}
    return values
