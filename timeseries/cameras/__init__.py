"""Cameras and groups of them: what is configured, and the repositories that keep it."""

from timeseries.cameras.camera import Camera, DesiredState, validate_camera
from timeseries.cameras.changes import CameraChange
from timeseries.cameras.group import Group, Membership
from timeseries.cameras.groups import Groups
from timeseries.cameras.repository import Cameras, unknown_camera

__all__ = [
    "Camera",
    "CameraChange",
    "Cameras",
    "DesiredState",
    "Group",
    "Groups",
    "Membership",
    "unknown_camera",
    "validate_camera",
]
