"""The environment, read here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from timeseries.errors import ConfigurationError, InvalidInputError
from timeseries.model.parsing import parse_interval

URL_VARIABLES = ("TIMESERIES_DATABASE_URL", "DATABASE_URL")
READ_URL_VARIABLE = "TIMESERIES_READ_URL"
KEY_VARIABLE = "TIMESERIES_SECRET_KEY"
HOME_VARIABLE = "TIMESERIES_HOME"
POSTGRES_VARIABLE = "TIMESERIES_POSTGRES"
KEEP_VARIABLE = "TIMESERIES_KEEP"
CALL_DEADLINE_VARIABLE = "TIMESERIES_CALL_DEADLINE"
BATCH_DEADLINE_VARIABLE = "TIMESERIES_BATCH_DEADLINE"
CALL_DEADLINE = timedelta(minutes=15)
BATCH_DEADLINE = timedelta(seconds=45)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the database is and how connection strings are encrypted; secrets stay out of the repr.

    `database_url` is empty when no variable is set: the embedded server in `home` is meant then. `keep` is how long raw
    rows stay where TimescaleDB runs no policies; None leaves what the database records, 90 days at first. A statement
    or an answer over which no byte moves for `call_deadline`, or a writer's batch for `batch_deadline`, is given up.
    """

    database_url: str = field(default="", repr=False)
    read_url: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    home: Path = Path(".timeseries")
    postgres: Path | None = None
    keep: timedelta | None = None
    call_deadline: timedelta = CALL_DEADLINE
    batch_deadline: timedelta = BATCH_DEADLINE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read `TIMESERIES_DATABASE_URL` (else `DATABASE_URL`), `TIMESERIES_READ_URL` (the server that `analytics`
        queries in place of that one; of several hosts a standby is preferred), `TIMESERIES_SECRET_KEY`,
        `TIMESERIES_HOME` (the embedded server's folder), `TIMESERIES_POSTGRES` (the prefix of a local PostgreSQL to
        prefer), `TIMESERIES_KEEP` (how long raw rows stay), `TIMESERIES_CALL_DEADLINE` and `TIMESERIES_BATCH_DEADLINE`
        (how long a statement and a writer's batch may be silent).

        Raises ConfigurationError where one of the last three is no length of time.
        """
        given = os.environ if environment is None else environment
        postgres = given.get(POSTGRES_VARIABLE, "")
        return cls(
            database_url=next((given[name] for name in URL_VARIABLES if given.get(name)), ""),
            read_url=given.get(READ_URL_VARIABLE, ""),
            secret_key=given.get(KEY_VARIABLE, ""),
            home=Path(given.get(HOME_VARIABLE) or ".timeseries"),
            postgres=Path(postgres) if postgres else None,
            keep=_length(given, KEEP_VARIABLE),
            call_deadline=_length(given, CALL_DEADLINE_VARIABLE) or CALL_DEADLINE,
            batch_deadline=_length(given, BATCH_DEADLINE_VARIABLE) or BATCH_DEADLINE,
        )


def _length(given: Mapping[str, str], name: str) -> timedelta | None:
    """A length of time; None where the variable is not set."""
    try:
        return parse_interval(given[name]) if given.get(name) else None
    except InvalidInputError as error:
        raise ConfigurationError(f"{name}: {error}") from error


def environment_with(**variables: str) -> dict[str, str]:
    """The environment of this process and these variables, for a program that it starts."""
    return os.environ | variables
