"""The parts of a database URL, for tests that change one."""

from __future__ import annotations

from sqlalchemy import URL, make_url

from timeseries.database.connections import postgresql_uri


def parse_url(url: str) -> URL:
    return make_url(postgresql_uri(url))
