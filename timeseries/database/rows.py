"""The one row or the one value that a query is asked for."""

from __future__ import annotations

from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import sql
from psycopg.abc import Params

Query: TypeAlias = LiteralString | sql.SQL | sql.Composed


def row(connection: psycopg.Connection[Any], query: Query, parameters: Params | None = None) -> Any:
    """The first row, None where there is none."""
    return connection.execute(query, parameters).fetchone()


def value(connection: psycopg.Connection[Any], query: Query, parameters: Params | None = None) -> Any:
    """The first column of the first row, None where there is no row."""
    found = row(connection, query, parameters)
    return found[0] if found is not None else None
