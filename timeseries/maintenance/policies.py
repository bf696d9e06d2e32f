"""Background policies of TimescaleDB, read from the jobs; a change that contradicts another setting is refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from timeseries.database.connections import Connection, Pool, connected
from timeseries.database.server import ServerKind, inspect_server
from timeseries.errors import InvalidInputError
from timeseries.maintenance.jobs import SCHEDULE_JOBS, Job, held_back, list_jobs, unread
from timeseries.maintenance.policy_rules import REFRESH, SETTINGS, RelationPolicies, contradictions
from timeseries.model.parsing import interval_text, parse_interval
from timeseries.model.relations import AGGREGATES, RAW_TABLES, RELATIONS

SELECT_POLICIES = """
    SELECT j.proc_name::text, coalesce(m.name, hypertable_name) AS relation, j.job_id, j.scheduled,
           (j.config ->> 'drop_after')::interval, (j.config ->> 'compress_after')::interval,
           (j.config ->> 'start_offset')::interval, (j.config ->> 'end_offset')::interval, j.schedule_interval
    FROM timescaledb_information.jobs AS j
    LEFT JOIN timeseries.materializations AS m USING (hypertable_schema, hypertable_name)
    WHERE coalesce(m.view_schema, hypertable_schema) = 'public'
      AND j.proc_name IN ('policy_retention', 'policy_compression', 'policy_refresh_continuous_aggregate')
    ORDER BY j.job_id
"""
SELECT_CHUNK_WIDTHS = """
    SELECT coalesce(m.name, hypertable_name), d.time_interval
    FROM timescaledb_information.dimensions AS d
    LEFT JOIN timeseries.materializations AS m USING (hypertable_schema, hypertable_name)
    WHERE coalesce(m.view_schema, hypertable_schema) = 'public'
"""
# For each policy: the procedure of its job, the settings in the job's config by their names there, and the calls that
# remove and add it.
POLICY_KINDS = {
    "drop_after": (
        "policy_retention",
        {"drop_after": "drop_after"},
        "SELECT public.remove_retention_policy({relation}, if_exists => true)",
        "SELECT public.add_retention_policy({relation}, drop_after => {drop_after}::interval)",
    ),
    "columnstore_after": (
        "policy_compression",
        {"compress_after": "columnstore_after"},
        "CALL public.remove_columnstore_policy({relation}, if_exists => true)",
        "CALL public.add_columnstore_policy({relation}, after => {columnstore_after}::interval)",
    ),
    "start_offset": (
        "policy_refresh_continuous_aggregate",
        {"start_offset": "start_offset", "end_offset": "end_offset"},
        "SELECT public.remove_continuous_aggregate_policy({relation}, if_exists => true)",
        "SELECT public.add_continuous_aggregate_policy({relation}, start_offset => {start_offset}::interval,"
        " end_offset => {end_offset}::interval, schedule_interval => {schedule_interval}::interval)",
    ),
}
# The job is altered and not made again, because it keeps its state, its retries and its other settings.
ALTER_JOB = """
    SELECT public.alter_job(
        job_id, config => config || %s::jsonb, schedule_interval => coalesce(%s, schedule_interval))
    FROM timescaledb_information.jobs WHERE job_id = %s
"""


@dataclass(frozen=True, slots=True)
class LivePolicies:
    """The policies of each relation, the width of its chunks, and problems of the jobs, as a database has them."""

    relations: Mapping[str, RelationPolicies]
    chunks: Mapping[str, timedelta]
    job_problems: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        """What an operator has to correct, for example after a change by hand; empty when all is well."""
        return [*self.job_problems, *contradictions(self.relations.values(), self.chunks)]


class Policies:
    """The policies of a store. Only TimescaleDB Community runs any; elsewhere there are none to show or set."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def list(self) -> tuple[RelationPolicies, ...]:
        """The policies of the two raw tables and the six aggregates; empty where the server runs none."""
        with connected(self._pool) as connection:
            if inspect_server(connection).kind is not ServerKind.COMMUNITY:
                return ()
            return tuple(read_policies(connection).relations.values())

    def set(self, relation: str, **settings: timedelta | str | None) -> RelationPolicies:
        """Change settings of one relation: any of `drop_after`, `columnstore_after`, `start_offset`, `end_offset`
        and `schedule_interval`, as a timedelta or as text ("90 days"); None takes a policy away.

        Raises InvalidInputError, and changes nothing, where the setting is unknown or would contradict another one:
        the arithmetic is in the message. Raises NotAllowedError where the role does not own the relation.
        """
        with connected(self._pool) as connection:
            if (server := inspect_server(connection)).kind is not ServerKind.COMMUNITY:
                raise InvalidInputError(
                    f"{server.kind.label} runs no policies, so there is none to set; how long raw rows stay is said by"
                    " TIMESERIES_KEEP, or by: timeseries prune --keep …"
                )
            live = read_policies(connection)
            before = live.relations.get(relation)
            if before is None:
                raise InvalidInputError(f"no relation is called {relation!r}; there are {', '.join(RELATIONS)}")
            after = changed(before, settings)
            wanted = {**live.relations, relation: after}
            known = set(contradictions(live.relations.values(), live.chunks))
            if new := [line for line in contradictions(wanted.values(), live.chunks) if line not in known]:
                raise InvalidInputError("; ".join(new))
            with connection.transaction():
                apply(connection, before, after)
            return after


