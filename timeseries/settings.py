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
POOL_SIZE_VARIABLE = "TIMESERIES_POOL_SIZE"
READ_POOL_SIZE_VARIABLE = "TIMESERIES_READ_POOL_SIZE"
CALL_DEADLINE = timedelta(minutes=15)
BATCH_DEADLINE = timedelta(seconds=45)
POOL_SIZE = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the database is and how connection strings are encrypted; secrets stay out of the repr.

    `database_url` is empty when no variable is set: the embedded server in `home` is meant then, run by the PostgreSQL
    with the prefix `postgres`, if that is set. `analytics` asks `read_url`, if that is set. `keep` is how long raw rows
    stay where TimescaleDB runs no policies; None leaves what the database records, 90 days at first. A statement
    or an answer over which no byte moves for `call_deadline`, or a writer's batch for `batch_deadline`, is given up.
    A store has `pool_size` connections at most, and the answers of a process `read_pool_size` to each database.
    """

    database_url: str = field(default="", repr=False)
    read_url: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    home: Path = Path(".timeseries")
    postgres: Path | None = None
    keep: timedelta | None = None
    call_deadline: timedelta = CALL_DEADLINE
    batch_deadline: timedelta = BATCH_DEADLINE
    pool_size: int = POOL_SIZE
    read_pool_size: int = POOL_SIZE

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """The settings that the variables of docs/configuration.md give. Raises ConfigurationError for one that should
        be a length of time or a number, and is not.
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
            pool_size=_number(given, POOL_SIZE_VARIABLE, POOL_SIZE),
            read_pool_size=_number(given, READ_POOL_SIZE_VARIABLE, POOL_SIZE),
        )


def _length(given: Mapping[str, str], name: str) -> timedelta | None:
    """A length of time; None where the variable is not set."""
    try:
        return parse_interval(given[name]) if given.get(name) else None
    except InvalidInputError as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(f"{name} is {text!r}; it must be a whole number of at least 1")
    return int(text)


def environment_with(**variables: str) -> dict[str, str]:
    """The environment of this process and these variables, for a program that it starts."""
    return os.environ | variables
