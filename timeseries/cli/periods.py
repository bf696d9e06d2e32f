"""`period add`, `list`, `update` and `remove`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from timeseries import Camera, Period, Store
from timeseries.cli.output import print_json, print_table
from timeseries.model.parsing import localize, parse_timestamp
from timeseries.model.relations import PERIOD_KINDS

LASTS = "lasts"


@click.group()
def period() -> None:
    """Periods of cameras that do not count.

    They are wrong data, a closed lot, planned maintenance; a note changes nothing. START and END are on a quarter of an
    hour, in ISO 8601; without an offset, or as a date, by the clocks of the lot.
    """


def moment(text: str, camera: Camera) -> datetime:
    return localize(parse_timestamp(text), camera.zone)


def show(store: Store, periods: list[Period]) -> None:
    names = {camera: name for name, camera in store.cameras.ids().items()}
    print_table(
        ["id", "camera", "kind", "start", "end", "text", "by"],
        [[p.id, names.get(p.camera_id), p.kind, p.start_at, p.end_at, p.text, p.changed_by] for p in periods],
    )


@period.command()
@click.argument("camera")
@click.argument("kind", type=click.Choice(PERIOD_KINDS))
@click.argument("start")
@click.argument("end", required=False)
@click.option("--text", default="", help="What happened, for people.")
@click.pass_obj
def add(url: str | None, camera: str, kind: Any, start: str, end: str | None, text: str) -> None:
    """Add a period of KIND to CAMERA; without END it lasts."""
    with Store.open(url) as store:
        found = store.cameras.get(camera)
        until = None if end is None else moment(end, found)
        show(store, [store.periods.add(found, moment(start, found), until, kind, text)])


@period.command("list")
@click.argument("camera", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def list_(url: str | None, camera: str | None, as_json: bool) -> None:
    """List the periods of all cameras, or of CAMERA."""
    with Store.open(url) as store:
        found = store.periods.list(camera)
        print_json(found) if as_json else show(store, found)


@period.command()
@click.argument("id", type=int)
@click.option("--kind", type=click.Choice(PERIOD_KINDS), help="What it does to answers.")
@click.option("--start", help="When it begins.")
@click.option("--end", help=f"When it ends; {LASTS!r} for no end.")
@click.option("--text", help="What happened, for people.")
@click.pass_obj
def update(url: str | None, /, id: int, **options: Any) -> None:  # noqa: A002 - the argument's name
    """Change the period of this ID."""
    with Store.open(url) as store:
        camera = store.cameras.get(store.periods.get(id).camera_id)
        changes = {name: value for name, value in options.items() if value is not None}
        for name in {"start", "end"} & set(changes):
            changes[name] = None if changes[name] == LASTS else moment(changes[name], camera)
        show(store, [store.periods.update(id, **changes)])


@period.command()
@click.argument("id", type=int)
@click.pass_obj
def remove(url: str | None, id: int) -> None:  # noqa: A002
    """Remove the period of this ID: what was observed in it counts again."""
    with Store.open(url) as store:
        store.periods.remove(id)
    click.echo(f"Removed {id}.")
