"""Averages into a store: the quarters of an export, as if retention had removed their raw rows here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar, get_args
from uuid import UUID

import pyarrow as pa
import pyarrow.csv as pc
from psycopg import sql

from timeseries.averages.cameras import Targets, matched
from timeseries.averages.configuring import Added, OnConflict, configure
from timeseries.averages.folder import AveragesFolder, open_folder, reading
from timeseries.averages.quarters import Checked, Columns, check, columns_of
from timeseries.cameras import Camera, Cameras
from timeseries.database.connections import Connection, Pool, connected, transaction
from timeseries.database.internals import find_wrong_internals
from timeseries.database.retries import retried
from timeseries.database.rows import value
from timeseries.database.server import inspect_server
from timeseries.errors import ConfigurationError, InvalidInputError, NotAllowedError
from timeseries.maintenance.watermarks import advance
from timeseries.model.relations import FAMILIES, Family
from timeseries.progress import Progress

Names = Mapping[str, sql.Composable]
Result = TypeVar("Result")
ATTEMPTS, PAUSE = 20, 0.1  # a writer or a refresh that meets it comes first
INCOMING = sql.SQL("pg_temp.incoming")
SELECT_RIGHT = "SELECT has_function_privilege('timeseries.import_quarters(text, uuid)', 'EXECUTE')"
SELECT_IS_OLD = "SELECT %s <= now() - interval '24 hours'"
CREATE_INCOMING = sql.SQL("CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT * FROM public.{quarters} WITH NO DATA")
COPY_INCOMING = sql.SQL("COPY pg_temp.incoming ({columns}) FROM STDIN (FORMAT CSV)")
HOLD = "SELECT timeseries.hold_quarters(%s, %s)"
IMPORT = "SELECT timeseries.import_quarters(%s, %s)"
# Quarters that are here with the same numbers, because an import is repeated or averages come home, and all others.
DELETE_SAME = sql.SQL("""
    DELETE FROM pg_temp.incoming AS i USING public.{quarters} AS q
    WHERE q.camera_id = {camera} AND q.bucket BETWEEN {first} AND {last} AND q.bucket = i.bucket
      AND ROW ({theirs}) IS NOT DISTINCT FROM ROW ({ours})
""")
DELETE_DIFFERENT = sql.SQL("""
    DELETE FROM pg_temp.incoming AS i USING public.{quarters} AS q
    WHERE q.camera_id = {camera} AND q.bucket BETWEEN {first} AND {last} AND q.bucket = i.bucket
    RETURNING i.bucket
