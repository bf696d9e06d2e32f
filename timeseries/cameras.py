"""Cameras: what is configured, and the repository that keeps it."""

from __future__ import annotations

import difflib
import uuid
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from timeseries.access.keyring import Keyring
from timeseries.database.connections import Pool, connected
from timeseries.errors import CameraExistsError, CameraInUseError, InvalidInputError, UnknownCameraError
from timeseries.model.relations import DESIRED_STATES

DesiredState = Literal["running", "stopped", "maintenance"]
MINIMAL_HOLD = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera. `timezone` is an IANA name; `hold` is how long an observation stands when none follows;
    `connection_string` is ciphertext: ask `store.cameras.connection_string` for the plaintext.
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

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


COLUMNS = sql.SQL(", ").join(sql.Identifier(column.name) for column in fields(Camera))
CHANGEABLE = [column.name for column in fields(Camera) if column.name not in ("id", "created_at")]
SELECT_CAMERA = sql.SQL("""
    SELECT {} FROM public.cameras
    WHERE id = %(id)s::uuid OR name = %(name)s
    ORDER BY id = %(id)s::uuid DESC NULLS LAST LIMIT 1
""").format(COLUMNS)
SELECT_CAMERAS = sql.SQL("SELECT {} FROM public.cameras ORDER BY name").format(COLUMNS)


