"""The relations of the schema: a raw table with three aggregates for each family of events; the values of enums."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Family:
    """Events of one family: the raw table, its column that is observed (`value`) and its optional one (`extra`)."""

    name: str
    table: str
    value: str
    extra: str

    @property
    def columns(self) -> tuple[str, str, str, str]:
        """The columns of the raw table that an event fills, in the order of COPY."""
        return "camera_id", "timestamp", self.value, self.extra

    @property
    def quarters(self) -> str:
        return f"{self.name}_quarter_hourly"

    @property
    def hours(self) -> str:
        return f"{self.name}_hourly"

    @property
    def days(self) -> str:
        return f"{self.name}_weekday"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One of the six aggregates. It reads `source`, so retention there must stay out of the reach of its refresh."""

    name: str
    family: Family
    source: str
    bucket: timedelta


def _aggregates(family: Family) -> tuple[Aggregate, ...]:
    return (
        Aggregate(family.quarters, family, family.table, timedelta(minutes=15)),
        Aggregate(family.hours, family, family.quarters, timedelta(hours=1)),
        Aggregate(family.days, family, family.quarters, timedelta(days=1)),
    )


OCCUPANCY = Family("occupancy", "occupancy_events", "occupied_count", "raw_data")
HEALTH = Family("health", "health_logs", "status", "message")
FAMILIES = (OCCUPANCY, HEALTH)
RAW_TABLES = tuple(family.table for family in FAMILIES)
AGGREGATES = {aggregate.name: aggregate for family in FAMILIES for aggregate in _aggregates(family)}
RELATIONS = (*RAW_TABLES, *AGGREGATES)
# A camera that moves watermarks, for the while of a refresh: no camera to anybody.
WATERMARK_CAMERA = "timeseries: watermark"
DESIRED_STATES = ("running", "stopped", "maintenance")
PERIOD_KINDS = ("wrong", "closed", "maintenance", "note")
HEALTH_STATUSES = ("healthy", "degraded", "disconnected")
