"""The repository of cameras: it adds, changes, finds and removes them, and shows what the database role may see."""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from timeseries.access.keyring import Keyring
from timeseries.cameras.camera import (
    CHANGEABLE,
    COLUMNS,
    Camera,
    DesiredState,
    camera_of,
    can_be_a_name,
    validate_camera,
)
from timeseries.cameras.capacity import past_quarter
from timeseries.cameras.changes import CameraChange, changed_meanwhile, read_history
from timeseries.cameras.watch import CameraWatch
from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.rows import value
from timeseries.errors import (
    CameraExistsError,
    CameraInUseError,
    InvalidInputError,
    NotAllowedError,
    TimeseriesError,
    UnknownCameraError,
)
from timeseries.model.opening_hours import OpeningHours
from timeseries.model.quarters import Moment
from timeseries.model.relations import WATERMARK_CAMERA

# Asked anew by each method, because a grant is to be seen by a store that is open.
SELECT_VISIBLE = """
    SELECT array_agg(attname::text) FROM pg_attribute
    WHERE attrelid = 'public.cameras'::regclass AND attname = ANY (%s)
      AND has_column_privilege(attrelid, attnum, 'SELECT')
"""
SELECT_CAMERA = """
    SELECT {columns} FROM public.cameras
    WHERE id = %(id)s::uuid OR name = %(name)s
    ORDER BY id = %(id)s::uuid DESC NULLS LAST LIMIT 1
"""
SELECT_CAMERAS = "SELECT {columns} FROM public.cameras WHERE name <> %(watermark)s ORDER BY name"
SELECT_IDS = "SELECT name, id FROM public.cameras WHERE name <> %s"
INSERT_CAMERA = "INSERT INTO public.cameras ({names}) VALUES ({placeholders}) RETURNING {columns}"
UPDATE_CAMERA = """
    UPDATE public.cameras SET {changes}
    WHERE id = %(id)s AND (%(if_revision)s::bigint IS NULL OR revision = %(if_revision)s)
    RETURNING {columns}
"""
# The server merges it, because somebody else may change the capacities at the same time.
SET_CAPACITY_SINCE = sql.SQL("""
    (capacity, past_capacities) = (
        SELECT s.capacity, s.past_capacities
        FROM timeseries.capacity_since(capacity, past_capacities, %(capacity)s, %(since)s) AS s)
""")
DELETE_CAMERA = """
    DELETE FROM public.cameras
    WHERE id = %(id)s AND (%(if_revision)s::bigint IS NULL OR revision = %(if_revision)s)
    RETURNING {columns}
"""
Settings = list[sql.Composed | sql.SQL]
JSON_COLUMNS = ("zone_config", "past_capacities", "opening_hours")
# Of this transaction alone, because PgBouncer may give the session to another client.
SET_CHANGED_BY = "SELECT set_config('timeseries.changed_by', %s, true)"


