"""What a watcher knows of the cameras, and how it catches up: by one read, missing no change and repeating none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from timeseries.cameras.camera import CHANGEABLE, COLUMNS, Camera, camera_of
from timeseries.cameras.changes import VERSION, CameraChange, ChangeKind, Row, changes_of
from timeseries.database.connections import Connection
from timeseries.database.rows import row
from timeseries.model.relations import WATERMARK_CAMERA

# Rows of transactions that this snapshot does not show as over, though it sees the rows, came with a restored backup:
# their transactions are those of another server. `restored` is the last of them.
SELECT_POSITION = """
    SELECT s.snapshot::text, i.system_identifier, d.oid::bigint, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
           coalesce((SELECT max(v.number) FROM timeseries.camera_versions AS v), 0),
           coalesce((SELECT max(v.number) FROM timeseries.camera_versions AS v
                     WHERE v.transaction >= pg_snapshot_xmin(s.snapshot)
                       AND NOT pg_visible_in_snapshot(v.transaction, s.snapshot)), 0),
           now()
    FROM (SELECT pg_current_snapshot()) AS s (snapshot)
    CROSS JOIN pg_control_system() AS i
    JOIN pg_database AS d ON d.datname = current_database()
"""
SEEN = tuple(name for name in COLUMNS if name != "connection_string")
SELECT_PRESENT = sql.SQL("SELECT {} FROM public.cameras WHERE name <> {} ORDER BY name").format(
    sql.SQL(", ").join(map(sql.Identifier, SEEN)), sql.Literal(WATERMARK_CAMERA)
)
# What has committed since a snapshot. Neither numbers nor transactions commit in order, so no greatest one says it; and
# a transaction that takes long holds nothing up.
SELECT_SINCE = sql.SQL("""
    SELECT {} FROM timeseries.camera_versions AS v
    WHERE v.transaction >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)
      AND NOT pg_visible_in_snapshot(v.transaction, %(snapshot)s::pg_snapshot)
      AND v.number > %(restored)s
    ORDER BY v.number
""").format(VERSION)
# After a failover a transaction may have the id of one that the old server lost, so the snapshot alone does not say
# what is new: revisions and numbers do, too.
SELECT_AFTER_FAILOVER = sql.SQL("""
    SELECT {} FROM timeseries.camera_versions AS v
    LEFT JOIN unnest(%(ids)s::uuid[], %(revisions)s::bigint[]) AS k (id, revision) ON k.id = v.camera_id
    WHERE v.revision > k.revision
       OR k.id IS NULL AND (
           v.number > %(newest)s
           OR EXISTS (SELECT FROM public.cameras AS c WHERE c.id = v.camera_id)
           OR %(same_cluster)s AND v.number > %(restored)s
              AND NOT pg_visible_in_snapshot(v.transaction, %(snapshot)s::pg_snapshot))
    ORDER BY v.number
""").format(VERSION)


class Position(NamedTuple):
    """How far a watcher has read: the snapshot, and of which history: a failover begins another timeline."""

    snapshot: str
    system: int
    database: int
    timeline: str
    newest: int
    restored: int
    at: datetime

    @property
    def cluster(self) -> tuple[int, int]:
        return self.system, self.database

    @property
    def history(self) -> tuple[int, int, str]:
        return self.system, self.database, self.timeline


class CameraFeed:
    """The cameras as they were last read, and the changes since."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self._cameras: dict[UUID, Camera] = {}
        self._revisions: dict[UUID, int] = {}  # also of removed cameras

    def read(self, connection: Connection) -> list[CameraChange]:
        """The changes since the last read; at first the cameras that are present.

        The connection's transactions must be REPEATABLE READ, so that all is of one snapshot. What fails has changed
        nothing, and can be done again.
        """
        with connection.transaction():
            here = Position(*row(connection, SELECT_POSITION))
            before = self.position
            follows = before is not None and before.history == here.history
            versions = [] if before is None else self._versions(connection, before, here, follows=follows)
            present = {} if follows else _present(connection)
        changes = [] if before is None else changes_of(versions, self._cameras)
        self._revisions |= {change.camera_id: change.revision for change in changes}
        if not follows:
            changes += self._correct(present, here.at, first=before is None)
        self.position = here
        return changes

    def _versions(self, connection: Connection, before: Position, here: Position, *, follows: bool) -> list[Row]:
        values: dict[str, Any] = before._asdict()
        if not follows:
            values |= {
                "ids": [*self._revisions],
                "revisions": [*self._revisions.values()],
                "same_cluster": before.cluster == here.cluster,
            }
        query = SELECT_SINCE if follows else SELECT_AFTER_FAILOVER
        return connection.cursor(row_factory=dict_row).execute(query, values).fetchall()

    def _correct(self, present: dict[UUID, Camera], at: datetime, *, first: bool) -> list[CameraChange]:
        """The differences from what is there: everything at first, afterwards what a failover lost."""
        gone = [camera for id_, camera in self._cameras.items() if id_ not in present]
        new = [camera for id_, camera in present.items() if self._cameras.get(id_) != camera]
        changes = [
            CameraChange("removed", camera.id, camera, None, (), camera.revision, at, None, None) for camera in gone
        ]
        changes += [_found(self._cameras.get(camera.id), camera, first=first) for camera in new]
        self._cameras = present
        self._revisions = {
            **{id_: revision for id_, revision in self._revisions.items() if id_ not in {c.id for c in gone}},
            **{id_: camera.revision for id_, camera in present.items()},
        }
        return changes


def _present(connection: Connection) -> dict[UUID, Camera]:
    rows: Iterable[Row] = connection.cursor(row_factory=dict_row).execute(SELECT_PRESENT)
    return {camera.id: camera for camera in map(camera_of, rows)}


def _found(old: Camera | None, new: Camera, *, first: bool) -> CameraChange:
    changed = () if old is None else tuple(name for name in CHANGEABLE if getattr(old, name) != getattr(new, name))
    kind: ChangeKind = "present" if first else "added" if old is None else "changed"
    return CameraChange(kind, new.id, old, new, changed, new.revision, new.changed_at, new.changed_by, None)