""")


@dataclass(frozen=True, slots=True)
class AveragesImport:
    """Cameras, groups, memberships and periods added, quarters imported, those that were here already, those skipped
    because others were here, and up to where the export reaches.
    """

    cameras: int
    groups: int
    memberships: int
    periods: int
    imported: int
    duplicates: int
    skipped: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """The quarters of one camera and family: the id and the name of the camera here, and what the rows must be."""

    family: Family
    camera: UUID
    name: str
    table: pa.Table
    wanted: Checked

    def names(self, columns: Columns) -> Names:
        """What the statements of this module call them."""
        first, last = (self.table["bucket"][position].as_py() for position in (0, -1))

        def list_of(table: str) -> sql.Composed:
            return sql.SQL(", ").join(sql.Identifier(table, name) for name in columns)

        return {
            "quarters": sql.Identifier(self.family.quarters), "camera": sql.Literal(self.camera),
            "first": sql.Literal(first), "last": sql.Literal(last), "ours": list_of("q"), "theirs": list_of("i"),
        }  # fmt: skip


def import_averages(
    pool: Pool,
    cameras: Cameras,
    folder: Path,
    *,
    mapping: Mapping[str, Camera | UUID | str] | None = None,
    on_conflict: OnConflict = "refuse",
    progress: Progress = None,
) -> AveragesImport:
    """Import what `timeseries.averages.export.export_averages` wrote, on any kind of server and release.

    Every byte of the folder is compared with its checksum before anything is stored, and the rows of each camera with
    the count and checksum that the other server computed. Imported quarters are finalized: they have no raw rows, and
    an event of theirs is rejected, as where retention has removed the raw rows. Hours and days are computed from all
    quarters of the camera, with the zone and hold that it has here.

    A camera is the one that has its id here, or the one that `mapping` gives by the name or id of the export; any other
    is added. A group is the one that has its id here, or is added; both keep what is configured of them here. A period
    is the one of its camera that begins at the same moment and is of the same kind.

    What is here with the same values (a quarter, a membership, a period) is left as it is, so an import that was broken
    off can be repeated. What is here with others (for a membership: of a part of the same time) is refused before
    anything is stored, or left as it is with `on_conflict="skip"`. Cameras, groups and periods are one transaction,
    and the quarters of each camera are one. `progress` is called with quarters looked at and quarters in all.

    Raises:
        InvalidInputError: the folder is not whole, or of another format; a conflict, with its place; a wrong option.
        CameraExistsError: the name of a camera that would be added belongs to another id here; see `mapping`.
        GroupExistsError: the name of a group that would be added belongs to another group here, or to a camera.
        UnknownCameraError: `mapping` names a camera that is not here.
        NotAllowedError: the role is not the owner of the store.
        ServerUnavailableError: the server is away.
    """
    if on_conflict not in get_args(OnConflict):
        raise InvalidInputError(f"on_conflict {on_conflict!r} must be 'refuse' or 'skip'")
    exported = open_folder(folder)
    _require(pool, exported)
    targets = matched(cameras, exported.cameras, mapping or {})
    if on_conflict == "refuse":
        for part in _parts(exported, targets):
            _store(pool, part, _refuse_conflicts)
    added = configure(pool, exported, targets, on_conflict)
    advance(pool, exported.manifest.until)
    return _import(pool, exported, targets | added.cameras, added, on_conflict, progress)


def _require(pool: Pool, exported: AveragesFolder) -> None:
    """Raise what would otherwise be raised in the middle."""
    with connected(pool) as connection:
        if not value(connection, SELECT_RIGHT):
            raise NotAllowedError("averages are imported by the owner of the store; connect as that role")
        wrong = find_wrong_internals(connection, inspect_server(connection))
        if wrong is not None:
            raise ConfigurationError(wrong)
        until = exported.manifest.until
        if not value(connection, SELECT_IS_OLD, [until]):
            raise InvalidInputError(
                f"{exported.path} reaches to {until.isoformat()}, which is less than a day ago by this server's clock;"
                " check the clocks of both servers"
            )


def _parts(exported: AveragesFolder, targets: Targets) -> Iterator[Part]:
    """What there is of these cameras."""
    with reading(exported.path):
        for family in FAMILIES:
            for camera, table, wanted in exported.quarters(family):
                if camera["id"] in targets:
                    yield Part(family, targets[camera["id"]], camera["name"], table, wanted)


def _import(
    pool: Pool, exported: AveragesFolder, targets: Targets, added: Added, on_conflict: OnConflict, progress: Progress
) -> AveragesImport:
    total = sum(camera[f"{family.name}_rows"] for camera in exported.cameras for family in FAMILIES)
    imported = duplicates = skipped = 0
    for part in _parts(exported, targets):
        same, different, stored = _store(pool, part, partial(_import_part, on_conflict=on_conflict))
        imported, duplicates, skipped = imported + stored, duplicates + same, skipped + different
        if progress is not None:
            progress(imported + duplicates + skipped, total)
    return AveragesImport(
        len(added.cameras), added.groups, added.memberships, added.periods, imported, duplicates, skipped,
        exported.manifest.until,
    )  # fmt: skip


def _store(pool: Pool, part: Part, work: Callable[[Connection, Part, Names], Result]) -> Result:
    """Do something with the quarters of a camera in a transaction in which they are staged."""
    with connected(pool) as connection:

        def attempt() -> Result:
            with transaction(connection):
                columns = _stage(connection, part)
                return work(connection, part, part.names(columns))

        return retried(attempt, attempts=ATTEMPTS, pause=PAUSE)


def _stage(connection: Connection, part: Part) -> Columns:
    """Copy the quarters into the table `incoming`; returns the columns that the file has."""
    here = columns_of(connection, part.family)
    unknown = sorted({*part.table.column_names} - {*here})
    if unknown:
        raise InvalidInputError(
            f"this store does not know the column {unknown[0]!r} of {part.family.quarters}: a newer version exported"
            " it; install that version and run timeseries migrate"
        )
    columns = {name: here[name] for name in part.table.column_names}
    names = sql.SQL(", ").join(map(sql.Identifier, ("camera_id", *columns)))
    connection.execute(CREATE_INCOMING.format(quarters=sql.Identifier(part.family.quarters)))
    with connection.cursor().copy(COPY_INCOMING.format(columns=names)) as target:
        target.write(_csv(part))
    connection.execute("ANALYZE pg_temp.incoming")
    found = check(connection, INCOMING, columns)
    if found != part.wanted:
        raise InvalidInputError(
            f"the quarters of camera {part.name!r} in {part.family.quarters} are not those that were exported:"
            f" {found.rows:,} rows with checksum {found.checksum}, not {part.wanted.rows:,} with"
            f" {part.wanted.checksum}; export again"
        )
    return columns


def _csv(part: Part) -> bytes:
    camera = pa.array([str(part.camera)] * len(part.table))
    file = pa.BufferOutputStream()
    pc.write_csv(part.table.add_column(0, "camera_id", camera), file, pc.WriteOptions(include_header=False))
    found: bytes = file.getvalue().to_pybytes()
    return found


def _refuse_conflicts(connection: Connection, part: Part, names: Names) -> None:
    connection.execute(DELETE_SAME.format(**names))
    _refuse(part, [bucket for (bucket,) in connection.execute(DELETE_DIFFERENT.format(**names)).fetchall()])


def _refuse(part: Part, conflicting: list[datetime]) -> None:
    if conflicting:
        raise InvalidInputError(
            f"{part.family.quarters} of camera {part.name!r}: {len(conflicting):,} of {part.wanted.rows:,} quarters are"
            f" here already with other numbers, the first at {min(conflicting).isoformat()}; keep those that are here"
            " (--on-conflict skip), or import into another camera (--map) or store"
        )


def _import_part(connection: Connection, part: Part, names: Names, on_conflict: OnConflict) -> tuple[int, int, int]:
    """How many quarters are the same here, how many are others, and how many were imported."""
    connection.execute(HOLD, [part.family.name, part.camera])
    same = connection.execute(DELETE_SAME.format(**names)).rowcount
    different = [bucket for (bucket,) in connection.execute(DELETE_DIFFERENT.format(**names)).fetchall()]
    if on_conflict == "refuse":
        _refuse(part, different)
    imported = value(connection, IMPORT, [part.family.name, part.camera])
    if imported != part.wanted.rows - same - len(different):
        raise ConfigurationError(
            f"of camera {part.name!r} not all quarters were stored: a trigger or rule removed some"
        )
    return same, len(different), imported