def changed(before: RelationPolicies, settings: Mapping[str, timedelta | str | None]) -> RelationPolicies:
    """The same with other settings. Raises InvalidInputError for one that does not exist or makes no sense alone."""
    allowed = SETTINGS if before.relation in AGGREGATES else ("drop_after", "columnstore_after")
    for name, value in settings.items():
        if name not in allowed:
            raise InvalidInputError(f"{before.relation} has no setting {name!r}; it has {', '.join(allowed)}")
        length = parse_interval(value) if isinstance(value, str) else value
        if length is None and name in REFRESH:
            raise InvalidInputError(
                f"{name} of {before.relation} needs a length of time: without refresh it goes stale"
            )
        if length is not None and length <= timedelta(0):
            raise InvalidInputError(f"{name} of {before.relation} cannot be {length}; it must be longer than nothing")
        before = replace(before, **{name: length})  # type: ignore[arg-type]
    return before


def apply(connection: Connection, before: RelationPolicies, after: RelationPolicies) -> None:
    """Change the jobs where the settings differ, make those that are missing, and take away those that are no longer
    wanted; in the caller's transaction. Nothing begins to run that was paused.
    """
    values = {name: sql.Literal(getattr(after, name)) for name in SETTINGS}
    relation = sql.Literal(f"public.{after.relation}")
    for name, (kind, configured, remove, add) in POLICY_KINDS.items():
        group = REFRESH if name in REFRESH else (name,)
        if all(getattr(before, key) == getattr(after, key) for key in group):
            continue
        found = [job for job in list_jobs(connection) if (job.name, job.relation) == (kind, after.relation)]
        if len(found) == 1 and getattr(after, name) is not None:
            config = {key: interval_text(getattr(after, setting)) for key, setting in configured.items()}
            every = after.schedule_interval if name in REFRESH else None
            connection.execute(ALTER_JOB, [json.dumps(config), every, found[0].job_id])
            continue
        connection.execute(sql.SQL(remove).format(relation=relation))
        if getattr(after, name) is not None:
            connection.execute(sql.SQL(add).format(relation=relation, **values))
            _pause_like(connection, found, kind, after.relation)


def _pause_like(connection: Connection, replaced: Collection[Job], kind: str, relation: str) -> None:
    """Pause a job that was just made where one that it replaces was paused, or where it would remove what a paused
    refresh or the archive has not read.
    """
    found = list_jobs(connection)
    new = [job.job_id for job in found if (job.name, job.relation) == (kind, relation)]
    held = {job.job_id for job in held_back(connection, found)}
    unsafe = kind == "policy_retention" and (relation in unread(found) or held.intersection(new))
    if unsafe or any(not job.scheduled for job in replaced):
        connection.execute(SCHEDULE_JOBS, [False, new])


def read_policies(connection: psycopg.Connection[Any]) -> LivePolicies:
    """The policies as the jobs have them, on TimescaleDB Community."""
    found = {relation: RelationPolicies(relation) for relation in RELATIONS}
    problems = []
    jobs = connection.execute(SELECT_POLICIES).fetchall()
    listed = list_jobs(connection)
    held = {job.job_id for job in held_back(connection, listed)}
    if held and any(job.job_id == 0 and not job.scheduled for job in listed):
        problems.append("retention is paused, so the disk will fill; run: timeseries jobs resume")
    for kind, relation, job, scheduled, drop, compress, start, end, every in jobs:
        if relation not in found:
            continue
        if scheduled and job in held:
            problems.append(f"job {job} ({kind} of {relation}) does not ask the archive; run: timeseries archive")
        if not scheduled and job not in held:
            problems.append(f"job {job} ({kind} of {relation}) is paused; run: timeseries jobs resume")
        if kind == "policy_retention":
            found[relation] = replace(found[relation], drop_after=drop)
        elif kind == "policy_compression":
            found[relation] = replace(found[relation], columnstore_after=compress)
        else:
            if found[relation].schedule_interval is not None:
                problems.append(f"{relation} has two refresh policies, the second is job {job}: remove one of them")
            found[relation] = replace(found[relation], start_offset=start, end_offset=end, schedule_interval=every)
    problems += unread(listed).values()
    problems += [f"{name} has no refresh policy" for name in AGGREGATES if found[name].schedule_interval is None]
    problems += [
        f"{name} has no retention policy: the disk will fill" for name in RAW_TABLES if found[name].drop_after is None
    ]
    return LivePolicies(found, dict(connection.execute(SELECT_CHUNK_WIDTHS).fetchall()), tuple(problems))
