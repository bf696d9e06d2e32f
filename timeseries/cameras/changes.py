"""Changes of cameras: every version is kept, also of those that were renamed or removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from timeseries.cameras.camera import CHANGEABLE, Camera, camera_of
from timeseries.database.connections import Connection
from timeseries.errors import CameraChangedError

ChangeKind = Literal["present", "added", "changed", "removed"]
VERSION = sql.SQL("""
    v.number, v.kind, v.changed, v.role, v.camera_id AS id, v.name, v.zone_config, v.capacity, v.desired_state,
    v.timezone, v.hold, v.created_at, v.revision, v.changed_at, v.changed_by, v.past_capacities,
    v.opening_hours
""")
SELECT_HISTORY = sql.SQL("""
    SELECT {} FROM timeseries.camera_versions AS v
    WHERE %(all)s OR v.camera_id IN (
        SELECT n.camera_id FROM timeseries.camera_versions AS n WHERE n.camera_id = %(id)s::uuid OR n.name = %(name)s)
    ORDER BY v.number
""").format(VERSION)
SELECT_VERSIONS_SINCE = sql.SQL("""
    SELECT {} FROM timeseries.camera_versions AS v
    WHERE v.camera_id = %(id)s AND v.revision >= %(revision)s
    ORDER BY v.revision
""").format(VERSION)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CameraChange:
    """A camera was `added`, `changed` or `removed`; one that is `present` was there when a watch began.

    `old` and `new` are the camera before and after, without connection string; None where there is none. `changed`
    names the columns that differ, `connection_string` among them. `changed_by` is the person whom the client named,
    else the role; `role` is the database role in any case. They are None where it is not known: of what a failover
    lost, and `role` of what was there before.
    """

    kind: ChangeKind
    camera_id: UUID
    old: Camera | None
    new: Camera | None
    changed: tuple[str, ...]
    revision: int
    changed_at: datetime
    changed_by: str | None
    role: str | None


def changes_of(rows: Iterable[Row], before: dict[UUID, Camera]) -> list[CameraChange]:
    """The changes that versions make of what was there `before`, which they bring up to date."""
    found = []
    for row in rows:
        version = camera_of(row)
        old = before.pop(version.id, None)
        if row["kind"] != "removed":
            before[version.id] = version
        found.append(CameraChange(
            row["kind"], version.id, old, before.get(version.id), tuple(row["changed"]), version.revision,
            version.changed_at, version.changed_by, row["role"],
        ))  # fmt: skip
    return found


def read_history(connection: Connection, id_: UUID | None, name: str | None) -> list[CameraChange]:
    """All changes of the cameras that have this id or ever had this name, oldest first; of all without either."""
    values = {"all": id_ is None and name is None, "id": id_, "name": name}
    return changes_of(connection.cursor(row_factory=dict_row).execute(SELECT_HISTORY, values), {})


def changed_meanwhile(connection: Connection, current: Camera, revision: int) -> CameraChangedError:
    """The error for an edit of an older revision, with what has changed since and both versions."""
    values = {"id": current.id, "revision": revision}
    versions = connection.cursor(row_factory=dict_row).execute(SELECT_VERSIONS_SINCE, values).fetchall()
    since = {column for version in versions if version["revision"] > revision for column in version["changed"]}
    edited = next((camera_of(version) for version in versions if version["revision"] == revision), None)
    now = next((camera_of(version) for version in versions if version["revision"] == current.revision), None)
    listed = ", ".join(difference(column, edited, now) for column in CHANGEABLE if column in since)
    return CameraChangedError(
        f"camera {current.name!r} is at revision {current.revision}, by {current.changed_by} at"
        f" {current.changed_at.isoformat(timespec='seconds')}, and revision {revision} was edited; changed since:"
        f" {listed or 'nothing that is known'}; read it again, and decide",
        edited,
        now,
    )


def difference(column: str, edited: Camera | None, current: Camera | None) -> str:
    """What a column was and is; of a connection string only that it changed."""
    if column == "connection_string" or edited is None or current is None:
        return column
    return f"{column} ({getattr(edited, column)!s:.100} → {getattr(current, column)!s:.100})"
