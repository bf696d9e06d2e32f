"""`key generate`, `rotate` and `check`."""

from __future__ import annotations

import sys

import click

from timeseries import Store, generate_key
from timeseries.cli.output import print_json, print_problems, print_table, progress_bar


@click.group()
def key() -> None:
    """Keys that encrypt connection strings."""


@key.command()
def generate() -> None:
    """Print a new key for TIMESERIES_SECRET_KEY."""
    click.echo(generate_key())


@key.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def check(url: str | None, as_json: bool) -> None:
    """Try to open every connection string, and say which keys are needed. Exit code 1 where one does not open.

    A key that no camera needs and that does not encrypt can be taken out of TIMESERIES_SECRET_KEY.
    """
    with Store.open(url) as store:
        found = store.keys.check()
    if as_json:
        print_json(found)
    else:
        states = ["encrypts" if key.encrypts else "known" if key.known else "missing" for key in found.keys]
        rows = [[key.key_id, key.cameras, state] for key, state in zip(found.keys, states, strict=True)]
        print_table(["key", "cameras", "state"], rows)
    finish(found.problems)


@key.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def rotate(url: str | None, as_json: bool) -> None:
    """Encrypt all connection strings with the first key of TIMESERIES_SECRET_KEY.

    Put a new key before the old one, restart the services, rotate, and take the old key away. It can be interrupted
    and run again.
    """
    with Store.open(url) as store, progress_bar("Rotate") as progress:
        result = store.keys.rotate(progress=progress)
    if as_json:
        print_json(result)
    else:
        click.echo(f"Encrypted again: {result.rotated:,}; changed meanwhile: {result.changed_meanwhile:,}.")
    finish(result.problems)


def finish(problems: tuple[str, ...]) -> None:
    print_problems(problems)
    sys.exit(1 if problems else 0)
