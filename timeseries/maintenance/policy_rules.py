"""Lengths of time that must fit together: retention, refresh windows and the columnstore. Arithmetic only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta

from timeseries.model.parsing import interval_text

RAW = ("occupancy_events", "health_logs")
BUCKETS = {"quarter_hourly": timedelta(minutes=15), "hourly": timedelta(hours=1), "weekday": timedelta(days=1)}
# Each aggregate reads the relation before the colon: retention there must not be in reach of a refresh here.
SOURCES = {
    f"{family}_{level}": events if level == "quarter_hourly" else f"{family}_quarter_hourly"
    for family, events in zip(("occupancy", "health"), RAW, strict=True)
    for level in BUCKETS
}
RELATIONS = (*RAW, *SOURCES)
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

    @property
    def bucket(self) -> timedelta | None:
        """The width of an aggregate's buckets."""
        return BUCKETS[self.relation.partition("_")[2]] if self.relation in SOURCES else None


SETTINGS = tuple(field.name for field in fields(RelationPolicies) if field.name != "relation")
REFRESH = ("start_offset", "end_offset", "schedule_interval")


def contradictions(policies: Iterable[RelationPolicies], chunks: Mapping[str, timedelta]) -> Iterator[str]:
    """What cannot be together, with the arithmetic.

    A refresh recomputes whole buckets from what is left of its source, and retention removes whole chunks: so
    start_offset + bucket + chunk must not exceed drop_after of the source.
    """
    settings = {policy.relation: policy for policy in policies}
    for policy in settings.values():
        if policy.relation in SOURCES:
            yield from _refresh_contradictions(policy, settings, chunks)
            yield from _lifetime_contradictions(policy, settings)
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
    policy: RelationPolicies, settings: Mapping[str, RelationPolicies], chunks: Mapping[str, timedelta]
) -> Iterator[str]:
    bucket, source = policy.bucket, settings[SOURCES[policy.relation]]
    if bucket is None or policy.schedule_interval is None:
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


def _lifetime_contradictions(policy: RelationPolicies, settings: Mapping[str, RelationPolicies]) -> Iterator[str]:
    """Raw rows, quarters, hours: what is computed from quarters cannot be rebuilt without them, and what replaces
    raw rows must not go before them."""
    source = settings[SOURCES[policy.relation]]
    if source.relation in RAW:
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
