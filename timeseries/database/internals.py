"""Whether TimescaleDB's private catalog is what the schema's functions know; they alone read it."""

from __future__ import annotations

from timeseries.database.connections import Connection
from timeseries.database.rows import value
from timeseries.database.server import Server

# A promotion that was interrupted has none of this yet.
SELECT_WRONG = "SELECT CASE WHEN timeseries.built_for() = 'community' THEN timeseries.wrong_internals() END"


def find_wrong_internals(connection: Connection, server: Server) -> str | None:
    """What is not as expected, with the remedy; None where all is well."""
    wrong = value(connection, SELECT_WRONG)
    return wrong and (
        f"{server} keeps its continuous aggregates in another way than this version of the store knows ({wrong}):"
        " events are stored and left to the refresh policies, and questions fail; install a version of the store that"
        " knows it, or restore a backup on a release of TimescaleDB that docs/releases.md names"
    )
