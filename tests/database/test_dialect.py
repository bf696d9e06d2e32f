"""The SQLAlchemy dialect, as somebody else's tables would use it."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Column, DateTime, Float, MetaData, Table, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from timeseries import ServerKind


def measurements(metadata: MetaData) -> Table:
    return Table(
        "measurements", metadata, Column("at", DateTime(timezone=True), nullable=False), Column("value", Float),
        schema="other schema", timescaledb_hypertable={"time_column_name": "at", "chunk_time_interval": "3 hours"},
    )  # fmt: skip


def url_of(database: str) -> str:
    return database.replace("postgresql", "timescaledb+psycopg", 1)


@pytest.mark.kinds(ServerKind.COMMUNITY, ServerKind.APACHE)
def test_a_table_in_a_schema_becomes_a_hypertable_each_time_it_is_created(database: str) -> None:
    engine = create_engine(url_of(database))
    metadata = MetaData()
    measurements(metadata)
    with engine.begin() as connection:
        connection.execute(text('CREATE SCHEMA "other schema"'))
        for _ in range(3):
            metadata.create_all(connection)
            found = connection.execute(
                text(
                    "SELECT time_interval FROM timescaledb_information.dimensions"
                    " WHERE hypertable_schema = 'other schema'"
                )
            ).all()
            assert [row[0].total_seconds() for row in found] == [3 * 3600]
            metadata.drop_all(connection)
    engine.dispose()


def test_the_dialect_is_found_by_name_and_speaks_psycopg_3(database: str) -> None:
    engine = create_engine(url_of(database))
    assert (engine.dialect.name, engine.dialect.driver) == ("timescaledb", "psycopg")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    engine.dispose()


def test_the_dialect_works_with_asyncio(database: str) -> None:
    async def ask() -> object:
        engine = create_async_engine(url_of(database))
        async with engine.connect() as connection:
            found = (await connection.execute(text("SELECT 1"))).scalar()
        await engine.dispose()
        return found

    assert asyncio.run(ask()) == 1
