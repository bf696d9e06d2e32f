"""Which camera here is meant by each that was exported: the one of the same id, or the one that the caller names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from uuid import UUID

from timeseries.averages.tables import Row
from timeseries.cameras import Camera, Cameras
from timeseries.errors import CameraExistsError, InvalidInputError

Targets = dict[str, UUID]  # the id here, by the id of the export


def matched(cameras: Cameras, exported: Sequence[Row], mapping: Mapping[str, Camera | UUID | str]) -> Targets:
    """The cameras that are here already.

    Raises InvalidInputError where the mapping names a camera that was not exported, UnknownCameraError where it names
    one that is not here, CameraExistsError where a camera would be added whose name is taken.
    """
    named = {key: camera["id"] for camera in exported for key in (camera["name"], camera["id"])}
    for key in mapping:
        if key not in named:
            near = difflib.get_close_matches(key, named, n=3)
            raise InvalidInputError(
                f"no camera {key!r} was exported; "
                + (f"did you mean {' or '.join(near)}?" if near else "look at cameras.parquet")
            )
    ids = cameras.ids()
    same = {str(camera_id): camera_id for camera_id in ids.values()}
    targets = {camera["id"]: same[camera["id"]] for camera in exported if camera["id"] in same}
    targets |= {named[key]: cameras.get(camera).id for key, camera in mapping.items()}
    taken = sorted(camera["name"] for camera in exported if camera["id"] not in targets and camera["name"] in ids)
    if taken:
        raise CameraExistsError(
            f"cameras of these names are here already, with other ids: {', '.join(map(repr, taken[:5]))}; say which"
            f" camera here each is (--map {taken[0]!r}={taken[0]!r}), or rename those here"
            " (timeseries camera update NAME --name NEW)"
        )
    return targets
