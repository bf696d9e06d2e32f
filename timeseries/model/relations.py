"""The tables of events by family, their columns, and the words that the database's enums know."""

from __future__ import annotations

from typing import Literal

Family = Literal["occupancy", "health"]

TABLES: dict[Family, str] = {"occupancy": "occupancy_events", "health": "health_logs"}
COLUMNS: dict[Family, tuple[str, ...]] = {
    "occupancy": ("camera_id", "timestamp", "occupied_count", "raw_data"),
    "health": ("camera_id", "timestamp", "status", "message"),
}
DESIRED_STATES = ("running", "stopped", "maintenance")
HEALTH_STATUSES = ("healthy", "degraded", "disconnected")