def validate_camera(values: dict[str, Any]) -> dict[str, Any]:
    """The values, unless the constraints of the table would refuse one: the error names it and the remedy."""
    name, zone, hold, capacity = (values.get(key) for key in ("name", "timezone", "hold", "capacity"))
    if "name" in values and (not isinstance(name, str) or not name.strip() or len(name) > 200 or "\0" in name):
        raise InvalidInputError(f"camera name {name!r}: it must be a text of 1 to 200 characters")
    if "timezone" in values and zone not in available_timezones():
        near = difflib.get_close_matches(str(zone), available_timezones(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ", like Europe/Berlin"
        raise InvalidInputError(f"time zone {zone!r} of camera {name!r}: it must be an IANA name{hint}")
    if "hold" in values and (not isinstance(hold, timedelta) or hold < MINIMAL_HOLD):
        raise InvalidInputError(f"hold {hold!r}: it must be a timedelta of at least 15 minutes")
    if capacity is not None and (not isinstance(capacity, int) or not 0 < capacity < 2**31):
        raise InvalidInputError(f"capacity {capacity!r}: it must be a whole number of at least 1, or None")
    if values.get("desired_state", "running") not in DESIRED_STATES:
        raise InvalidInputError(
            f"desired state {values['desired_state']!r}: it must be one of {', '.join(DESIRED_STATES)}"
        )
    return values


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
    ) -> Camera:
        """Add a camera; its connection string is encrypted before it leaves this process. `created_at` is now, unless
        an older camera is brought in.

        Raises:
            InvalidInputError: a value that no camera can have.
            CameraExistsError: the name or the id is taken.
            SecretError: a connection string, and no key to encrypt it with.
        """
        camera_id = id or uuid.uuid4()
        values = validate_camera(
            {"name": name, "timezone": timezone, "capacity": capacity, "hold": hold, "desired_state": desired_state}
        )
        values |= {"id": camera_id, "zone_config": Jsonb({} if zone_config is None else zone_config)}
        if created_at is not None:
            values["created_at"] = created_at
        if connection_string is not None:
            values["connection_string"] = self._keyring.encrypt(connection_string, camera_id)
        query = sql.SQL("INSERT INTO public.cameras ({}) VALUES ({}) RETURNING {}").format(
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(map(sql.Placeholder, values)),
            COLUMNS,
        )
        return self._write(query, values, name)

    def update(self, camera: Camera | UUID | str, **changes: Any) -> Camera:
        """Change any column but the id; a changed time zone or hold rebuilds this camera's hours and days.

        Raises InvalidInputError, UnknownCameraError, CameraExistsError or SecretError, as `add` and `get` do.
        """
        unknown = set(changes) - set(CHANGEABLE)
        if unknown or not changes:
            raise InvalidInputError(
                f"cannot change {', '.join(sorted(unknown)) or 'nothing'} of a camera; "
                f"what can be changed: {', '.join(CHANGEABLE)}"
            )
        found = self.get(camera)
        values = validate_camera(dict(changes))
        if values.get("connection_string") is not None:
            values["connection_string"] = self._keyring.encrypt(values["connection_string"], found.id)
        if "zone_config" in values:
            values["zone_config"] = Jsonb(values["zone_config"])
        query = sql.SQL("UPDATE public.cameras SET {} WHERE id = %(id)s RETURNING {}").format(
            sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.Identifier(c), sql.Placeholder(c)) for c in values),
            COLUMNS,
        )
        return self._write(query, values | {"id": found.id}, values.get("name", found.name))

    def get(self, camera: Camera | UUID | str) -> Camera:
        """The camera of this id (a UUID, or its text) or name; an id goes before a name that looks like it.

        Raises UnknownCameraError, with near names, where there is none.
        """
        wanted = camera.id if isinstance(camera, Camera) else camera
        if can_be_a_name(name := str(wanted)):
            with connected(self._pool) as connection:
                values = {"id": id_of(wanted), "name": name}
                found = connection.cursor(row_factory=class_row(Camera)).execute(SELECT_CAMERA, values).fetchone()
            if found is not None:
                return found
        raise unknown_camera(wanted, [*self.ids()])

    def list(self) -> list[Camera]:
        """All cameras, by name."""
        with connected(self._pool) as connection:
            return connection.cursor(row_factory=class_row(Camera)).execute(SELECT_CAMERAS).fetchall()

    def ids(self) -> dict[str, UUID]:
        """The id of each camera by its name: all that a role which only stores events may read of them."""
        with connected(self._pool) as connection:
            return dict(connection.execute("SELECT name, id FROM public.cameras").fetchall())

    def remove(self, camera: Camera | UUID | str) -> None:
        """Remove a camera without history. Raises CameraInUseError where it has some."""
        found = self.get(camera)
        with connected(self._pool) as connection:
            try:
                connection.execute("DELETE FROM public.cameras WHERE id = %s", [found.id])
            except (psycopg.errors.ForeignKeyViolation, psycopg.errors.RestrictViolation) as error:
                raise CameraInUseError(
                    f"camera {found.name!r} has history and cannot be removed;"
                    " to stop it, set desired_state to 'stopped'"
                ) from error

    def decrypt_if_encrypted(self, text: str, camera_id: UUID) -> str:
        """The plaintext of a connection string that may be encrypted already, for this camera by a key of this store.

        Raises SecretError where it is encrypted and cannot be decrypted.
        """
        return self._keyring.decrypt_if_encrypted(text, camera_id)

    def connection_string(self, camera: Camera | UUID | str) -> str | None:
        """The connection string in plaintext. Raises SecretError where the key is missing or wrong."""
        found = self.get(camera)
        if found.connection_string is None:
            return None
        return self._keyring.decrypt(found.connection_string, found.id)

    def _write(self, query: sql.Composed, values: dict[str, Any], name: str) -> Camera:
        try:
            with connected(self._pool) as connection:
                try:
                    row = connection.cursor(row_factory=class_row(Camera)).execute(query, values).fetchone()
                except psycopg.errors.UniqueViolation as error:
                    raise CameraExistsError(f"another camera has the name {name!r} or this id already") from error
        except InvalidInputError as error:
            raise InvalidInputError(f"camera {name!r}: {error}") from error
        if row is None:
            raise UnknownCameraError(f"camera {name!r} was removed meanwhile")
        return row


def id_of(camera: UUID | str) -> UUID | None:
    """The id that a text spells, None where it is no id."""
    try:
        return camera if isinstance(camera, UUID) else UUID(str(camera))
    except ValueError:
        return None


def can_be_a_name(text: str) -> bool:
    """Whether PostgreSQL can look for this text: not with a NUL, nor a lone surrogate."""
    return "\0" not in text and text.encode(errors="ignore").decode() == text


def unknown_camera(wanted: object, names: list[str]) -> UnknownCameraError:
    """The error for a camera that is not there, with the names nearest to what was asked for."""
    near = difflib.get_close_matches(str(wanted), names, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "timeseries camera list shows them all"
    return UnknownCameraError(f"no camera has the name or id {wanted!s:.200}; {hint}")
