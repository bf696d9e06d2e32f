"""The arithmetic between retention, refresh windows and the columnstore. No database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta

from timeseries.model.parsing import interval_text
from timeseries.model.relations import AGGREGATES, RAW_TABLES, Aggregate

SHORTEST_RETENTION = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class RelationPolicies:
    """The policies of one hypertable or continuous aggregate.

    `drop_after`: how long rows are kept (None: for good). `columnstore_after`: when chunks are compressed (None:
    never). `start_offset`, `end_offset`: the window of the refresh, back from now; `schedule_interval`: how often it
    runs (all None: no refresh, and always None for raw tables).
    """

    relation: str
    drop_after: timedelta | None = None
    columnstore_after: timedelta | None = None
    start_offset: timedelta | None = None
    end_offset: timedelta | None = None
    schedule_interval: timedelta | None = None


SETTINGS = tuple(field.name for field in fields(RelationPolicies) if field.name != "relation")
REFRESH = ("start_offset", "end_offset", "schedule_interval")


def contradictions(policies: Iterable[RelationPolicies], chunks: Mapping[str, timedelta]) -> Iterator[str]:
    """Settings that contradict each other, with the arithmetic.

    A refresh recomputes whole buckets from what is left of its source, and retention removes whole chunks: so
    start_offset + bucket + chunk must not exceed drop_after of the source.
    """
    settings = {policy.relation: policy for policy in policies}
    for policy in settings.values():
        if aggregate := AGGREGATES.get(policy.relation):
            source = settings[aggregate.source]
            yield from _refresh_contradictions(policy, aggregate, source, chunks)
            yield from _lifetime_contradictions(policy, source)
        if policy.drop_after is not None:
            if policy.drop_after < SHORTEST_RETENTION:
                yield (
                    f"{policy.relation}: drop_after {interval_text(policy.drop_after)} is below the shortest retention,"
                    f" {interval_text(SHORTEST_RETENTION)}"
                )
            if policy.columnstore_after is not None and policy.columnstore_after >= policy.drop_after:
                yield (
                    f"{policy.relation}: columnstore_after {interval_text(policy.columnstore_after)} is not before"
                    f" drop_after {interval_text(policy.drop_after)}: chunks would be dropped instead"
                )


def _refresh_contradictions(
    policy: RelationPolicies, aggregate: Aggregate, source: RelationPolicies, chunks: Mapping[str, timedelta]
) -> Iterator[str]:
    bucket = aggregate.bucket
    if policy.schedule_interval is None:
        return
    if policy.start_offset is None:
        if source.drop_after is not None:
            yield (
                f"{policy.relation}: a refresh without start_offset reaches behind the retention of {source.relation},"
                f" {interval_text(source.drop_after)}; give it a start_offset"
            )
        return
    end = policy.end_offset or timedelta(0)
    if policy.start_offset - end < 2 * bucket:
        yield (
            f"{policy.relation}: start_offset {interval_text(policy.start_offset)} - end_offset {interval_text(end)}"
            f" = {interval_text(policy.start_offset - end)} is less than two buckets, {interval_text(2 * bucket)}"
        )
    chunk = chunks.get(source.relation, timedelta(0))
    reach = policy.start_offset + bucket + chunk
    if source.drop_after is not None and reach > source.drop_after:
        yield (
            f"{policy.relation}: start_offset {interval_text(policy.start_offset)} + bucket {interval_text(bucket)}"
            f" + chunk {interval_text(chunk)} = {interval_text(reach)} exceeds drop_after"
            f" {interval_text(source.drop_after)} of {source.relation}: the refresh would reach rows that are gone"
        )
    if policy.columnstore_after is not None and policy.start_offset + bucket > policy.columnstore_after:
        yield (
            f"{policy.relation}: start_offset {interval_text(policy.start_offset)} + bucket {interval_text(bucket)} ="
            f" {interval_text(policy.start_offset + bucket)} exceeds columnstore_after"
            f" {interval_text(policy.columnstore_after)}: each refresh would decompress"
        )


def _lifetime_contradictions(policy: RelationPolicies, source: RelationPolicies) -> Iterator[str]:
    """Quarters must outlive raw rows, because they replace them, and hours and days must not outlive quarters, because
    they are rebuilt from them.
    """
    if source.relation in RAW_TABLES:
        if policy.drop_after is not None and (source.drop_after is None or policy.drop_after < source.drop_after):
            yield (
                f"{policy.relation}: drop_after {interval_text(policy.drop_after)} is shorter than that of the raw rows"
                f" in {source.relation}, {_kept(source)}: averages would go before what they summarize"
            )
    elif source.drop_after is not None and (policy.drop_after is None or policy.drop_after > source.drop_after):
        yield (
            f"{source.relation}: drop_after {interval_text(source.drop_after)} is shorter than that of"
            f" {policy.relation}, {_kept(policy)}: it could not be rebuilt when a camera's zone changes"
        )


def _kept(policy: RelationPolicies) -> str:
    return "kept for good" if policy.drop_after is None else interval_text(policy.drop_after)
