"""`policy` and `refresh`: what keeps the aggregates fresh and the disk from filling."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from timeseries import InvalidInputError, Store
from timeseries.cli.output import print_json, print_table, progress_bar
from timeseries.maintenance.policy_rules import SETTINGS, RelationPolicies
from timeseries.model.parsing import interval_text, parse_timestamp
from timeseries.model.relations import RELATIONS


@click.group()
def policy() -> None:
    """Retention, refresh and columnstore, run by TimescaleDB's background jobs."""


@policy.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def show(url: str | None, as_json: bool) -> None:
    """Show the policies of each table and aggregate."""
    with Store.open(url) as store:
        show_policies(store.policies.list(), as_json)


@policy.command("set")
@click.argument("relation", type=click.Choice(RELATIONS), metavar="RELATION")
@click.option("--drop-after", metavar="LENGTH", help="Keep rows for so long; 'never' keeps them for good.")
@click.option("--columnstore-after", metavar="LENGTH", help="Compress chunks that are so old; or 'never'.")
@click.option("--start-offset", metavar="LENGTH", help="How far back a refresh reaches.")
@click.option("--end-offset", metavar="LENGTH", help="How close to now a refresh comes.")
@click.option("--schedule-interval", metavar="LENGTH", help="How often a refresh runs.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def set_(url: str | None, /, relation: str, as_json: bool, **given: str | None) -> None:
    """Change policies of RELATION. LENGTH is like '90 days' or '12h'.

    A setting that contradicts another one is refused, and nothing is changed.
    """
    settings = {name: None if text == "never" else text for name, text in given.items() if text is not None}
    if not settings:
        raise InvalidInputError(f"nothing to set; give one of --{', --'.join(SETTINGS).replace('_', '-')}")
    with Store.open(url) as store:
        show_policies([store.policies.set(relation, **settings)], as_json)


def show_policies(policies: tuple[RelationPolicies, ...] | list[RelationPolicies], as_json: bool) -> None:
    if as_json:
        print_json(list(policies))
    elif not policies:
        click.echo(
            "This server runs no policies: the store prunes by itself (timeseries status). Its aggregates are views."
        )
    else:
        print_table(["relation", *SETTINGS], [[p.relation, *(_text(p, name) for name in SETTINGS)] for p in policies])


def _text(policy: RelationPolicies, setting: str) -> str | None:
    value: Any = getattr(policy, setting)
    return interval_text(value) if value is not None else None


@click.command()
@click.option("--start", metavar="TIME", help="ISO 8601 with an offset; from the oldest raw row by default.")
@click.option("--end", metavar="TIME", help="Now, by default.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def refresh(url: str | None, start: str | None, end: str | None, as_json: bool) -> None:
    """Compute the aggregates of a range again, from the raw rows that are left; nothing is ever erased."""
    bounds: list[datetime | None] = [parse_timestamp(text) if text is not None else None for text in (start, end)]
    with Store.open(url) as store, progress_bar("Refresh") as progress:
        found = store.refresh(*bounds, progress=progress)
    if as_json:
        print_json(list(found))
    elif found:
        print_table(["aggregate", "from", "to"], [[part.aggregate, part.start, part.end] for part in found])
    else:
        click.echo("Nothing to refresh: there are no raw rows in the range, or the aggregates are views.")
