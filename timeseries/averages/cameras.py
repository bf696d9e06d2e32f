"""Which camera here is meant by each that was exported: the one of the same id, or the one that the caller names."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from timeseries.cameras import Camera, Cameras
from timeseries.errors import CameraExistsError, InvalidInputError

Exported = Mapping[str, Any]  # a row of the file of cameras
Targets = dict[str, UUID]  # the id here, by the id of the export


def matched(cameras: Cameras, exported: Sequence[Exported], mapping: Mapping[str, Camera | UUID | str]) -> Targets:
    """The cameras that are here already.

    Raises InvalidInputError where the mapping names a camera that was not exported, UnknownCameraError where it names
    one that is not here, CameraExistsError where a camera would be added whose name is taken.
    """
    named = {key: camera["camera_id"] for camera in exported for key in (camera["name"], camera["camera_id"])}
    for key in mapping:
        if key not in named:
            near = difflib.get_close_matches(key, named, n=3)
            raise InvalidInputError(
                f"no camera {key!r} was exported; "
                + (f"did you mean {' or '.join(near)}?" if near else "look at cameras.parquet")
            )
    ids = cameras.ids()
    same = {str(camera_id): camera_id for camera_id in ids.values()}
    targets = {camera["camera_id"]: same[camera["camera_id"]] for camera in exported if camera["camera_id"] in same}
    targets |= {named[key]: cameras.get(camera).id for key, camera in mapping.items()}
    taken = sorted(
        camera["name"] for camera in exported if camera["camera_id"] not in targets and camera["name"] in ids
    )
    if taken:
        raise CameraExistsError(
            f"cameras of these names are here already, with other ids: {', '.join(map(repr, taken[:5]))}; say which"
            f" camera here each is (--map {taken[0]!r}={taken[0]!r}), or rename those here"
            " (timeseries camera update NAME --name NEW)"
        )
    return targets


def added(cameras: Cameras, exported: Exported) -> UUID:
    """Add a camera under the id that it had. It has no connection string, because none was exported."""
    return cameras.add(
        exported["name"],
        timezone=exported["timezone"],
        capacity=exported["capacity"],
        hold=timedelta(seconds=exported["hold_seconds"]),
        zone_config=json.loads(exported["zone_config"]),
        desired_state=exported["desired_state"],
        id=UUID(exported["camera_id"]),
        created_at=exported["created_at"],
        past_capacities=json.loads(exported.get("past_capacities") or "[]"),
        opening_hours=json.loads(exported.get("opening_hours") or "null"),
    ).id
