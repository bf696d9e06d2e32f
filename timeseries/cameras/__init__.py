"""Cameras and groups of them: what is configured, and the repositories that keep it."""

from timeseries.cameras.camera import Camera, DesiredState, can_be_a_name, validate_camera
from timeseries.cameras.changes import CameraChange
from timeseries.cameras.group import Group, Membership
from timeseries.cameras.groups import Groups
from timeseries.cameras.repository import Cameras, id_of, unknown_camera

__all__ = [
    "Camera",
    "CameraChange",
    "Cameras",
    "DesiredState",
    "Group",
    "Groups",
    "Membership",
    "can_be_a_name",
    "id_of",
    "unknown_camera",
    "validate_camera",
]
