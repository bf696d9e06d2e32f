"""The groups of a file: created where the store does not have them, and their members with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from timeseries.cameras import Group, Groups
from timeseries.errors import InvalidInputError, TimeseriesError
from timeseries.files.readers import table_rows
from timeseries.model.parsing import parse_json
from timeseries.model.quarters import on_a_quarter


def import_groups(groups: Groups, path: Path) -> int:
    """Make cameras members as a file says, a row each: `group` and `camera` (names or ids), perhaps `since` and
    `until`, and `timezone` and `opening_hours` of a group that is new. A membership that is there is left as it is; how
    many were made.
    """
    known = {key: group for group in groups.list() for key in (group.name, str(group.id))}
    made = 0
    for number, row in table_rows(path):
        try:
            name = row.get("group")
            if not name or not row.get("camera"):
                raise InvalidInputError("it needs a group and a camera, in columns of these names")
            group = known.get(name) or groups.add(name, **settings_of(row))
            if not has(group, row):
                group = groups.join(group, row["camera"], since=row.get("since"), until=row.get("until"))
                made += 1
            known |= {group.name: group, str(group.id): group}
        except TimeseriesError as error:
            raise InvalidInputError(f"{path}, row {number}: {error}") from error
    return made


def settings_of(row: dict[str, Any]) -> dict[str, Any]:
    """What a row says of its group."""
    return {"timezone": row.get("timezone"), "opening_hours": parse_json(row.get("opening_hours"))}


def has(group: Group, row: dict[str, Any]) -> bool:
    """Whether the membership of a row is there."""
    if group.zone is None:
        return False
    span = tuple(on_a_quarter(bound, row.get(bound), group.zone) for bound in ("since", "until"))
    return any(row["camera"] in (m.camera, str(m.camera_id)) and span == (m.since, m.until) for m in group.members)
