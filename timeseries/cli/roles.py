"""`grant`."""

from __future__ import annotations

import sys

import click

from timeseries import Limits, grant, resolve_url
from timeseries.model.parsing import parse_interval


@click.command("grant")
@click.option("--owner", metavar="ROLE", help="Migrates, prunes and sets policies; owns what is there.")
@click.option("--ingest", metavar="ROLE", multiple=True, help="Stores events; may be repeated.")
@click.option("--reader", metavar="ROLE", multiple=True, help="Asks for averages, as dashboards do; may be repeated.")
@click.option("--worker", metavar="ROLE", multiple=True, help="Stores events and reads cameras; may be repeated.")
@click.option("--control", metavar="ROLE", multiple=True, help="Keeps cameras, reads averages; may be repeated.")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read a password a role, one a line, in this order; missing roles are created.",
)
@click.option("--statement-timeout", default="30s", show_default=True, help="How long a reader's statement may run.")
@click.option("--connections", default=20, show_default=True, help="How many connections a reader may have at once.")
@click.pass_obj
def grant_(
    url: str | None,
    owner: str | None,
    ingest: tuple[str, ...],
    reader: tuple[str, ...],
    worker: tuple[str, ...],
    control: tuple[str, ...],
    password_stdin: bool,
    statement_timeout: str,
    connections: int,
) -> None:
    """Give database roles the rights of their kind, and no others.

    It can be repeated, and should be after a migration. Taking away what anybody may do by default (making background
    jobs) needs a superuser.
    """
    grant(
        resolve_url(url),
        owner=owner,
        ingest=ingest,
        readers=reader,
        workers=worker,
        control=control,
        passwords=[line.rstrip("\n") for line in sys.stdin] if password_stdin else (),
        limits=Limits(parse_interval(statement_timeout), connections),
    )
    click.echo("The roles have their rights.")
