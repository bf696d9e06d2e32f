"""`import` and `prune`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timeseries import Store
from timeseries.cli.output import print_json, print_table, progress_bar
from timeseries.model.parsing import parse_interval

if TYPE_CHECKING:
    from timeseries.files.import_feed import FeedFormat


@click.command("import")
@click.argument("events", type=click.Path(path_type=Path))
@click.option("--cameras", type=click.Path(path_type=Path), help="A file with a row per camera, created when new.")
@click.option("--groups", type=click.Path(path_type=Path), help="A file with a row per member of a group.")
@click.option("--naive-timezone", metavar="ZONE", help="Whose time timestamps without an offset are, like UTC.")
@click.option("--match-names", is_flag=True, help="SQLite: a camera of the same name is the same, whatever its id.")
@click.option("--format", "feed", type=click.Choice(["parkapi", "datex2"]),
              help="EVENTS is a feed: JSON of ParkAPI v3, XML of DATEX II.")  # fmt: skip
@click.option("--source", metavar="NAME", help="Feed: whose sites they are, where it does not say it.")
@click.option("--timezone", metavar="ZONE", help="Feed: the time zone of sites that are new, like Europe/Berlin.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def import_(
    url: str | None,
    events: Path,
    cameras: Path | None,
    groups: Path | None,
    naive_timezone: str | None,
    match_names: bool,
    feed: FeedFormat | None,
    source: str | None,
    timezone: str | None,
    as_json: bool,
) -> None:
    """Store a file of EVENTS: CSV, gzipped CSV or Parquet; or a SQLite database with the same tables as the store.

    With --format, a feed of parking sites: new sites become cameras, and what they report becomes events.

    Rejected rows go to a file beside it, with their reasons; the exit code is 1 then. A second import of the same
    file stores nothing twice.
    """
    if feed and (cameras or match_names):
        raise click.UsageError("--cameras and --match-names do not go with --format")
    if not feed and (source or timezone):
        raise click.UsageError("--source and --timezone go with --format")
    with Store.open(url) as store, progress_bar(events.name) as progress:
        if feed:
            result = store.import_feed(
                events, format=feed, source=source, timezone=timezone, naive_timezone=naive_timezone
            )
        else:
            result = store.import_file(
                events, cameras, groups, naive_timezone=naive_timezone, match_names=match_names, progress=progress
            )
    if as_json:
        print_json(result)
    else:
        counts = {
            "cameras created": result.cameras,
            **({"members of groups": result.members} if groups else {}),
            "inserted": result.inserted,
            "duplicates": result.duplicates,
            "rejected": result.rejected,
        }
        print_table([*counts], [[*counts.values()]])
        if result.rejected_file:
            click.echo(f"The rejected rows and their reasons are in {result.rejected_file}", err=True)
    sys.exit(1 if result.rejected else 0)


@click.command()
@click.option("--keep", metavar="LENGTH", help="How much of the raw rows stays from now on.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def prune(url: str | None, keep: str | None, as_json: bool) -> None:
    """Remove raw rows that are older than retention keeps them; the averages stay.

    The store does it by itself, once a day; this does it now. On TimescaleDB Community it does what the retention jobs
    do, which have their own setting: see timeseries policy.
    """
    with Store.open(url) as store, progress_bar("Prune") as progress:
        result = store.prune(parse_interval(keep) if keep is not None else None, progress=progress)
    if as_json:
        print_json(result)
    else:
        before = f" from before {result.before:%Y-%m-%d} (UTC)" if result.before else ""
        held = f"; {result.held:,} days wait for the archive" if result.held else ""
        click.echo(f"Removed {result.removed:,} raw rows{before}{held}.")
