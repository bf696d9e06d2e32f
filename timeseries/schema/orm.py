"""The tables, for SQLAlchemy and Alembic."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Enum,
    FetchedValue,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from timeseries.model.relations import DESIRED_STATES, HEALTH_STATUSES

# IANA's names; PostgreSQL would also take a rule like XYZ+3, which no client knows.
TIMEZONE_KNOWN = r"""
    timezone ~ '^(EST5EDT|CST6CDT|MST7MDT|PST8PDT|GMT[+-]?0|[A-Za-z][A-Za-z_-]*(/[A-Za-z0-9_+-]+)*)$'
    AND (timestamptz 'epoch' AT TIME ZONE timezone) IS NOT NULL
"""
OPENING_HOURS = "timeseries.are_opening_hours(opening_hours)"


class Base(DeclarativeBase):
    """Declares every name: nothing is named by the server."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class CameraRow(Base):
    """Configuration of a camera. `connection_string` is ciphertext and stays out of the repr."""

    __tablename__ = "cameras"
    __table_args__ = (
        CheckConstraint("btrim(name) <> ''", name="name_not_blank"),
        CheckConstraint("capacity > 0", name="capacity_positive"),
        CheckConstraint("hold >= interval '15 minutes'", name="hold_at_least_a_quarter"),
        CheckConstraint(TIMEZONE_KNOWN, name="timezone_known"),
        CheckConstraint(OPENING_HOURS, name="opening_hours_by_weekday"),
    )

    id: Mapped[UUID] = mapped_column(PG_UUID, primary_key=True, server_default=text("gen_random_uuid()"))
    name: Mapped[str] = mapped_column(String(200), unique=True)
    connection_string: Mapped[str | None] = mapped_column(
        Text, comment="Ciphertext only; a trigger refuses anything else."
    )
    zone_config: Mapped[Any] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    capacity: Mapped[int | None] = mapped_column(comment="Today's; what it was before is in past_capacities.")
    desired_state: Mapped[str] = mapped_column(
        Enum(*DESIRED_STATES, name="desired_state"), server_default=text("'running'::desired_state")
    )
    timezone: Mapped[str] = mapped_column(Text, server_default=text("'UTC'::text"))
    hold: Mapped[timedelta] = mapped_column(
        Interval,
        server_default=text("'1 day'::interval"),
        comment="How long an observation stands when none follows.",
    )
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=text("now()"))
    revision: Mapped[int] = mapped_column(
        BigInteger, FetchedValue(), comment="Goes up with each change; a trigger sets it, with who and when."
    )
    changed_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), FetchedValue())
    changed_by: Mapped[str] = mapped_column(Text, FetchedValue())
    past_capacities: Mapped[Any] = mapped_column(
        JSONB,
        server_default=text("'[]'::jsonb"),
        comment="Each past capacity and until when it was that, oldest first.",
    )
    opening_hours: Mapped[Any | None] = mapped_column(
        JSONB, comment='From and to by the local weekday, like {"monday": ["07:00", "20:00"]}; NULL: always open.'
    )

    def __repr__(self) -> str:
        return f"CameraRow(id={self.id!r}, name={self.name!r})"


def on_a_quarter(column: str) -> CheckConstraint:
    """A moment is finite, and where a quarter of an hour begins."""
    condition = f"isfinite({column}) AND {column} = date_bin('15 minutes', {column}, 'epoch')"
    return CheckConstraint(condition, name=f"{column}_a_quarter")


class CameraGroupRow(Base):
    """A group of cameras, as a lot that several watch."""

    __tablename__ = "camera_groups"
    __table_args__ = (
        CheckConstraint("btrim(name) <> ''", name="name_not_blank"),
        CheckConstraint(f"timezone IS NULL OR {TIMEZONE_KNOWN}", name="timezone_known"),
        CheckConstraint(OPENING_HOURS, name="opening_hours_by_weekday"),
    )

    id: Mapped[UUID] = mapped_column(PG_UUID, primary_key=True, server_default=text("gen_random_uuid()"))
    name: Mapped[str] = mapped_column(String(200), unique=True)
    timezone: Mapped[str | None] = mapped_column(Text, comment="NULL: that of its members, who must agree.")
    created_at: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), server_default=text("now()"))
    opening_hours: Mapped[Any | None] = mapped_column(
        JSONB, comment="The group's own, as those of cameras; NULL: always open."
    )


class GroupMemberRow(Base):
    """A span of time in which a camera is a member. Spans of one camera in one group do not overlap: a constraint that
    SQLAlchemy does not declare keeps them apart.
    """

    __tablename__ = "group_members"
    __table_args__ = (
        on_a_quarter("since"),
        on_a_quarter("until"),
        CheckConstraint("until > since", name="until_after_since"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    group_id: Mapped[UUID] = mapped_column(
        PG_UUID, ForeignKey("camera_groups.id", onupdate="RESTRICT", ondelete="CASCADE")
    )
    camera_id: Mapped[UUID] = mapped_column(
        PG_UUID, ForeignKey("cameras.id", onupdate="RESTRICT", ondelete="CASCADE"), index=True
    )
    since: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))
    until: Mapped[datetime | None] = mapped_column(TIMESTAMP(timezone=True))


class OccupancyEventRow(Base):
    """How many cars a camera counted, and when. A hypertable where the server has TimescaleDB."""

    __tablename__ = "occupancy_events"
    __table_args__ = (
        UniqueConstraint("camera_id", "timestamp"),
        CheckConstraint("occupied_count >= 0", name="count_not_negative"),
        CheckConstraint("timestamp >= 'epoch'", name="timestamp_since_1970"),
        CheckConstraint("timestamp <= now() + interval '5 minutes'", name="timestamp_not_ahead"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    camera_id: Mapped[UUID] = mapped_column(PG_UUID, ForeignKey("cameras.id", onupdate="RESTRICT", ondelete="RESTRICT"))
    timestamp: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), primary_key=True)
    occupied_count: Mapped[int] = mapped_column(Integer)
    raw_data: Mapped[Any | None] = mapped_column(JSONB)


class HealthLogRow(Base):
    """How a camera is, from this moment on. A hypertable where the server has TimescaleDB."""

    __tablename__ = "health_logs"
    __table_args__ = (
        UniqueConstraint("camera_id", "timestamp"),
        CheckConstraint("timestamp >= 'epoch'", name="timestamp_since_1970"),
        CheckConstraint("timestamp <= now() + interval '5 minutes'", name="timestamp_not_ahead"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    camera_id: Mapped[UUID] = mapped_column(PG_UUID, ForeignKey("cameras.id", onupdate="RESTRICT", ondelete="RESTRICT"))
    status: Mapped[str] = mapped_column(Enum(*HEALTH_STATUSES, name="health_status"))
    message: Mapped[str | None] = mapped_column(Text)
    timestamp: Mapped[datetime] = mapped_column(TIMESTAMP(timezone=True), primary_key=True)
