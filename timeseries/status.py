"""What is in the store, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from timeseries.connections import Pool, connected
from timeseries.server import Server, inspect_server

TABLES = ("occupancy_events", "health_logs")
AGGREGATES = tuple(
    f"{family}_{level}" for family in ("occupancy", "health") for level in ("quarter_hourly", "hourly", "weekday")
)


@dataclass(frozen=True, slots=True)
class TableStatus:
    """Rows (estimated by the planner's statistics), bytes on disk with indexes, oldest and newest timestamp."""

    name: str
    rows: int
    bytes: int
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True, slots=True)
class AggregateStatus:
    """Where the aggregate is kept, its watermark and the age of it in seconds (None: it is a view)."""

    name: str
    kept_as: str
    watermark: datetime | None
    lag_seconds: float | None


@dataclass(frozen=True, slots=True)
class Policy:
    """A background job of TimescaleDB's: what it does to which relation, with which settings."""

    job_id: int
    name: str
    relation: str
    config: dict[str, Any]
    schedule_interval: str
    last_run_status: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of the store; `problems` says what needs an operator, and is empty when all is well."""

    server: Server
    revision: str | None
    cameras: int
    tables: tuple[TableStatus, ...]
    aggregates: tuple[AggregateStatus, ...]
    policies: tuple[Policy, ...]
    problems: tuple[str, ...]


def read_status(pool: Pool) -> Status:
    """Look at the store. Raises ServerUnavailableError or NotMigratedError."""
    with connected(pool) as connection:
        server = inspect_server(connection)
        revision = _value(connection, "SELECT version_num FROM public.alembic_version")
        cameras = _value(connection, "SELECT count(*) FROM public.cameras")
        tables = tuple(_table(connection, server, name) for name in TABLES)
        aggregates = _aggregates(connection)
        policies = _policies(connection) if server.kind == "community" else ()
    return Status(server, revision, cameras, tables, aggregates, policies, tuple(_problems(policies)))


def _value(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _table(connection: psycopg.Connection[Any], server: Server, name: str) -> TableStatus:
    size = "hypertable_size(%(t)s)" if server.timescaledb else "pg_total_relation_size(%(t)s)"
    rows = (
        "approximate_row_count(%(t)s)"
        if server.timescaledb
        else "(SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %(t)s::regclass)"
    )
    table = {"t": f"public.{name}"}
    row = connection.execute(
        f'SELECT {rows}, {size}, min("timestamp"), max("timestamp") FROM public.{name}',  # noqa: S608
        table,
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate without GROUP BY has one row
    return TableStatus(name, *row)


def _aggregates(connection: psycopg.Connection[Any]) -> tuple[AggregateStatus, ...]:
    if _value(connection, "SELECT to_regclass('timescaledb_information.continuous_aggregates') IS NULL"):
        return tuple(AggregateStatus(name, "view", None, None) for name in AGGREGATES)
    rows = connection.execute("""
        SELECT a.user_view_name, w.watermark, date_part('epoch', now() - w.watermark)
        FROM _timescaledb_catalog.continuous_agg AS a
        CROSS JOIN LATERAL (
            SELECT _timescaledb_functions.to_timestamp(_timescaledb_functions.cagg_watermark(a.mat_hypertable_id))
        ) AS w (watermark)
        WHERE a.user_view_schema = 'public'
    """).fetchall()
    found = {name: AggregateStatus(name, "continuous aggregate", mark, lag) for name, mark, lag in rows}
    return tuple(found.get(name, AggregateStatus(name, "view", None, None)) for name in AGGREGATES)


def _policies(connection: psycopg.Connection[Any]) -> tuple[Policy, ...]:
    rows = connection.execute("""
        SELECT j.job_id, replace(j.proc_name, 'policy_', ''), coalesce(a.view_name, j.hypertable_name)::text, j.config,
               j.schedule_interval::text, s.last_run_status
        FROM timescaledb_information.jobs AS j
        LEFT JOIN timescaledb_information.continuous_aggregates AS a
            ON a.materialization_hypertable_name = j.hypertable_name
        LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
        WHERE j.hypertable_name IS NOT NULL
        ORDER BY 3, 2
    """).fetchall()
    return tuple(Policy(*row) for row in rows)


def _problems(policies: tuple[Policy, ...]) -> list[str]:
    return [
        f"job {policy.job_id} ({policy.name} of {policy.relation}) failed at its last run"
        for policy in policies
        if policy.last_run_status == "Failed"
    ]
