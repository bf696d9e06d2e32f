"""The cameras of files: created where the store does not have them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from timeseries.cameras import Cameras, validate_camera
from timeseries.errors import CameraExistsError, InvalidInputError
from timeseries.files.readers import table_rows
from timeseries.files.sqlite_reader import Database
from timeseries.ingest.frames import camera_ids
from timeseries.model.parsing import parse_count, parse_interval, parse_json


def import_cameras(cameras: Cameras, path: Path) -> int:
    """Create the cameras of a file that do not exist yet; how many were created."""
    known = set(cameras.ids())
    created = 0
    for number, row in table_rows(path):
        try:
            name = row.get("camera") or row.get("name")
            if not name:
                raise InvalidInputError("it needs a name in a column camera or name")
            if name not in known:
                cameras.add(name, **_camera_values(row))
                known.add(name)
                created += 1
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}, row {number}: {error}") from error
    return created


def _camera_values(row: dict[str, Any]) -> dict[str, Any]:
    parsers: dict[str, Callable[[Any], Any]] = {
        "timezone": str, "capacity": parse_count, "hold": parse_interval, "connection_string": str,
        "zone_config": parse_json, "desired_state": str, "past_capacities": parse_json,
        "opening_hours": parse_json,
    }  # fmt: skip
    return {key: parse(row[key]) for key, parse in parsers.items() if key in row}


def merge_cameras(
    cameras: Cameras, database: Database, zone: ZoneInfo | None, match_names: bool
) -> tuple[int, dict[str, bytes]]:
    """How many cameras were created, and whose events go to which; all are looked at before the first is stored."""
    here = cameras.list()
    known, names = {camera.id for camera in here}, {camera.name: camera.id for camera in here}
    new: list[dict[str, Any]] = []
    same: dict[UUID, UUID] = {}
    for camera in database.cameras(zone):
        name, camera_id = camera["name"], camera["id"]
        if camera_id in known:
            continue
        if name in names:
            same[camera_id] = names[name]
            continue
        validate_camera(camera)
        if "connection_string" in camera:
            camera["connection_string"] = cameras.decrypt_if_encrypted(camera["connection_string"], camera_id)
        new.append(camera)
    if same and not match_names:
        listed = ", ".join(sorted(repr(name) for name, camera_id in names.items() if camera_id in same.values()))
        raise CameraExistsError(
            f"{database.path}: cameras of these names are here already, with other ids: {listed}; rename them"
            " (timeseries camera update NAME --name NEW), or say that they are the same (--match-names)"
        )
    for camera in sorted(new, key=lambda camera: "connection_string" not in camera):  # a missing key shows at the first
        cameras.add(**camera)
    ids = camera_ids(cameras) | {str(old): camera_id.bytes for old, camera_id in same.items()}
    return len(new), ids
