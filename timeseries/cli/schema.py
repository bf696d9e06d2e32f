"""`migrate` and `status`."""

from __future__ import annotations

import sys

import click

from timeseries import schema
from timeseries.cli.output import print_json, print_table, size
from timeseries.status import read_status
from timeseries.store import Store, resolve_url


@click.command()
@click.argument("revision", default="head")
@click.pass_obj
def migrate(url: str | None, revision: str) -> None:
    """Bring the schema to REVISION: head (the default), an older one, or base for none."""
    url = resolve_url(url)
    schema.migrate(url, revision)
    click.echo(f"The schema is at revision {schema.current(url) or 'base'}.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status(url: str | None, as_json: bool) -> None:
    """Say which server this is and what is in it. Exit code 1 where something needs an operator."""
    with Store.open(url) as store:
        found = read_status(store.pool)
    if as_json:
        print_json(found)
    else:
        click.echo(f"{found.server}; schema revision {found.revision}; {found.cameras:,} cameras")
        print_table(
            ["table", "rows, about", "size", "oldest", "newest"],
            [[t.name, t.rows, size(t.bytes), t.oldest, t.newest] for t in found.tables],
        )
        print_table(
            ["aggregate", "kept as", "watermark", "lag, hours"],
            [[a.name, a.kept_as, a.watermark, a.lag_seconds and a.lag_seconds / 3600] for a in found.aggregates],
        )
        if found.policies:
            print_table(
                ["policy", "of", "every", "settings", "last run"],
                [
                    [p.name, p.relation, p.schedule_interval, settings(p.config), p.last_run_status]
                    for p in found.policies
                ],
            )
        for problem in found.problems:
            click.echo(f"Problem: {problem}", err=True)
    sys.exit(1 if found.problems else 0)


def settings(config: dict[str, object]) -> str:
    return ", ".join(f"{key} {value}" for key, value in config.items() if not key.endswith("hypertable_id"))


COMMANDS = (migrate, status)
