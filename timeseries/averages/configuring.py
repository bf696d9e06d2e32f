"""What is configured of an export into a store: cameras, groups with their members, and periods, in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import psycopg
from psycopg import sql

from timeseries.averages import tables
from timeseries.averages.cameras import Targets
from timeseries.averages.folder import COUNTED, AveragesFolder
from timeseries.averages.tables import Row, insert, require_columns
from timeseries.database.connections import Connection, Pool, connected, transaction
from timeseries.database.rows import value
from timeseries.errors import CameraExistsError, GroupExistsError, InvalidInputError

OnConflict = Literal["refuse", "skip"]
IF_NEW_ID = sql.SQL("ON CONFLICT (id) DO NOTHING")
IF_NEW = sql.SQL("ON CONFLICT DO NOTHING")  # also where a constraint excludes it
HAS_MEMBER = """
    SELECT EXISTS (
        SELECT FROM public.group_members
        WHERE group_id = %(group_id)s AND camera_id = %(camera_id)s AND since IS NOT DISTINCT FROM %(since)s
          AND until IS NOT DISTINCT FROM %(until)s)
"""
LOCK_PERIODS = "LOCK TABLE timeseries.periods IN SHARE ROW EXCLUSIVE MODE"  # or two imports at once would double them
SAME_PERIOD = ("camera_id", "start_at", "kind")


@dataclass(frozen=True, slots=True)
class Added:
    """The cameras that were added, and how many groups, memberships and periods."""

    cameras: Targets
    groups: int
    memberships: int
    periods: int


def configure(pool: Pool, exported: AveragesFolder, targets: Targets, on_conflict: OnConflict) -> Added:
    """Store what is not here yet; all of it or, after an error, nothing.

    Raises:
        CameraExistsError, GroupExistsError: a name belongs to another camera or group here.
        InvalidInputError: a membership or a period is here with other values, and is to be refused; a column that this
            store does not know.
    """
    with connected(pool) as connection, transaction(connection):
        cameras = _add_cameras(connection, exported, targets)
        groups = _add_groups(connection, exported)
        memberships = _add_members(connection, exported, targets | cameras, on_conflict)
        periods = _add_periods(connection, exported, targets | cameras, on_conflict)
    return Added(cameras, groups, memberships, periods)


def _add_cameras(connection: Connection, exported: AveragesFolder, targets: Targets) -> Targets:
    """Each under the id that it had. It has no connection string, because none was exported."""
    rows = [{name: camera[name] for name in camera if name not in COUNTED} for camera in exported.cameras]
    require_columns(connection, tables.CAMERAS, rows)
    new = [row for row in rows if row["id"] not in targets]
    for row in new:
        with _named(CameraExistsError, f"camera {row['name']!r}"):
            insert(connection, tables.CAMERAS, row)
    return {row["id"]: UUID(row["id"]) for row in new}


def _add_groups(connection: Connection, exported: AveragesFolder) -> int:
    require_columns(connection, tables.GROUPS, exported.groups)
    added = 0
    for row in exported.groups:
        with _named(GroupExistsError, f"group {row['name']!r}"):
            added += insert(connection, tables.GROUPS, row, IF_NEW_ID)
    return added


@contextmanager
def _named(error: type[CameraExistsError | GroupExistsError], what: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.UniqueViolation as violated:
        raise error(
            f"{what} cannot be added: a camera or group of this name is here, with another id; rename that one"
            " (timeseries camera update NAME --name NEW, timeseries group update NAME --name NEW)"
        ) from violated


def _add_members(connection: Connection, exported: AveragesFolder, targets: Targets, on_conflict: OnConflict) -> int:
    require_columns(connection, tables.MEMBERS, exported.members)
    groups = {group["id"]: group["name"] for group in exported.groups}
    cameras = {camera["id"]: camera["name"] for camera in exported.cameras}
    added = 0
    for member in exported.members:
        row = member | {"camera_id": targets[member["camera_id"]]}
        if insert(connection, tables.MEMBERS, row, IF_NEW):
            added += 1
        elif on_conflict == "refuse" and not value(connection, HAS_MEMBER, row):
            raise InvalidInputError(
                f"camera {cameras[member['camera_id']]!r} is a member of group {groups[member['group_id']]!r}"
                f" {_span(member['since'], member['until'])}, and here in another part of that time; make them the same"
                " (timeseries group join, timeseries group leave), or keep what is here (--on-conflict skip)"
            )
    return added


def _add_periods(connection: Connection, exported: AveragesFolder, targets: Targets, on_conflict: OnConflict) -> int:
    require_columns(connection, tables.PERIODS, exported.periods)
    connection.execute(LOCK_PERIODS)
    here: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in tables.read(connection, tables.PERIODS).to_pylist():
        here[_key(row)].append(row)
    names = {camera["id"]: camera["name"] for camera in exported.cameras}
    added = 0
    for period in exported.periods:
        row = period | {"camera_id": str(targets[period["camera_id"]])}
        found = here.get(_key(row), [])
        if not found:
            added += insert(connection, tables.PERIODS, row)
        elif on_conflict == "refuse" and not any(row.items() <= one.items() for one in found):
            raise InvalidInputError(
                f"the period ({row['kind']}) of camera {names[period['camera_id']]!r}"
                f" {_span(row['start_at'], row['end_at'])} is here with another end or text; make them the same"
                " (timeseries period update), or keep what is here (--on-conflict skip)"
            )
    return added


def _key(period: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(period[name] for name in SAME_PERIOD)


def _span(start: Any, end: Any) -> str:
    return f"from {start.isoformat() if start else 'always'} to {end.isoformat() if end else 'for good'}"