class Cameras:
    """The cameras of a store. Names are unique; ids never change."""

    def __init__(self, pool: Pool, keyring: Keyring) -> None:
        self._pool = pool
        self._keyring = keyring

    def add(
        self,
        name: str,
        *,
        connection_string: str | None = None,
        timezone: str = "UTC",
        capacity: int | None = None,
        hold: timedelta = timedelta(days=1),
        zone_config: Any = None,
        desired_state: DesiredState = "running",
        id: UUID | None = None,  # noqa: A002 - the column's name
        created_at: datetime | None = None,
        past_capacities: Sequence[Mapping[str, Any]] = (),
        by: str | None = None,
        opening_hours: OpeningHours | None = None,
    ) -> Camera:
        """Add a camera; its connection string is encrypted before it leaves this process. `created_at` is now, unless
        an older camera is brought in, perhaps with its `past_capacities` (see `Camera`). `by` is who adds it, by
        default the database role. `opening_hours` are those of `Camera`; times may be given as `datetime.time`, too.

        Raises:
            InvalidInputError: a value that no camera can have.
            CameraExistsError: the name or the id is taken.
            SecretError: a connection string, and no key to encrypt it with.
        """
        camera_id = id or uuid.uuid4()
        values = validate_camera(
            {
                "name": name, "timezone": timezone, "capacity": capacity, "hold": hold, "desired_state": desired_state,
                "past_capacities": past_capacities, "opening_hours": opening_hours,
            }
        )  # fmt: skip
        values |= {"id": camera_id, "zone_config": {} if zone_config is None else zone_config}
        values |= as_json(values)
        if created_at is not None:
            values["created_at"] = created_at
        if connection_string is not None:
            values["connection_string"] = self._keyring.encrypt(connection_string, camera_id)
        return self._write(
            INSERT_CAMERA, values, name, by,
            names=sql.SQL(", ").join(map(sql.Identifier, values)),
            placeholders=sql.SQL(", ").join(map(sql.Placeholder, values)),
        )  # fmt: skip

    def update(
        self,
        camera: Camera | UUID | str,
        *,
        if_revision: int | None = None,
        by: str | None = None,
        since: Moment | None = None,
        **changes: Any,
    ) -> Camera:
        """Change any column but the id; a changed time zone or hold rebuilds this camera's hours and days. What changes
        nothing leaves the revision as it is. `by` is who changes it, by default the database role.

        A `capacity` with `since`, a quarter of an hour of the past, or a date for the midnight at the lot, holds from
        then until its next change, and what it was before stays. Without it the capacity that holds today is
        corrected for all the time that it has held.

        Raises:
            CameraChangedError: the camera has another revision than `if_revision`: it was changed meanwhile.
            InvalidInputError, UnknownCameraError, CameraExistsError, SecretError: as `add` and `get` do.
        """
        unknown = set(changes) - set(CHANGEABLE)
        if unknown or not changes:
            raise InvalidInputError(
                f"cannot change {', '.join(sorted(unknown)) or 'nothing'} of a camera; "
                f"what can be changed: {', '.join(CHANGEABLE)}"
            )
        if since is not None and ("capacity" not in changes or "past_capacities" in changes):
            raise InvalidInputError("since goes with capacity: it says from when on the lot has it")
        found = self.get(camera)
        values = validate_camera(dict(changes))
        if values.get("connection_string") is not None:
            values["connection_string"] = self._keyring.encrypt(values["connection_string"], found.id)
        values |= as_json(values)
        plain = [column for column in values if since is None or column != "capacity"]
        settings: Settings = [sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder(c)) for c in plain]
        if since is not None:
            settings.append(SET_CAPACITY_SINCE)
            values["since"] = past_quarter("since", since, values.get("timezone") or found.timezone or "UTC")
        values |= {"id": found.id, "if_revision": if_revision}
        name = values.get("name", found.name)
        return self._write(UPDATE_CAMERA, values, name, by, changes=sql.SQL(", ").join(settings))

    def get(self, camera: Camera | UUID | str) -> Camera:
        """The camera of this id (a UUID, or its text) or name; an id goes before a name that looks like it.

        Raises UnknownCameraError, with near names, where there is none.
        """
        wanted = camera.id if isinstance(camera, Camera) else camera
        if can_be_a_name(name := str(wanted)):
            with connected(self._pool) as connection:
                values = {"id": id_of(wanted), "name": name}
                if found := read_cameras(connection, SELECT_CAMERA, values):
                    return found[0]
        raise unknown_camera(wanted, [*self.ids()])

    def list(self) -> list[Camera]:
        """All cameras, by name, with what the database role may see of them: `Camera.hidden` names the rest."""
        with connected(self._pool) as connection:
            return read_cameras(connection, SELECT_CAMERAS, {"watermark": WATERMARK_CAMERA})

    def ids(self) -> dict[str, UUID]:
        """The id of each camera by its name, which every role of the store may read."""
        with connected(self._pool) as connection:
            return dict(connection.execute(SELECT_IDS, [WATERMARK_CAMERA]).fetchall())

    def remove(self, camera: Camera | UUID | str, *, if_revision: int | None = None, by: str | None = None) -> None:
        """Remove a camera without history; its versions stay in `history`.

        Raises CameraInUseError where it has some, CameraChangedError and UnknownCameraError as `update` does.
        """
        found = self.get(camera)
        self._write(DELETE_CAMERA, {"id": found.id, "if_revision": if_revision}, found.name, by)

    def history(self, camera: Camera | UUID | str | None = None) -> tuple[CameraChange, ...]:
        """Every change of the cameras, oldest first: of all, or of those that have this id or ever had this name, also
        if they were removed since. Raises UnknownCameraError where there was none, NotAllowedError.
        """
        with connected(self._pool) as connection:
            if camera is None:
                return tuple(read_history(connection, None, None))
            wanted = camera.id if isinstance(camera, Camera) else camera
            found = can_be_a_name(str(wanted)) and read_history(connection, id_of(wanted), str(wanted))
        if not found:
            raise unknown_camera(wanted, [*self.ids()])
        return tuple(found)

    def watch(self, *, poll: float = 2.0) -> CameraWatch:
        """Every change of the cameras from now on, after those that are there: an iterator, for `async for`, too.

        It misses none: not behind PgBouncer, where it looks every `poll` seconds, and not across a failover. See
        `timeseries.cameras.watch.CameraWatch`.
        """
        return CameraWatch(str(self._pool.conninfo), poll=poll)

    def decrypt_if_encrypted(self, text: str, camera_id: UUID) -> str:
        """The plaintext of a connection string that may be encrypted already, for this camera by a key of this store.

        Raises SecretError where it is encrypted and cannot be decrypted.
        """
        return self._keyring.decrypt_if_encrypted(text, camera_id)

    def connection_string(self, camera: Camera | UUID | str) -> str | None:
        """The connection string in plaintext, None where there is none.

        Raises:
            NotAllowedError: the database role may not read it; an owner or a worker may.
            SecretError: the key is missing or wrong.
            UnknownCameraError: there is no such camera.
        """
        found = self.get(camera)
        if found.connection_string_hidden:
            raise NotAllowedError(
                f"the database role may not read the connection string of camera {found.name!r};"
                " connect as the owner or as a role of the kind worker (timeseries grant --worker)"
            )
        if found.connection_string is None:
            return None
        return self._keyring.decrypt(found.connection_string, found.id)

    def _write(
        self, query: LiteralString, values: dict[str, Any], name: str, by: str | None, **parts: sql.Composable
    ) -> Camera:
        """Run the statement, and return the camera that it wrote."""
        try:
            with connected(self._pool) as connection, meant_for(name):
                if by is not None:
                    connection.execute(SET_CHANGED_BY, [by])
                if written := read_cameras(connection, query, values, **parts):
                    return written[0]
                raise overtaken(connection, values, name)
        except InvalidInputError as error:
            raise InvalidInputError(f"camera {name!r}: {error}") from error


