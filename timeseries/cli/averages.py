"""`averages`."""

from __future__ import annotations

from pathlib import Path

import click

from timeseries import InvalidInputError, Store
from timeseries.cli.output import print_json, progress_bar
from timeseries.model.parsing import parse_timestamp


@click.group()
def averages() -> None:
    """Averages from one store into another, of any kind and version, with groups and periods."""


@averages.command("export")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--camera", "cameras", multiple=True, help="Only of this camera, by name or id; may be repeated.")
@click.option("--start", help="From this moment on, ISO 8601 with an offset, like 2026-11-01T00:00:00Z.")
@click.option("--end", help="Before this moment.")
@click.option("--finalized", is_flag=True, help="Only quarters of an hour whose raw rows are gone.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def export_(
    url: str | None,
    folder: Path,
    cameras: tuple[str, ...],
    start: str | None,
    end: str | None,
    finalized: bool,
    as_json: bool,
) -> None:
    """Write the quarters of an hour of all cameras, without the last two days, into a new FOLDER, with their groups and
    periods.
    """
    span = {key: parse_timestamp(text) for key, text in (("start", start), ("end", end)) if text is not None}
    with Store.open(url) as store, progress_bar(folder.name) as progress:
        result = store.export_averages(folder, of=cameras or None, finalized=finalized, progress=progress, **span)
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"Wrote {result.quarters:,} quarters of an hour of {result.cameras:,} cameras, before"
            f" {result.until.isoformat()}, with {result.groups:,} groups and {result.periods:,} periods to"
            f" {result.path}."
        )


@averages.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--map",
    "pairs",
    metavar="EXPORTED=HERE",
    multiple=True,
    help="Camera EXPORTED is camera HERE, each by name or id; may be repeated.",
)
@click.option(
    "--on-conflict",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="What becomes of quarters of an hour, memberships and periods that are here already with other values.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def import_(url: str | None, folder: Path, pairs: tuple[str, ...], on_conflict: str, as_json: bool) -> None:
    """Take over the averages in FOLDER. They are final: no event can be added to them."""
    mapping = dict(map(pair, pairs))
    with Store.open(url) as store, progress_bar(folder.name) as progress:
        result = store.import_averages(folder, mapping=mapping, on_conflict=on_conflict, progress=progress)  # type: ignore[arg-type]
    if as_json:
        print_json(result)
    else:
        click.echo(
            f"Imported {result.imported:,} quarters of an hour; {result.duplicates:,} were here already,"
            f" {result.skipped:,} were skipped. Added {result.cameras:,} cameras, {result.groups:,} groups,"
            f" {result.memberships:,} memberships, {result.periods:,} periods."
        )


def pair(text: str) -> tuple[str, str]:
    """The two cameras of EXPORTED=HERE."""
    exported, equals, here = text.partition("=")
    if not (exported and equals and here):
        raise InvalidInputError(f"--map {text!r}: it must be EXPORTED=HERE, two cameras by name or id")
    return exported, here
