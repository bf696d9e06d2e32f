"""The repository of groups: it adds, changes, finds and removes them, and lets cameras join and leave."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from timeseries.cameras.camera import Camera, can_be_a_name
from timeseries.cameras.group import Group, Membership, check_group
from timeseries.cameras.repository import Cameras, id_of
from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.rows import value
from timeseries.errors import GroupExistsError, InvalidInputError, UnknownGroupError
from timeseries.model.opening_hours import OpeningHours, opening_hours
from timeseries.model.quarters import Moment, on_a_quarter, quarter_before

SELECT_GROUPS = """
    SELECT g.id, g.name, g.timezone, timeseries.group_zone(g.id) AS zone, g.created_at,
           g.opening_hours
    FROM public.camera_groups AS g
    WHERE %(all)s OR g.id = %(id)s::uuid OR g.name = %(name)s
    ORDER BY g.id = %(id)s::uuid DESC NULLS LAST, g.name
"""
SELECT_MEMBERS = """
    SELECT m.group_id, c.name, m.camera_id, m.since, m.until
    FROM public.group_members AS m
    JOIN public.cameras AS c ON c.id = m.camera_id
    WHERE m.group_id = ANY (%s)
    ORDER BY c.name, m.since NULLS FIRST
"""
INSERT_GROUP = """
    INSERT INTO public.camera_groups (id, name, timezone, created_at, opening_hours)
    VALUES (
        coalesce(%(id)s, gen_random_uuid()), %(name)s, %(timezone)s, coalesce(%(created_at)s, now()), %(opening_hours)s
    )
    RETURNING id
"""
DELETE_GROUP = "DELETE FROM public.camera_groups WHERE id = %s RETURNING id"
INSERT_MEMBER = "INSERT INTO public.group_members (group_id, camera_id, since, until) VALUES (%s, %s, %s, %s)"
END_MEMBER = """
    UPDATE public.group_members SET until = %(at)s
    WHERE group_id = %(group)s AND camera_id = %(camera)s
      AND (since < %(at)s) IS NOT FALSE AND (until > %(at)s) IS NOT FALSE
"""
# A membership that would end where it begins never was.
DELETE_MEMBER = """
    DELETE FROM public.group_members
    WHERE group_id = %(group)s AND camera_id = %(camera)s AND (since = %(at)s OR %(wholly)s)
