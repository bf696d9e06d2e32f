"""`archive`."""

from __future__ import annotations

import sys

import click

from timeseries import Store
from timeseries.cli.output import print_json, print_problems, progress_bar


@click.command()
@click.argument("destination", required=False)
@click.option("--check", is_flag=True, help="Write nothing: read every file back and compare it with the record.")
@click.option("--stop", is_flag=True, help="Forget the archive, whose files stay: retention asks for it no longer.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def archive(url: str | None, destination: str | None, check: bool, stop: bool, as_json: bool) -> None:
    """Write days of raw rows as Parquet to DESTINATION, a folder or a URI like s3://bucket/folder.

    From the first run on, retention removes no day that is not in the archive. Run it once a day; what is there already
    is not written again. Credentials come from the environment, never from the URI.
    """
    if (destination is None) != stop or (check and stop):
        raise click.UsageError("name a DESTINATION, or say --stop")
    with Store.open(url) as store, progress_bar("Archive") as progress:
        if destination is None:
            click.echo(f"The archive at {store.stop_archive()} is no longer written.")
        elif check:
            checked = store.check_archive(destination, progress=progress)
            print_json(checked) if as_json else click.echo(f"Read {checked.rows:,} rows in {checked.files:,} files.")
            print_problems(checked.problems)
            sys.exit(1 if checked.problems else 0)
        else:
            result = store.archive(destination, progress=progress)
            removed = f"; retention removed {result.removed:,} raw rows" if result.removed else ""
            said = f"Wrote {result.rows:,} rows in {result.files:,} files to {result.destination}{removed}."
            print_json(result) if as_json else click.echo(said)