@contextmanager
def meant_for(name: str) -> Iterator[None]:
    """Errors of the constraints that a camera of this name can violate."""
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        if error.diag.constraint_name == "pk_names":
            raise CameraExistsError(
                f"a group has the name {name!r}; give another, because a question names either"
            ) from error
        raise CameraExistsError(f"another camera has the name {name!r} or this id already") from error
    except (psycopg.errors.ForeignKeyViolation, psycopg.errors.RestrictViolation) as error:
        raise CameraInUseError(
            f"camera {name!r} has history and cannot be removed; to stop it, set desired_state to 'stopped'"
        ) from error


def overtaken(connection: Connection, values: dict[str, Any], name: str) -> TimeseriesError:
    """Why a statement wrote no camera: it was removed meanwhile, or has another revision."""
    current = read_cameras(connection, SELECT_CAMERA, {"id": values["id"], "name": None})
    if not current:
        return UnknownCameraError(f"camera {name!r} was removed meanwhile")
    return changed_meanwhile(connection, current[0], values["if_revision"])


def read_cameras(
    connection: Connection, query: LiteralString, values: dict[str, Any] | None = None, **parts: sql.Composable
) -> list[Camera]:
    """The cameras of a query, with the columns that the role may see in the place of `{columns}`."""
    visible = value(connection, SELECT_VISIBLE, [list(COLUMNS)]) or COLUMNS  # of none, the server says what it refuses
    columns = sql.SQL(", ").join(map(sql.Identifier, visible))
    cursor = connection.cursor(row_factory=dict_row)
    return [camera_of(row) for row in cursor.execute(sql.SQL(query).format(columns=columns, **parts), values)]


def as_json(values: Mapping[str, Any]) -> dict[str, Jsonb]:
    """The values of columns of JSON; no opening hours are NULL, and not the null of JSON."""
    return {
        column: Jsonb(values[column])
        for column in JSON_COLUMNS
        if column in values and (column != "opening_hours" or values[column] is not None)
    }


def id_of(camera: UUID | str) -> UUID | None:
    """The id that a text spells, None where it is no id."""
    try:
        return camera if isinstance(camera, UUID) else UUID(str(camera))
    except ValueError:
        return None


def unknown_camera(wanted: object, names: list[str]) -> UnknownCameraError:
    """The error for a camera that is not there, with the names nearest to what was asked for."""
    near = difflib.get_close_matches(str(wanted), names, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "timeseries camera list shows them all"
    return UnknownCameraError(f"no camera has the name or id {wanted!s:.200}; {hint}")
