"""What a reader of the archive needs to know of cameras: a Parquet file, without connection strings."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from timeseries.archive.destination import Destination
from timeseries.database.connections import Connection
from timeseries.errors import ArchiveError

FOLDER = "cameras"
PATH = f"{FOLDER}/cameras.parquet"
SELECT_CAMERAS = """
    SELECT id::text, name, timezone, date_part('epoch', hold), capacity, zone_config::text, desired_state::text,
           created_at, past_capacities::text, opening_hours::text
    FROM public.cameras
"""
SCHEMA = pa.schema(
    {
        "camera_id": pa.string(),
        "name": pa.string(),
        "timezone": pa.string(),
        "hold_seconds": pa.float64(),
        "capacity": pa.int32(),
        "zone_config": pa.string(),
        "desired_state": pa.string(),
        "created_at": pa.timestamp("us", tz="UTC"),
        "past_capacities": pa.string(),
        "opening_hours": pa.string(),
    }
)


def write(connection: Connection, destination: Destination) -> None:
    """Write the cameras as they are; those that were removed stay, because the archive has their rows."""
    before = _read(destination)
    found = {row[0]: row for row in connection.execute(SELECT_CAMERAS).fetchall()}
    gone = [tuple(row.values()) for row in before.to_pylist() if row["camera_id"] not in found]
    rows = sorted([*found.values(), *gone])
    now = pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)
    if not now.equals(before) or not destination.exists(PATH):
        destination.replace(PATH, lambda file: pq.write_table(now, file), lambda part: _verify(destination, part, now))


def _read(destination: Destination, path: str = PATH) -> pa.Table:
    if not destination.exists(path):
        return SCHEMA.empty_table()
    with destination.reporting(f"read {path}"), destination.files.open_input_file(path) as file:
        found = pq.read_table(file)
    return pa.table([column_of(found, field) for field in SCHEMA], SCHEMA)


def column_of(found: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    """A column of the file; one that an older file lacks is unknown."""
    return found[field.name].cast(field.type) if field.name in found.column_names else pa.nulls(len(found), field.type)


def _verify(destination: Destination, path: str, wanted: pa.Table) -> None:
    if not _read(destination, path).equals(wanted):
        raise ArchiveError(f"the cameras in the archive {destination.name} are not those that were written to it")
