"""What periods took out of the time of an answer, as its frame says it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from analytics.request import ZoneSelection
from analytics.session import Fetch

SELECT_PERIODS = """
    SELECT c.name::text AS camera, p.kind, p.start_at AS start, p.end_at AS "end", p.text
    FROM timeseries.periods AS p
    JOIN public.cameras AS c ON c.id = p.camera_id
    WHERE p.camera_id = ANY ($camera_ids::uuid[]) AND p.kind = ANY ($kinds::text[])
      AND p.start_at < coalesce($end_at::timestamptz, now())
      AND (p.end_at > $start_at::timestamptz OR p.end_at IS NULL OR $start_at IS NULL)
    ORDER BY c.name, p.start_at
"""

# A period of a member matters where it, a membership and the range have time in common: NULL bounds nothing.
SELECT_PERIODS_OF_MEMBERS = """
    SELECT DISTINCT g.name::text AS "group", c.name::text AS camera, p.kind, p.start_at AS start, p.end_at AS "end",
           p.text
    FROM public.group_members AS m
    JOIN public.camera_groups AS g ON g.id = m.group_id
    JOIN public.cameras AS c ON c.id = m.camera_id
    JOIN timeseries.periods AS p ON p.camera_id = m.camera_id
    WHERE m.group_id = ANY ($camera_ids::uuid[]) AND p.kind = ANY ($kinds::text[])
      AND greatest(p.start_at, m.since, $start_at::timestamptz)
          < least(p.end_at, m.until, coalesce($end_at::timestamptz, now()))
    ORDER BY 1, 2, start
"""


def read_left_out(fetch: Fetch, selections: Iterable[ZoneSelection], *kinds: str) -> list[dict[str, Any]]:
    """The periods of these kinds that touch the ranges, moments in ISO 8601: of cameras, and of the members of groups
    while they are members, with the name of the group. Of a store without any it asks nothing.
    """
    found = [
        period
        for selection in selections
        if any(camera.has_periods for camera in selection.cameras)
        for period in fetch(
            SELECT_PERIODS_OF_MEMBERS if selection.of_groups else SELECT_PERIODS,
            selection.parameters() | {"kinds": f"{{{','.join(kinds)}}}"},
        ).to_pylist()
    ]
    return [period | {name: period[name] and period[name].isoformat() for name in ("start", "end")} for period in found]
