"""`key generate`."""

from __future__ import annotations

import click

from timeseries.keyring import generate_key


@click.group()
def key() -> None:
    """Keys that encrypt connection strings."""


@key.command()
def generate() -> None:
    """Print a new key for TIMESERIES_SECRET_KEY."""
    click.echo(generate_key())


COMMANDS = (key,)
