"""Cameras: what is configured, and the repository that keeps it."""

from timeseries.cameras.camera import Camera, DesiredState, can_be_a_name, validate_camera
from timeseries.cameras.changes import CameraChange
from timeseries.cameras.repository import Cameras, id_of, unknown_camera

__all__ = [
    "Camera", "CameraChange", "Cameras", "DesiredState", "can_be_a_name", "id_of", "unknown_camera", "validate_camera",
]  # fmt: skip
