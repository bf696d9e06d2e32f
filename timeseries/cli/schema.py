"""`migrate` and `status`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import click

from timeseries import Store, resolve_url
from timeseries.cli.output import print_json, print_problems, print_table, size
from timeseries.cli.policies import show_policies
from timeseries.model.parsing import interval_text

if TYPE_CHECKING:
    from timeseries import Status
    from timeseries.monitoring.backups import BackupStatus
    from timeseries.monitoring.status import RetentionStatus


@click.command()
@click.argument("revision", default="head")
@click.option(
    "--yes", is_flag=True, help="Go down to an older REVISION although rows are removed. Make a backup first."
)
@click.pass_obj
def migrate(url: str | None, revision: str, yes: bool) -> None:
    """Bring the schema to REVISION: head (the default), an older one, or base for none.

    The way down removes averages, and to base everything: while there are rows it is refused, unless you say --yes.
    """
    from timeseries import migrate  # loads Alembic

    url = resolve_url(url)
    if sys.stderr.isatty():
        logging.basicConfig(format="%(message)s")
        logging.getLogger("timeseries.migrations").setLevel(logging.INFO)
    reached = migrate(url, revision, discard_data=yes)
    click.echo(f"The schema is at revision {reached or 'base'}.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status(url: str | None, as_json: bool) -> None:
    """Say which server this is and what is in it. Exit code 1 where something needs an operator."""
    with Store.open(url) as store:
        found = store.status()
    if as_json:
        print_json(found)
    else:
        print_status(found)
    sys.exit(1 if found.problems else 0)


def print_status(found: Status) -> None:
    click.echo(f"{found.server}; schema revision {found.revision}; {found.cameras:,} cameras")
    print_table(
        ["table", "rows, about", "size", "in columnstore", "before", "oldest", "newest"],
        [
            [t.name, t.rows, size(t.bytes), size(t.bytes_in_columnstore), size(t.bytes_before_columnstore),
             t.oldest, t.newest]
            for t in found.tables
        ],
    )  # fmt: skip
    print_table(
        ["aggregate", "kept as", "size", "watermark", "lag, hours"],
        [
            [a.name, a.kept_as, size(a.bytes), a.watermark, a.lag_seconds and a.lag_seconds / 3600]
            for a in found.aggregates
        ],
    )
    print_table(
        ["yesterday (UTC)", "rows", "samples in quarters"],
        [[f"{count.table}, {count.day}", count.rows, count.samples] for count in found.counts],
    )
    click.echo(retention_line(found.retention))
    click.echo(backup_line(found.backups))
    if found.policies:
        show_policies(found.policies, as_json=False)
    print_problems(found.problems)


WHO = {
    "policy": "by the policies of TimescaleDB",
    "archive": "by the runs of timeseries archive",
    "pg_cron": "by pg_cron",
    "store": "by the store's processes",
    "nobody": "by nobody",
}


def retention_line(found: RetentionStatus) -> str:
    kept = f", raw rows stay for {interval_text(found.keep)}" if found.keep is not None else ""
    last = f"{found.last:%Y-%m-%d %H:%M} UTC" if found.last else "not yet"
    by = f", {found.removed or 0:,} rows by {found.done_by}" if found.last and found.done_by else ""
    return f"Retention: {WHO[found.by]}{kept}; last done: {last}{by}"


def backup_line(found: BackupStatus) -> str:
    last = f"last {found.last:%Y-%m-%d %H:%M} UTC ({found.kind})" if found.last else "none recorded"
    archived = f"last archived {found.archived:%Y-%m-%d %H:%M} UTC" if found.archived else "not archived yet"
    return f"Backups: {last}; WAL: {archived if found.archiving else 'not archived'}"
