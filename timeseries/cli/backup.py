"""`backup`, `restore`, `recovered` and `jobs`."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import click

from timeseries import Job, Store, resolve_url
from timeseries import recovered as after_recovery
from timeseries import restore as restore_backup
from timeseries.cli.output import print_json, print_table, progress_bar, size


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def backup(url: str | None, file: Path, as_json: bool) -> None:
    """Write the whole database, as it is at one moment, into FILE.

    Writers go on meanwhile. It needs PostgreSQL's program pg_dump, not older than the server.
    """
    with Store.open(url) as store, progress_bar(file.name) as progress:
        result = store.backup(file, progress=progress)
    if as_json:
        print_json(result)
    else:
        print_table(["relation", "rows"], result.counts.items())
        click.echo(f"{result.path} ({size(result.bytes)}) shows {result.server} as of {result.created_at:%F %T} UTC.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def restore(url: str | None, file: Path, as_json: bool) -> None:
    """Restore the backup FILE into an empty database and compare the rows with those that were dumped.

    Background jobs stay paused until `timeseries jobs resume`: retention would remove old raw rows at once.
    """
    with progress_bar(file.name) as progress:
        result = restore_backup(resolve_url(url), file, progress=progress)
    if as_json:
        print_json(result)
        return
    print_table(["relation", "rows"], result.counts.items())
    click.echo(f"Restored as of {result.created_at:%F %T} UTC, schema revision {result.revision}; all rows are there.")
    if result.paused:
        ids = " ".join(str(job.job_id) for job in result.paused)
        click.echo(f"Background jobs are paused. When all is as it should be: timeseries jobs resume {ids}", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def recovered(url: str | None, as_json: bool) -> None:
    """After a recovery to an earlier moment: pause the background jobs, then let the server take changes again.

    The jobs stay paused until `timeseries jobs resume`: retention would remove old raw rows at once.
    """
    result = after_recovery(resolve_url(url))
    if as_json:
        print_json(result)
        return
    if result.shows is not None:
        click.echo(
            f"The database is as of {result.shows.astimezone(UTC):%F %T} UTC. What was stored later is not in it, but"
            " for what the spools of writers keep and store again by themselves (keep_delivered)."
        )
    click.echo(f"Paused {len(result.paused)} jobs{named(result.paused)}.")
    click.echo("The server takes changes. When all is as it should be: timeseries jobs resume", err=True)


@click.group()
def jobs() -> None:
    """Background jobs: refreshes, compression, retention; job 0 is retention where TimescaleDB runs no policies."""


def show(found: tuple[Job, ...], as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        rows = [[str(job.job_id), job.name, job.relation, "scheduled" if job.scheduled else "paused"] for job in found]
        print_table(["job", "what it does", "of", "state"], rows)


@jobs.command("list")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def list_(url: str | None, as_json: bool) -> None:
    """List the jobs."""
    with Store.open(url) as store:
        show(store.jobs.list(), as_json)


@jobs.command()
@click.argument("job_ids", metavar="[JOB]...", type=int, nargs=-1)
@click.pass_obj
def pause(url: str | None, job_ids: tuple[int, ...]) -> None:
    """Pause these jobs, or all of them."""
    with Store.open(url) as store:
        paused = store.jobs.pause(job_ids or None)
    click.echo(f"Paused {len(paused)} jobs{named(paused)}.")


@jobs.command()
@click.argument("job_ids", metavar="[JOB]...", type=int, nargs=-1)
@click.pass_obj
def resume(url: str | None, job_ids: tuple[int, ...]) -> None:
    """Let these paused jobs run again, or all of them; what they missed is brought into the averages first."""
    with Store.open(url) as store:
        resumed = store.jobs.resume(job_ids or None)
    click.echo(f"Resumed {len(resumed)} jobs{named(resumed)}.")


def named(found: tuple[Job, ...]) -> str:
    return ": " + ", ".join(str(job.job_id) for job in found) if found else ""
