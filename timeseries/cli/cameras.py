"""`camera add`, `list`, `update`, `history` and `remove`."""

from __future__ import annotations

import sys
from typing import Any

import click

from timeseries import Camera, CameraChange, Store
from timeseries.cli.output import print_json, print_table
from timeseries.model.parsing import parse_interval, parse_json
from timeseries.model.relations import DESIRED_STATES

OPENING_HOURS = (
    'From and to of each weekday on which it opens, as JSON like \'{"monday": ["07:00", "20:00"]}\'; null: always open.'
)


@click.group()
def camera() -> None:
    """The configuration of cameras."""


def settings(command: Any) -> Any:
    """The options that add and update share."""
    for option in (
        click.option("--connection-string-stdin", is_flag=True, help="Read it from standard input; it is encrypted."),
        click.option("--timezone", help="IANA name, like Europe/Berlin."),
        click.option("--capacity", type=int, help="Places in the lot."),
        click.option("--hold", help="How long an observation stands when none follows, like 12h."),
        click.option("--zone-config", help="Polygons, as JSON."),
        click.option("--desired-state", type=click.Choice(DESIRED_STATES)),
        click.option("--opening-hours", help=OPENING_HOURS),
    ):
        command = option(command)
    return command


def values(
    connection_string_stdin: bool, hold: str | None, zone_config: str | None, opening_hours: str | None, **others: Any
) -> dict[str, Any]:
    found = {key: value for key, value in others.items() if value is not None}
    if connection_string_stdin:
        found["connection_string"] = sys.stdin.readline().rstrip("\n")
    if hold is not None:
        found["hold"] = parse_interval(hold)
    if zone_config is not None:
        found["zone_config"] = parse_json(zone_config)
    if opening_hours is not None:
        found["opening_hours"] = parse_json(opening_hours)
    return found


def show(cameras: list[Camera]) -> None:
    print_table(
        ["name", "id", "time zone", "capacity", "hold", "state", "connection", "revision"],
        [[c.name, c.id, c.timezone, c.capacity, c.hold, c.desired_state, connection(c), c.revision] for c in cameras],
    )  # fmt: skip


def connection(camera: Camera) -> str | None:
    if camera.connection_string_hidden:
        return "hidden"
    return camera.connection_string and "encrypted"


@camera.command()
@click.argument("name")
@settings
@click.pass_obj
def add(url: str | None, /, name: str, **options: Any) -> None:
    """Add a camera."""
    with Store.open(url) as store:
        show([store.cameras.add(name, **values(**options))])


@camera.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def list_(url: str | None, as_json: bool) -> None:
    """List the cameras."""
    with Store.open(url) as store:
        found = store.cameras.list()
    print_json(found) if as_json else show(found)


@camera.command()
@click.argument("name")
@settings
@click.option("--name", "new_name", help="A new name.")
@click.option(
    "--since",
    help="From when on the lot has this capacity: a quarter of an hour, ISO 8601 with an offset; a date is the midnight"
    " at the lot.",
)
@click.option("--if-revision", type=int, help="Refuse where the camera has another revision.")
@click.pass_obj
def update(
    url: str | None, /, name: str, new_name: str | None, since: str | None, if_revision: int | None, **options: Any
) -> None:
    """Change the camera of this NAME or id, with --if-revision only if nobody has changed it since."""
    changes = values(**options) | ({"name": new_name} if new_name else {})
    with Store.open(url) as store:
        show([store.cameras.update(name, if_revision=if_revision, since=since, **changes)])


@camera.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def history(url: str | None, name: str | None, as_json: bool) -> None:
    """Show the changes of all cameras, or of this NAME or id, also of those that were renamed or removed."""
    with Store.open(url) as store:
        changes = store.cameras.history(name)
    if as_json:
        print_json(changes)
        return
    print_table(
        ["when", "name", "what", "columns", "revision", "by"],
        [[c.changed_at, named(c), c.kind, ", ".join(c.changed), c.revision, c.changed_by] for c in changes],
    )


def named(change: CameraChange) -> str:
    """The name, and the old one where it changed."""
    names = [camera.name for camera in (change.old, change.new) if camera is not None]
    return " → ".join(dict.fromkeys(names))


@camera.command()
@click.argument("name")
@click.pass_obj
def remove(url: str | None, name: str) -> None:
    """Remove the camera of this NAME or id, unless it has history."""
    with Store.open(url) as store:
        store.cameras.remove(name)
    click.echo(f"Removed {name}.")
