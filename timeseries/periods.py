"""Periods that do not count: wrong data, a closed lot, planned maintenance; and notes, which change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from timeseries.cameras import Cameras
from timeseries.cameras.camera import Camera
from timeseries.database.connections import Pool, connected
from timeseries.errors import InvalidInputError, UnknownPeriodError
from timeseries.model.quarters import EPOCH, Moment, on_a_quarter
from timeseries.model.relations import PERIOD_KINDS

PeriodKind = Literal["wrong", "closed", "maintenance", "note"]
TEXT_AT_MOST = 1000

COLUMNS = sql.SQL("id, camera_id, start_at, end_at, kind, text, changed_at, changed_by")
SELECT_PERIODS = sql.SQL("""
    SELECT {} FROM timeseries.periods
    WHERE (%(cameras)s::uuid[] IS NULL OR camera_id = ANY (%(cameras)s::uuid[]))
      AND (%(start)s::timestamptz IS NULL OR end_at IS NULL OR end_at > %(start)s::timestamptz)
      AND (%(end)s::timestamptz IS NULL OR start_at < %(end)s::timestamptz)
    ORDER BY start_at, id
""").format(COLUMNS)
INSERT_PERIOD = sql.SQL("""
    INSERT INTO timeseries.periods (camera_id, start_at, end_at, kind, text)
    VALUES (%(camera_id)s, %(start)s, %(end)s, %(kind)s, %(text)s)
    RETURNING {}
""").format(COLUMNS)
UPDATE_PERIOD = sql.SQL("""
    UPDATE timeseries.periods SET start_at = %(start)s, end_at = %(end)s, kind = %(kind)s, text = %(text)s
    WHERE id = %(id)s
    RETURNING {}
""").format(COLUMNS)
SELECT_PERIOD = sql.SQL("SELECT {} FROM timeseries.periods WHERE id = %(id)s").format(COLUMNS)
DELETE_PERIOD = sql.SQL("DELETE FROM timeseries.periods WHERE id = %(id)s RETURNING {}").format(COLUMNS)
SET_CHANGED_BY = "SELECT set_config('timeseries.changed_by', %s, true)"


@dataclass(frozen=True, slots=True)
class Period:
    """A time of one camera, [start_at, end_at) on quarters of an hour, that answers treat as its kind says; without an
    end it lasts.

    `wrong`: what was counted then is not to be trusted. The occupancy is unknown, also for as long as the last count
    of before or of then would have stood. `closed`: the time is in no occupancy answer, neither in its average nor in
    its coverage. `maintenance`: the same for answers about health. `note`: nothing changes.
    """

    id: int
    camera_id: UUID
    start_at: datetime
    end_at: datetime | None
    kind: PeriodKind
    text: str
    changed_at: datetime
    changed_by: str


class Periods:
    """The periods of a store's cameras. What was observed stays as it is, so removing a period undoes its effect."""

    def __init__(self, pool: Pool, cameras: Cameras) -> None:
        self._pool = pool
        self._cameras = cameras

    def add(
        self,
        camera: Camera | UUID | str,
        start: Moment,
        end: Moment | None,
        kind: PeriodKind,
        text: str = "",
        *,
        by: str | None = None,
    ) -> Period:
        """Add a period of a camera; every answer follows at once. `start` and `end` are aware datetimes, ISO 8601 with
        an offset, or dates, for the midnight at the lot. `by` is who adds it, by default the database role.

        Raises:
            InvalidInputError: a naive moment, one that is not on a quarter of an hour, an end that is not after the
                start, an unknown kind, or a text of more than 1,000 characters.
            UnknownCameraError: there is no such camera.
        """
        found = self._cameras.get(camera)
        values = check_period(start, end, kind, text, zone=found.timezone) | {"camera_id": found.id}
        return self._write(INSERT_PERIOD, values, by)

    def update(self, period: Period | int, *, by: str | None = None, **changes: Any) -> Period:
        """Change `start`, `end`, `kind` or `text` of a period.

        Raises InvalidInputError as `add` does, UnknownPeriodError where it is not there.
        """
        if unknown := set(changes) - {"start", "end", "kind", "text"}:
            raise InvalidInputError(
                f"cannot change {', '.join(sorted(unknown))} of a period, but start, end, kind, text"
            )
        found = self.get(period)
        before = {"start": found.start_at, "end": found.end_at, "kind": found.kind, "text": found.text}
        zone = self._cameras.get(found.camera_id).timezone
        return self._write(UPDATE_PERIOD, check_period(**(before | changes), zone=zone) | {"id": found.id}, by)

    def get(self, period: Period | int) -> Period:
        """The period of this id as it is now. Raises UnknownPeriodError."""
        return self._write(SELECT_PERIOD, {"id": id_of(period)}, None)

    def list(
        self,
        cameras: Iterable[Camera | UUID | str] | Camera | UUID | str | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[Period]:
        """The periods that touch [start, end), by start: of these cameras, or of all. Raises UnknownCameraError."""
        asked = [cameras] if isinstance(cameras, Camera | UUID | str) else cameras
        ids = None if asked is None else [self._cameras.get(camera).id for camera in asked]
        with connected(self._pool) as connection:
            cursor = connection.cursor(row_factory=class_row(Period))
            return cursor.execute(SELECT_PERIODS, {"cameras": ids, "start": start, "end": end}).fetchall()

    def remove(self, period: Period | int, *, by: str | None = None) -> None:
        """Remove a period: what was observed in it counts again. Raises UnknownPeriodError."""
        self._write(DELETE_PERIOD, {"id": id_of(period)}, by)

    def _write(self, query: sql.Composed, values: dict[str, Any], by: str | None) -> Period:
        """Run the statement, and return the period that it found or wrote."""
        with connected(self._pool) as connection:
            if by is not None:
                connection.execute(SET_CHANGED_BY, [by])
            found = connection.cursor(row_factory=class_row(Period)).execute(query, values).fetchone()
        if found is None:
            raise UnknownPeriodError(f"no period has the id {values['id']}; timeseries period list shows them all")
        return found


def id_of(period: Period | int) -> int:
    return period.id if isinstance(period, Period) else period


def check_period(start: Moment, end: Moment | None, kind: str, text: str, *, zone: str) -> dict[str, Any]:
    """The values, unless the table would refuse one: the error names it and the remedy."""
    if kind not in PERIOD_KINDS:
        raise InvalidInputError(f"kind {kind!r} of a period: it must be one of {', '.join(PERIOD_KINDS)}")
    if not isinstance(text, str) or len(text) > TEXT_AT_MOST or "\0" in text:
        raise InvalidInputError(
            f"text {text!r:.100} of a period: it must be a text of at most {TEXT_AT_MOST:,} characters"
        )
    first, last = on_a_quarter("start", start, zone), on_a_quarter("end", end, zone)
    if first is None or first < EPOCH:
        raise InvalidInputError(f"start {start} of a period is missing or lies before 1970")
    if last is not None and last <= first:
        raise InvalidInputError(f"the period ends at {last.isoformat()}, not after its start {first.isoformat()}")
    return {"start": first, "end": last, "kind": kind, "text": text}
