"""The group of commands. A module of commands is imported when one of its commands is called, and not for --help."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from timeseries.errors import TimeseriesError

# Where each command is, and the first sentence of its help; a test compares them.
COMMANDS = {
    "archive": (
        "timeseries.cli.archive:archive",
        "Write days of raw rows as Parquet to DESTINATION, a folder or a URI like s3://bucket/folder.",
    ),
    "averages": (
        "timeseries.cli.averages:averages",
        "Averages from one store into another, of any kind and version, with groups and periods.",
    ),
    "backtest": (
        "analytics.cli:backtest",
        "Errors of what was expected of the lot NAME, beside those of naive forecasts.",
    ),
    "backup": ("timeseries.cli.backup:backup", "Write the whole database, as it is at one moment, into FILE."),
    "camera": ("timeseries.cli.cameras:camera", "The configuration of cameras."),
    "demo": (
        "analytics.cli:demo",
        "Feed 120 days of sample data, up to now, through the public API and answer with it; a second run reuses them.",
    ),
    "expected": (
        "analytics.cli:expected",
        "What is to be expected of the lot NAME, by default for the next day.",
    ),
    "export": (
        "timeseries.cli.export:export",
        "Write events, an aggregate, the cameras or the groups to FILE: .csv, .csv.gz or .parquet.",
    ),
    "grant": ("timeseries.cli.roles:grant_", "Give database roles the rights of their kind, and no others."),
    "group": ("timeseries.cli.groups:group", "Groups of cameras, as a lot that several watch."),
    "import": (
        "timeseries.cli.data:import_",
        "Store a file of EVENTS: CSV, gzipped CSV or Parquet; or a SQLite database with the same tables as the store.",
    ),
    "jobs": (
        "timeseries.cli.backup:jobs",
        "Background jobs: refreshes, compression, retention; job 0 is retention where TimescaleDB runs no policies.",
    ),
    "key": ("timeseries.cli.keys:key", "Keys that encrypt connection strings."),
    "metrics": (
        "timeseries.cli.metrics:metrics",
        "Print how the store is in the text format of Prometheus, or be an exporter.",
    ),
    "migrate": (
        "timeseries.cli.schema:migrate",
        "Bring the schema to REVISION: head (the default), an older one, or base for none.",
    ),
    "period": ("timeseries.cli.periods:period", "Periods of cameras that do not count."),
    "policy": (
        "timeseries.cli.policies:policy",
        "Retention, refresh and columnstore, run by TimescaleDB's background jobs.",
    ),
    "prune": (
        "timeseries.cli.data:prune",
        "Remove raw rows that are older than retention keeps them; the averages stay.",
    ),
    "recovered": (
        "timeseries.cli.backup:recovered",
        "After a recovery to an earlier moment: pause the background jobs, then let the server take changes again.",
    ),
    "refresh": (
        "timeseries.cli.policies:refresh",
        "Compute the aggregates of a range again, from the raw rows that are left; nothing is ever erased.",
    ),
    "restore": (
        "timeseries.cli.backup:restore",
        "Restore the backup FILE into an empty database and compare the rows with those that were dumped.",
    ),
    "status": ("timeseries.cli.schema:status", "Say which server this is and what is in it."),
    "weekday": ("analytics.cli:weekday", "Average occupancy of the lot NAME by weekday, weighed by time."),
}


class Commands(click.Group):
    """The commands of the table, each imported when it is called; our errors are one line and exit code 1."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        room = formatter.width - 6 - max(map(len, COMMANDS))  # as click.Group leaves it
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, click.Command(name, help=COMMANDS[name][1]).get_short_help_str(room)) for name in COMMANDS]
            )

    def invoke(self, context: click.Context) -> Any:
        """Print our own errors in one line; any other is a bug, and keeps its traceback."""
        try:
            return super().invoke(context)
        except TimeseriesError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="occupancy-timeseries", prog_name="timeseries")
@click.option("--database-url", metavar="URL", help="Instead of TIMESERIES_DATABASE_URL or DATABASE_URL.")
@click.pass_context
def main(context: click.Context, database_url: str | None) -> None:
    """The memory of camera-watched parking.

    The database is the one of --database-url, else of the environment, else an embedded server in .timeseries/.
    """
    context.obj = database_url
