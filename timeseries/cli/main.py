"""The group of commands. Other packages add theirs by the entry point group `timeseries.commands`."""

from __future__ import annotations

from importlib.metadata import entry_points, version
from typing import Any

import click

from timeseries.cli.output import clean_errors


class Commands(click.Group):
    """Commands of this package and of those that extend it."""

    def list_commands(self, context: click.Context) -> list[str]:
        extensions = {point.name for point in entry_points(group="timeseries.commands")}
        return sorted({*super().list_commands(context), *extensions})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        own = super().get_command(context, name)
        if own is not None:
            return own
        for point in entry_points(group="timeseries.commands", name=name):
            command: click.Command = point.load()
            return command
        return None

    def invoke(self, context: click.Context) -> Any:
        with clean_errors():
            return super().invoke(context)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("occupancy-timeseries"), prog_name="timeseries")
@click.option("--database-url", metavar="URL", help="Instead of TIMESERIES_DATABASE_URL or DATABASE_URL.")
@click.pass_context
def main(context: click.Context, database_url: str | None) -> None:
    """The memory of camera-watched parking.

    The database is the one of --database-url, else of the environment, else an embedded server in .timeseries/.
    """
    context.obj = database_url


def register() -> None:
    from timeseries.cli import backup, cameras, data, export, keys, policies, roles, schema

    for module in (backup, cameras, data, export, keys, policies, roles, schema):
        for command in module.COMMANDS:
            main.add_command(command)


register()
