"""`group add`, `list`, `update`, `join`, `leave` and `remove`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from timeseries import Group, Membership, Store
from timeseries.cli.cameras import OPENING_HOURS
from timeseries.cli.output import print_json, print_table
from timeseries.model.parsing import parse_json

MOMENT = "a quarter of an hour, ISO 8601 with an offset; a date is the midnight at the lot."


@click.group()
def group() -> None:
    """Groups of cameras, as a lot that several watch."""


def show(groups: list[Group]) -> None:
    print_table(
        ["name", "id", "time zone", "camera", "since", "until"],
        [[g.name, g.id, g.zone, *member] for g in groups for member in map(span, g.members or [None])],
    )


def span(member: Membership | None) -> tuple[str | None, datetime | str | None, datetime | str | None]:
    return (None, None, None) if member is None else (member.camera, member.since or "always", member.until)


@group.command()
@click.argument("name")
@click.argument("cameras", nargs=-1)
@click.option("--timezone", help="IANA name; without it that of the members, who must agree.")
@click.option("--since", help="From when on they are members: " + MOMENT)
@click.option("--opening-hours", help=OPENING_HOURS)
@click.pass_obj
def add(
    url: str | None,
    /,
    name: str,
    cameras: tuple[str, ...],
    timezone: str | None,
    since: str | None,
    opening_hours: str | None,
) -> None:
    """Add a group of this NAME with these CAMERAS, by name or id."""
    with Store.open(url) as store:
        hours = parse_json(opening_hours)
        show([store.groups.add(name, cameras, timezone=timezone, since=since, opening_hours=hours)])


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def list_(url: str | None, as_json: bool) -> None:
    """List the groups and who is a member when."""
    with Store.open(url) as store:
        found = store.groups.list()
    print_json(found) if as_json else show(found)


@group.command()
@click.argument("name")
@click.option("--name", "new_name", help="A new name.")
@click.option("--timezone", help="IANA name.")
@click.option("--members-timezone", is_flag=True, help="No time zone of its own: that of the members.")
@click.option("--opening-hours", help=OPENING_HOURS)
@click.pass_obj
def update(
    url: str | None,
    /,
    name: str,
    new_name: str | None,
    timezone: str | None,
    members_timezone: bool,
    opening_hours: str | None,
) -> None:
    """Change the group of this NAME or id."""
    given = {"name": new_name, "timezone": timezone, "opening_hours": opening_hours}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if members_timezone:
        changes["timezone"] = None
    if opening_hours is not None:
        changes["opening_hours"] = parse_json(opening_hours)
    with Store.open(url) as store:
        show([store.groups.update(name, **changes)])


@group.command()
@click.argument("name")
@click.argument("camera")
@click.option("--since", help="From when on: " + MOMENT + " Without it, it always was.")
@click.option("--until", help="Before when: in the same form.")
@click.pass_obj
def join(url: str | None, /, name: str, camera: str, since: str | None, until: str | None) -> None:
    """Make a CAMERA a member of the group of this NAME or id."""
    with Store.open(url) as store:
        show([store.groups.join(name, camera, since=since, until=until)])


@group.command()
@click.argument("name")
@click.argument("camera")
@click.option("--at", help="From when on it is no member, by default now: " + MOMENT)
@click.option("--wholly", is_flag=True, help="As if it never had been a member.")
@click.pass_obj
def leave(url: str | None, /, name: str, camera: str, at: str | None, wholly: bool) -> None:
    """End the membership of a CAMERA in the group of this NAME or id."""
    with Store.open(url) as store:
        show([store.groups.leave(name, camera, at=at, wholly=wholly)])


@group.command()
@click.argument("name")
@click.pass_obj
def remove(url: str | None, name: str) -> None:
    """Remove the group of this NAME or id; its cameras stay."""
    with Store.open(url) as store:
        store.groups.remove(name)
    click.echo(f"Removed {name}.")
