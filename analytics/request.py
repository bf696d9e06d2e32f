"""What is asked: which cameras and groups, which range, which weekdays, in words that people use."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from analytics.ranges import Moment, clamp_to_observable, instant, parsed, quarter
from analytics.session import Fetch
from timeseries import Camera, Group, InvalidInputError
from timeseries.cameras import can_be_a_name, id_of, unknown_camera
from timeseries.model.opening_hours import WEEKDAYS
from timeseries.model.parsing import parse_zone
from timeseries.model.relations import WATERMARK_CAMERA

CameraLike = Camera | Group | UUID | str
Cameras = CameraLike | Iterable[CameraLike] | None
Weekdays = str | int | Iterable[str | int] | None

# Whether the store has periods at all is one lookup, whether a camera has some would be one of each.
COLUMNS = """id::text, name::text, timezone, capacity, EXISTS (SELECT FROM timeseries.periods) AS has_periods,
    past_capacities <> '[]' AS has_capacities"""
SELECT_CAMERAS = f"SELECT {COLUMNS} FROM public.cameras WHERE name <> '{WATERMARK_CAMERA}' ORDER BY name"  # noqa: S608 - names of our own
# The names are JSON, which needs no quoting of its own.
SELECT_NAMED_CAMERAS = f"""
    SELECT {COLUMNS}
    FROM public.cameras
    WHERE name = ANY (ARRAY(SELECT jsonb_array_elements_text($names::jsonb))) OR id = ANY ($ids::uuid[])
    ORDER BY name
"""  # noqa: S608 - names of our own
SELECT_GROUPS = """
    SELECT id::text, name::text, coalesce(timeseries.group_zone(id), ''), timeseries.group_capacity(id),
           EXISTS (SELECT FROM timeseries.periods), EXISTS (
               SELECT FROM timeseries.group_capacity_spans(ARRAY[id]) AS s
               WHERE s.capacity IS DISTINCT FROM timeseries.group_capacity(id)), true
    FROM public.camera_groups ORDER BY name
"""
NAMES = WEEKDAYS
# Only asked where opening hours are what counts. A camera and a group may have the same id.
SELECT_OPENING_HOURS = """
    SELECT id::text, opening_hours::text
    FROM public.cameras
    WHERE NOT $of_groups::boolean AND id = ANY ($camera_ids::uuid[]) AND opening_hours IS NOT NULL
    UNION ALL
    SELECT id::text, opening_hours::text
    FROM public.camera_groups
    WHERE $of_groups::boolean AND id = ANY ($camera_ids::uuid[]) AND opening_hours IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class CameraInfo:
    """What an answer needs to know of a camera, or of a group, which is answered for as one; `has_periods` where any
    camera of the store has some, `has_capacities` where it had another capacity than today's.
    """

    id: str
    name: str
    timezone: str
    capacity: int | None
    has_periods: bool = False
    has_capacities: bool = False
    is_group: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """Which cameras and groups (None: all cameras), over which range (None: from the first observation, until now), in
    which zone (None: the camera's own), in which database (None: that of the environment).
    """

    cameras: Cameras = None
    start: Moment = None
    end: Moment = None
    timezone: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ZoneSelection:
    """Cameras of one zone, or groups of one zone, by name, and the range asked of them; `rounded` outwards to quarters
    of an hour or not. `opening_hours` are those that all of them have, as JSON, where they were looked up; on
    the wall of `opening_zone`, where that is another zone.
    """

    cameras: tuple[CameraInfo, ...]
    timezone: str
    start: datetime | None
    end: datetime | None
    rounded: bool = False
    opening_hours: str | None = None
    opening_zone: str | None = None

    @property
    def of_groups(self) -> bool:
        return any(camera.is_group for camera in self.cameras)

    def parameters(self) -> dict[str, object]:
        """For the query: the ids, and the range in ISO 8601."""
        return {
            "camera_ids": "{" + ",".join(camera.id for camera in self.cameras) + "}",
            "start_at": self.start.isoformat() if self.start else None,
            "end_at": self.end.isoformat() if self.end else None,
        }

    def clamp_to_observable(self, ahead: timedelta, *, exact: bool = False) -> ZoneSelection:
        """The same with its range clamped; see `analytics.ranges.clamp_to_observable`."""
        start, end = clamp_to_observable(self.start, self.end, ahead, exact=exact)
        return replace(self, start=start, end=end)


