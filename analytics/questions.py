"""What is asked: which cameras, which range, which weekdays, in words that people use."""

from __future__ import annotations

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
class Scope:
    """Cameras of one zone and the range asked of them, rounded outwards to quarters of an hour."""

    camera_ids: tuple[str, ...]
    timezone: str
    start: datetime | None
    end: datetime | None


def scopes(cameras: Cameras, start: Moment, end: Moment, timezone: str | None, url: str | None) -> list[Scope]:
    """One scope per time zone, since a date begins at another moment in each; at least one.

    Raises UnknownCameraError or InvalidInputError.
    """
    if timezone is not None and timezone not in available_timezones():
        raise InvalidInputError(f"time zone {timezone!r} is unknown; give an IANA name, like Europe/Berlin")
    zones: dict[str, list[str]] = {}
    for camera_id, zone in find_cameras(cameras, url):
        zones.setdefault(timezone or zone, []).append(camera_id)
    found = []
    for zone, ids in (zones or {timezone or "UTC": []}).items():
        first, last = moment("start", start, zone), moment("end", end, zone)
        if first is not None and last is not None and first >= last:
            raise InvalidInputError(f"the range is reversed or empty: start {start} is not before end {end}; swap them")
        found.append(Scope(tuple(ids), zone, rounded(first, 0), rounded(last, 1)))
    return found


def find_cameras(cameras: Cameras, url: str | None) -> list[tuple[str, str]]:
    """Id and time zone of each camera asked for, all where None is given."""
    rows = fetch("SELECT id::text, name, timezone FROM public.cameras ORDER BY name", {}, url).to_pylist()
    if cameras is None:
        return [(row["id"], row["timezone"]) for row in rows]
    wanted: Sequence[CameraLike] = [cameras] if isinstance(cameras, str | UUID | Camera) else list(cameras)
    found: dict[str, str] = {}
    for camera in wanted:
        key = str(camera.id if isinstance(camera, Camera) else camera)
        row = next((row for row in rows if key in (row["name"], row["id"])), None)
        if row is None:
            raise unknown_camera(key, [row["name"] for row in rows])
        found[row["id"]] = row["timezone"]
    return list(found.items())


def moment(name: str, value: Moment, zone: str) -> datetime | None:
    """An aware datetime; a date is the midnight that begins it in `zone`."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value) if len(value) <= len("2026-11-01") else datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInputError(f"{name} {value!r} is not ISO 8601, like 2026-11-01 or 2026-11-01T06:00Z") from None
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidInputError(
                f"{name} {value.isoformat()} is naive; give it an offset ({value.isoformat()}Z), or a date alone for"
                " the midnight at the lot"
            )
        return value.astimezone(UTC)
    if isinstance(value, date):
        return midnight(value, zone)
    if value is not None:
        raise InvalidInputError(f"{name} {value!r} is neither a datetime, a date nor a text")
    return None


def midnight(day: date, zone: str) -> datetime:
    """The first instant of a local day: where midnight happens twice the first, where it does not, the change.

    Python reads a wall time in a gap with the offset before it, which gives the instant of the change.
    """
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone), fold=0).astimezone(UTC)


def rounded(value: datetime | None, up: int) -> datetime | None:
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
    if isinstance(weekday, int) and 1 <= weekday <= 7:
        return weekday
    name = str(weekday).strip().lower()
    for number, full in enumerate(NAMES, 1):
        if len(name) >= 3 and full.startswith(name):
            return number
    raise InvalidInputError(
        f"weekday {weekday!r} is unknown; give a name like 'tuesday', or an ISO number from 1 (Monday) to 7 (Sunday)"
    )