"""
CHANGEABLE = ("name", "timezone", "opening_hours")


class Groups:
    """The groups of a store. Names are unique, among cameras, too; ids never change."""

    def __init__(self, pool: Pool, cameras: Cameras) -> None:
        self._pool = pool
        self._cameras = cameras

    def add(
        self,
        name: str,
        cameras: Iterable[Camera | UUID | str] = (),
        *,
        timezone: str | None = None,
        since: Moment | None = None,
        id: UUID | None = None,  # noqa: A002 - the column's name
        created_at: datetime | None = None,
        opening_hours: OpeningHours | None = None,
    ) -> Group:
        """Add a group with these members, `since` a moment or as if they always were. `timezone` is an IANA name;
        without one the group is in that of its members, who must agree. `opening_hours` are those of `Group`; times may
        be given as `datetime.time`, too.

        Raises:
            InvalidInputError: a value that no group can have, or members in several zones and no `timezone`.
            GroupExistsError: a group or a camera has the name, or a group the id.
            UnknownCameraError: one of the members is not there.
        """
        check_group(name, timezone)
        members = [self._cameras.get(camera) for camera in cameras]
        values = {"id": id, "name": name, "timezone": timezone, "created_at": created_at}
        values |= stored(opening_hours=opening_hours)
        with self._changing(name) as connection:
            group_id = value(connection, INSERT_GROUP, values)
            for camera in members:
                begin = on_a_quarter("since", since, timezone or camera.timezone)
                insert_member(connection, name, group_id, camera, begin, None)
            return checked(connection, group_id)

    def update(self, group: Group | UUID | str, **changes: Any) -> Group:
        """Change `name`, `timezone` or `opening_hours` of a group; the errors are those of `add` and `get`."""
        if not changes or set(changes) - {*CHANGEABLE}:
            raise InvalidInputError(
                f"cannot change {', '.join(sorted(changes)) or 'nothing'} of a group; what can be changed:"
                f" {', '.join(CHANGEABLE)}; cameras join and leave"
            )
        found = self.get(group)
        check_group(changes.get("name", found.name), changes.get("timezone"))
        assignments = sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in changes
        )
        query = sql.SQL("UPDATE public.camera_groups SET {} WHERE id = %(id)s").format(assignments)
        with self._changing(changes.get("name", found.name)) as connection:
            connection.execute(query, stored(**changes) | {"id": found.id})
            return checked(connection, found.id)

    def get(self, group: Group | UUID | str) -> Group:
        """The group of this id (a UUID, or its text) or name; an id goes before a name that looks like it.

        Raises UnknownGroupError, with near names, where there is none.
        """
        wanted = group.id if isinstance(group, Group) else group
        with connected(self._pool) as connection:
            if can_be_a_name(name := str(wanted)) and (found := read_groups(connection, id_of(wanted), name)):
                return found[0]
            names = [one.name for one in read_groups(connection)]
        near = difflib.get_close_matches(str(wanted), names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "timeseries group list shows them all"
        raise UnknownGroupError(f"no group has the name or id {wanted!s:.200}; {hint}")

    def list(self) -> list[Group]:
        """All groups with their members, by name."""
        with connected(self._pool) as connection:
            return read_groups(connection)

    def remove(self, group: Group | UUID | str) -> None:
        """Remove a group; its cameras and their history stay. Raises UnknownGroupError."""
        found = self.get(group)
        with connected(self._pool) as connection:
            if value(connection, DELETE_GROUP, [found.id]) is None:
                raise UnknownGroupError(f"group {found.name!r} was removed meanwhile")

    def join(
        self,
        group: Group | UUID | str,
        camera: Camera | UUID | str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> Group:
        """Make a camera a member from `since` (None: it always was) to before `until` (None: for good). Each is on a
        quarter of an hour: an aware datetime, ISO 8601 with an offset, or a date, for the midnight at the lot. A camera
        may be in several groups, and in one group for several spans of time.

        Raises:
            InvalidInputError: a moment off a quarter of an hour, a span that overlaps another of this camera in this
                group, or a camera of another time zone in a group that has none of its own.
            NaiveTimestampError: a moment without an offset.
            UnknownGroupError, UnknownCameraError: there is none of this name or id.
        """
        found, joining = self.get(group), self._cameras.get(camera)
        zone = found.timezone or joining.timezone
        begin, end = on_a_quarter("since", since, zone), on_a_quarter("until", until, zone)
        if begin is not None and end is not None and begin >= end:
            raise InvalidInputError(f"since {begin.isoformat()} is not before until {end.isoformat()}; swap them")
        with self._changing(found.name) as connection:
            insert_member(connection, found.name, found.id, joining, begin, end)
            return checked(connection, found.id)

    def leave(
        self,
        group: Group | UUID | str,
        camera: Camera | UUID | str,
        *,
        at: Moment | None = None,
        wholly: bool = False,
    ) -> Group:
        """End a membership `at` a quarter of an hour, by default the one that has begun; from then on the camera is no
        member. Where the membership begins at that moment it never was. `wholly` takes back every membership of the
        camera in this group.

        Raises InvalidInputError where it is no member then, and the errors of `join`.
        """
        found, leaving = self.get(group), self._cameras.get(camera)
        zone = found.timezone or leaving.timezone
        moment = on_a_quarter("at", at, zone) or quarter_before(datetime.now(UTC))
        values = {"group": found.id, "camera": leaving.id, "at": moment, "wholly": wholly}
        with self._changing(found.name) as connection:
            ended = 0 if wholly else connection.execute(END_MEMBER, values).rowcount
            if not ended and not connection.execute(DELETE_MEMBER, values).rowcount:
                when = "" if wholly else f" at {moment.isoformat()}"
                raise InvalidInputError(
                    f"camera {leaving.name!r} is no member of group {found.name!r}{when}; {spans_of(found, leaving)}"
                )
            return checked(connection, found.id)

    @contextmanager
    def _changing(self, name: str) -> Iterator[Connection]:
        """A transaction, with the errors of the constraints that a group of this name can violate."""
        with connected(self._pool) as connection:
            try:
                yield connection
            except psycopg.errors.UniqueViolation as error:
                taken = "a camera" if error.diag.constraint_name == "pk_names" else "another group"
                raise GroupExistsError(f"{taken} has the name {name!r} or this id already") from error


def stored(**values: Any) -> dict[str, Any]:
    """The values as the table takes them. Raises InvalidInputError for opening hours that cannot be."""
    hours = opening_hours(values.get("opening_hours"))
    return values if hours is None else values | {"opening_hours": Jsonb(hours)}


def insert_member(
    connection: Connection, group: str, group_id: UUID, camera: Camera, since: datetime | None, until: datetime | None
) -> None:
    try:
        connection.execute(INSERT_MEMBER, [group_id, camera.id, since, until])
    except psycopg.errors.ExclusionViolation as error:
        connection.rollback()
        spans = [spans_of(found, camera) for found in read_groups(connection, group_id, None)]
        raise InvalidInputError(
            f"camera {camera.name!r} is a member of group {group!r} already in a part of that time;"
            f" {spans[0] if spans else 'name it once'}"
        ) from error
    except psycopg.errors.ForeignKeyViolation as error:
        raise UnknownGroupError(f"group {group!r} or camera {camera.name!r} was removed meanwhile") from error


def spans_of(group: Group, camera: Camera) -> str:
    """The memberships of a camera in words."""
    spans = [
        f"from {m.since.isoformat() if m.since else 'always'} to {m.until.isoformat() if m.until else 'now'}"
        for m in group.members
        if m.camera_id == camera.id
    ]
    return "it is one " + ", ".join(spans) if spans else "it never is one"


def checked(connection: Connection, group_id: UUID) -> Group:
    """The group as it is now. Raises InvalidInputError where it has no time zone, because answers need one."""
    found = read_groups(connection, group_id, None)
    if not found:
        raise UnknownGroupError(f"the group {group_id} was removed meanwhile")
    if found[0].zone is None:
        raise InvalidInputError(
            f"the members of group {found[0].name!r} have several time zones, so it needs one of its own; give it one"
            " first (timeseries group update NAME --timezone Europe/Berlin)"
        )
    return found[0]


def read_groups(connection: Connection, id_: UUID | None = None, name: str | None = None) -> list[Group]:
    """The groups with this id or name, the id first; all without either."""
    cursor = connection.cursor(row_factory=dict_row)
    with connection.transaction():
        rows = cursor.execute(SELECT_GROUPS, {"all": id_ is None and name is None, "id": id_, "name": name}).fetchall()
        members: dict[UUID, list[Membership]] = {row["id"]: [] for row in rows}
        for group_id, *member in connection.execute(SELECT_MEMBERS, [list(members)]):
            since, until = (at and at.astimezone(UTC) for at in member[2:])
            members[group_id].append(Membership(member[0], member[1], since, until))
    return [Group(**row, members=tuple(members[row["id"]])) for row in rows]
