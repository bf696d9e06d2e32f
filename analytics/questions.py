"""What is asked: which cameras, which range, which weekdays, in words that people use."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from analytics.source import fetch
from timeseries import Camera, InvalidInputError
from timeseries.cameras import unknown_camera

CameraLike = Camera | UUID | str
Cameras = CameraLike | Iterable[CameraLike] | None
Moment = datetime | date | str | None
Weekdays = str | int | Iterable[str | int] | None

NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
QUARTER = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lot:
    """What an answer needs to know of a camera."""

    id: str
    name: str
    timezone: str
    capacity: int | None


@dataclass(frozen=True, slots=True)
class Question:
    """Which cameras (None: all), over which range (None: from the first observation, until now), in which zone (None:
    the camera's own), in which database (None: that of the environment).
    """

    cameras: Cameras = None
    start: Moment = None
    end: Moment = None
    timezone: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Cameras of one zone, by name, and the range asked of them; `rounded` outwards to quarters of an hour or not."""

    lots: tuple[Lot, ...]
    timezone: str
    start: datetime | None
    end: datetime | None
    rounded: bool = False

    def parameters(self) -> dict[str, object]:
        """For the query: the ids, and the range in ISO 8601."""
        return {
            "camera_ids": "{" + ",".join(lot.id for lot in self.lots) + "}",
            "start_at": self.start.isoformat() if self.start else None,
            "end_at": self.end.isoformat() if self.end else None,
        }


def scopes(question: Question, *, exact: bool = False) -> list[Scope]:
    """One scope per time zone, since a date begins at another moment in each; at least one. The range is rounded
    outwards to quarters of an hour unless it is to be `exact`.

    Raises UnknownCameraError or InvalidInputError.
    """
    asked = question.timezone
    if asked is not None:
        check_zone(asked)
    zones: dict[str, list[Lot]] = {}
    for lot in find_cameras(question.cameras, question.url):
        zones.setdefault(asked or lot.timezone, []).append(lot)
    found = []
    for zone, lots in (zones or {asked or "UTC": []}).items():
        first, last = moment("start", question.start, zone), moment("end", question.end, zone)
        if first is not None and last is not None and first >= last:
            raise InvalidInputError(
                f"the range is reversed or empty: start {question.start} is not before end {question.end}; swap them"
            )
        wide = (first, last) if exact else (quarter(first, 0), quarter(last, 1))
        found.append(Scope(tuple(sorted(lots, key=lambda lot: lot.name)), zone, *wide, wide != (first, last)))
    return found


def check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (KeyError, TypeError, ValueError, OSError):  # it is looked up as a file
        near = difflib.get_close_matches(str(name), available_timezones(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "give an IANA name, like Europe/Berlin"
        raise InvalidInputError(f"time zone {name!r} is unknown; {hint}") from None


def find_cameras(cameras: Cameras, url: str | None) -> list[Lot]:
    """The cameras asked for, all where None is given; one that is named twice is there once."""
    query = "SELECT id::text, name::text, timezone, capacity FROM public.cameras ORDER BY name"
    known = [Lot(**row) for row in fetch(query, {}, url).to_pylist()]
    if cameras is None:
        return known
    wanted: Sequence[CameraLike] = [cameras] if isinstance(cameras, str | UUID | Camera) else list(cameras)
    by_key = {lot.id: lot for lot in known} | {lot.name: lot for lot in known}
    found: dict[str, Lot] = {}
    for camera in wanted:
        key = str(camera.id if isinstance(camera, Camera) else camera)
        if key not in by_key:
            raise unknown_camera(key, [lot.name for lot in known])
        found[by_key[key].id] = by_key[key]
    return list(found.values())


def moment(name: str, value: Moment, zone: str) -> datetime | None:
    """An aware datetime in UTC; a date is the midnight that begins it in `zone`."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) <= len("2026-11-01") else datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInputError(f"{name} {value!r} is not ISO 8601, like 2026-11-01 or 2026-11-01T06:00Z") from None
    if isinstance(value, datetime) and value == value:  # NaT is no moment
        if value.utcoffset() is None:
            raise InvalidInputError(
                f"{name} {value.isoformat()} is naive; give it an offset ({value.isoformat()}Z), or a date alone for"
                " the midnight at the lot"
            )
        return value.astimezone(UTC)
    if isinstance(value, date) and value == value:
        return midnight(value, zone)
    if value is not None:
        raise InvalidInputError(f"{name} {value!r} is neither a datetime, a date nor a text")
    return None


def midnight(day: date, zone: str) -> datetime:
    """The first instant of a local day: where midnight happens twice the first, where it does not, the change.

    Python reads a wall time in a gap with the offset before it, which gives the instant of the change.
    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def quarter(value: datetime | None, up: int) -> datetime | None:
    """Down to a quarter of an hour, or up to the next."""
    if value is None:
        return None
    quarters, rest = divmod(value - EPOCH, QUARTER)
    return EPOCH + (quarters + (up if rest else 0)) * QUARTER


def weekday_numbers(weekdays: Weekdays) -> list[int]:
    """ISO numbers, Monday 1 to Sunday 7, from numbers, names or their first three letters; all for None."""
    if weekdays is None:
        return list(range(1, 8))
    if isinstance(weekdays, str | int):
        weekdays = [weekdays]
    return sorted({weekday_number(weekday) for weekday in weekdays})


def weekday_number(weekday: str | int) -> int:
    name = str(weekday).strip().lower()
    for number, full in enumerate(NAMES, 1):
        if name == str(number) or (len(name) >= 3 and full.startswith(name)):
            return number
    raise InvalidInputError(
        f"weekday {weekday!r} is unknown; give a name like 'tuesday', or an ISO number from 1 (Monday) to 7 (Sunday)"
    )
