"""Feeds of ParkAPI v3 (https://github.com/ParkenDD): JSON whose `items` are parking sites, with what they hold and how
many spaces are free.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timeseries.errors import InvalidInputError
from timeseries.files.feed_file import read_feed
from timeseries.files.site import Site

EXPECTED = (
    "a feed of ParkAPI v3 is a JSON object whose list `items` has parking sites, with original_uid or uid, name,"
    " capacity, realtime_free_capacity and realtime_data_updated_at"
)
DETAILS = ("source_id", "lat", "lon", "address", "type", "purpose", "opening_hours", "geojson")
STATE = ("realtime_free_capacity", "realtime_capacity", "realtime_opening_status")


def read_sites(path: Path, source: str | None = None) -> Iterator[Site]:
    """The sites of the API (`/v3/parking-sites`, or one of them) or of a source, whose uid may be that of another
    source's site: it is told apart by the `source_id` of the API, by `source`, or by both.

    Raises InvalidInputError where it is no such feed, or says nowhere whose sites they are.
    """
    for number, values in enumerate(_items(path), 1):
        uid = values.get("original_uid", values.get("uid"))
        source_id = values.get("source_id")
        if source is None and source_id is None:
            raise InvalidInputError(
                f"{path} does not say whose sites they are, and another source may have the same uids; name the source"
                " (--source buchen)"
            )
        spaces = values.get("realtime_capacity")
        capacity, free = values.get("capacity"), values.get("realtime_free_capacity")
        live = values.get("has_realtime_data") is True or free is not None
        yield Site(
            number, uid, key=("parkapi", source, source_id, uid), name=values.get("name"), capacity=capacity,
            live=live, expected=live, spaces=capacity if spaces is None else spaces, free=free,
            at=values.get("realtime_data_updated_at"), state=_some(values, STATE),
            details={"parkapi": {"source": source, "original_uid": uid} | _some(values, DETAILS)},
        )  # fmt: skip


def _some(values: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}


def _items(path: Path) -> list[dict[str, Any]]:
    feed = _json(path)
    if isinstance(feed, dict) and "items" not in feed and _has_uid(feed):
        feed = {"items": [feed]}
    items = feed.get("items") if isinstance(feed, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidInputError(f"{path} is another JSON: {EXPECTED}; this is {_described(feed)}")
    if items and not any(map(_has_uid, items)):
        raise InvalidInputError(f"{path} is another JSON: {EXPECTED}; the first item is {_described(items[0])}")
    return items


def _json(path: Path) -> Any:
    text = read_feed(path)
    try:
        return json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON
        raise InvalidInputError(f"{path} is not JSON ({error}); {EXPECTED}") from error


def _has_uid(values: dict[str, Any]) -> bool:
    return "original_uid" in values or "uid" in values


def _described(value: Any) -> str:
    names = ", ".join(list(value)[:8]) if isinstance(value, dict) else ""
    return f"an object with {names or 'nothing'}" if isinstance(value, dict) else f"a {type(value).__name__}"
