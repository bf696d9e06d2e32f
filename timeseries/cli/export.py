"""`export`."""

from __future__ import annotations

from pathlib import Path

import click

from timeseries import Store
from timeseries.cli.output import print_json, progress_bar
from timeseries.files.export import EXPORTABLE
from timeseries.model.parsing import parse_timestamp


@click.command()
@click.argument("what", type=click.Choice(EXPORTABLE))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--camera", "cameras", multiple=True, help="Only of this camera, by name or id; may be repeated.")
@click.option("--start", help="From this moment on, ISO 8601 with an offset, like 2026-11-01T00:00:00Z.")
@click.option("--end", help="Before this moment.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def export(
    url: str | None, what: str, file: Path, cameras: tuple[str, ...], start: str | None, end: str | None, as_json: bool
) -> None:
    """Write events, an aggregate, the cameras or the groups to FILE: .csv, .csv.gz or .parquet.

    Connection strings are never exported. A file of events can be imported again.
    """
    span = {key: parse_timestamp(text) for key, text in (("start", start), ("end", end)) if text is not None}
    with Store.open(url) as store, progress_bar(file.name) as progress:
        result = store.export(what, file, of=cameras or None, progress=progress, **span)
    if as_json:
        print_json(result)
    else:
        click.echo(f"Wrote {result.rows:,} rows to {result.path}.")