def by_zone(request: Request, fetch: Fetch, *, exact: bool = False, groups: bool = False) -> list[ZoneSelection]:
    """One selection per time zone, since a date begins at another moment in each, of cameras and of groups; at least
    one. The range is rounded outwards to quarters of an hour unless it is to be `exact`.

    Raises UnknownCameraError or InvalidInputError, also for a group where the answer is none of `groups`.
    """
    asked = request.timezone
    if asked is not None:
        parse_zone(asked)
    zones: dict[tuple[str, bool], list[CameraInfo]] = {}
    for camera in find_cameras(request.cameras, fetch, groups=groups):
        zones.setdefault((asked or camera.timezone, camera.is_group), []).append(camera)
    start, end = parsed("start", request.start), parsed("end", request.end)
    if len(zones) == 1 or any(value and not isinstance(value, datetime) for value in (start, end)):
        check_stored_zones(zones)
    found = []
    for (zone, _), cameras in (zones or {(asked or "UTC", False): []}).items():
        first, last = instant("start", start, zone), instant("end", end, zone)
        if first is not None and last is not None and first >= last:
            raise InvalidInputError(
                f"the range is reversed or empty: start {request.start} is not before end {request.end}; swap them"
            )
        wide = (first, last) if exact else (quarter(first, 0), quarter(last, 1))
        named = tuple(sorted(cameras, key=lambda camera: camera.name))
        found.append(ZoneSelection(named, zone, *wide, wide != (first, last)))
    return found


def by_opening_hours(selections: Iterable[ZoneSelection], fetch: Fetch) -> Iterator[ZoneSelection]:
    """The same selections, each taken apart by the opening hours that its cameras or groups have now, which are on the
    wall of each lot, also where the answer is in another zone.
    """
    for selection in selections:
        asked = selection.parameters() | {"of_groups": selection.of_groups}
        ids, hours = (column.to_pylist() for column in fetch(SELECT_OPENING_HOURS, asked).columns)
        known = dict(zip(ids, hours, strict=True))
        alike: dict[tuple[str | None, str | None], list[CameraInfo]] = {}
        for camera in selection.cameras:
            is_elsewhere = camera.id in known and camera.timezone not in ("", selection.timezone)
            zone = camera.timezone if is_elsewhere else None
            alike.setdefault((known.get(camera.id), zone), []).append(camera)
        for (opening_hours, zone), cameras in (alike or {(None, None): []}).items():
            yield replace(selection, cameras=tuple(cameras), opening_hours=opening_hours, opening_zone=zone)


def check_stored_zones(zones: dict[tuple[str, bool], list[CameraInfo]]) -> None:
    """Refuse a zone that has no IANA name, because PostgreSQL takes such zones and another program may have stored one;
    and the empty one of a group whose members have several.
    """
    for (zone, is_group), (camera, *_) in zones.items():
        if is_group and not zone:
            raise InvalidInputError(
                f"the members of group {camera.name!r} have several time zones; give it one with: timeseries group"
                f" update {shlex.quote(camera.name)} --timezone Europe/Berlin, or ask with a timezone"
            )
        try:
            parse_zone(zone)
        except InvalidInputError as error:
            raise InvalidInputError(
                f"camera {camera.name!r} has the time zone {zone!r}, which has no IANA name; mend it with:"
                f" timeseries camera update {shlex.quote(camera.name)} --timezone Europe/Berlin, or ask with a timezone"
            ) from error


def several(cameras: Cameras) -> list[CameraLike] | None:
    """What was asked for as a list: an iterable may be read only once."""
    return [cameras] if isinstance(cameras, str | UUID | Camera | Group) else None if cameras is None else list(cameras)


def find_cameras(cameras: Cameras, fetch: Fetch, *, groups: bool = False) -> list[CameraInfo]:
    """The cameras asked for, all where None is given; one that is named twice is there once. What is no camera may be
    one of `groups`: only then are these looked up, so that cameras are found as quickly as without them.
    """
    wanted = several(cameras)
    if wanted is None:
        return read_cameras(fetch)
    keys = [str(one.id if isinstance(one, Camera | Group) else one) for one in wanted]
    known = by_key(read_cameras(fetch, keys))
    if any(key not in known and str(id_of(key)) not in known for key in keys):
        known = by_key(read(fetch, SELECT_GROUPS)) | known
    found: dict[str, CameraInfo] = {}
    for key in keys:
        info = known.get(key) or known.get(str(id_of(key)))
        if info is None:
            raise unknown_camera(key, [info.name for info in read_cameras(fetch) + read(fetch, SELECT_GROUPS)])
        if info.is_group and not groups:
            raise InvalidInputError(f"{info.name!r} is a group, and this is answered for cameras; name its members")
        found[info.id] = info
    return list(found.values())


def read_cameras(fetch: Fetch, keys: list[str] | None = None) -> list[CameraInfo]:
    """The cameras that have one of the keys as name or id, or all; by name."""
    if keys is None:
        return read(fetch, SELECT_CAMERAS)
    names = json.dumps([key for key in keys if can_be_a_name(key)])
    ids = "{" + ",".join(str(key) for key in map(id_of, keys) if key) + "}"
    return read(fetch, SELECT_NAMED_CAMERAS, names=names, ids=ids)


def by_key(known: Iterable[CameraInfo]) -> dict[str, CameraInfo]:
    """By id and by name."""
    return {key: info for info in known for key in (info.name, info.id)}


def read(fetch: Fetch, query: str, **parameters: object) -> list[CameraInfo]:
    found = fetch(query, parameters)
    return [CameraInfo(*row) for row in zip(*(column.to_pylist() for column in found.columns), strict=True)]


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
