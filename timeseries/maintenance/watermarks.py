"""Watermarks of continuous aggregates that no event moves: those of a store that nothing is recorded in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from psycopg import sql

from timeseries.database.connections import Pool, connected, transaction
from timeseries.database.rows import value
from timeseries.maintenance.refresh import refresh
from timeseries.model.relations import WATERMARK_CAMERA

SEED_BEFORE_MIDNIGHT = timedelta(minutes=10)
DAY = timedelta(hours=24)
NAME = sql.Literal(WATERMARK_CAMERA)
# No row where the aggregates are views.
SELECT_WATERMARK = "SELECT min(watermark) FROM timeseries.materializations WHERE family IS NOT NULL"
SELECT_HAS_SEED = "SELECT EXISTS (SELECT FROM public.cameras WHERE name = %s)"
SELECT_RELATIONS = "SELECT relation::text FROM timeseries.materializations WHERE family IS NOT NULL"
# As the migrations do it: a refresh moves a watermark to the newest row that it finds, so there must be one. The camera
# is in no history, because watchers would run it (camera_versions.sql), and in no list of cameras.
INSERT_SEED = """
    INSERT INTO public.cameras (name, desired_state) VALUES ({name}, 'stopped') ON CONFLICT DO NOTHING;
    INSERT INTO public.occupancy_events (camera_id, "timestamp", occupied_count)
        SELECT id, {at}, 0 FROM public.cameras WHERE name = {name} ON CONFLICT DO NOTHING;
    INSERT INTO public.health_logs (camera_id, "timestamp", status)
        SELECT id, {at}, 'healthy' FROM public.cameras WHERE name = {name} ON CONFLICT DO NOTHING
"""
DELETE_MATERIALIZED = """
    DELETE FROM {relation} AS m USING public.cameras AS c WHERE m.camera_id = c.id AND c.name = {name}
"""
DELETE_SEED = """
    DELETE FROM public.occupancy_events USING public.cameras AS c
        WHERE camera_id = c.id AND c.name = {name};
    DELETE FROM public.health_logs USING public.cameras AS c
        WHERE camera_id = c.id AND c.name = {name};
    DELETE FROM public.cameras WHERE name = {name}
"""


def advance(pool: Pool, until: datetime) -> None:
    """Have every aggregate materialized beyond the midnight in UTC that follows on `until`, which is two days old: only
    what is behind its watermark is read from a materialization.
    """
    midnight = until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    midnight += DAY if midnight < until else timedelta(0)
    with connected(pool) as connection:
        watermark = value(connection, SELECT_WATERMARK)
    if watermark is not None and watermark < midnight:
        with _seed(pool, midnight + DAY - SEED_BEFORE_MIDNIGHT):
            refresh(pool, watermark, midnight + DAY)
    else:
        _remove_seed(pool)  # that of an import which was killed after its refresh


@contextmanager
def _seed(pool: Pool, at: datetime) -> Iterator[None]:
    """A camera with one event of each family, for the while."""
    with connected(pool) as connection, transaction(connection):
        connection.execute(sql.SQL(INSERT_SEED).format(name=NAME, at=sql.Literal(at)))
    try:
        yield
    finally:
        _remove_seed(pool)


def _remove_seed(pool: Pool) -> None:
    """The materialized rows first, because a quarter that has lost its raw rows is kept."""
    with connected(pool) as connection, transaction(connection):
        if not value(connection, SELECT_HAS_SEED, [WATERMARK_CAMERA]):
            return
        for (relation,) in connection.execute(SELECT_RELATIONS).fetchall():
            connection.execute(sql.SQL(DELETE_MATERIALIZED).format(name=NAME, relation=sql.SQL(relation)))
        connection.execute(sql.SQL(DELETE_SEED).format(name=NAME))
