"""What is left after a soak, compared with what was accepted."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import psycopg

from tests.soak.life import Life
from tests.support import brute_force
from tests.support.faults import Key
from timeseries import Camera

RAW_ROWS_STAY = timedelta(days=89)  # at least
LARGEST_ERROR = 1e-9
FUNCTIONS = {
    "occupancy_hours": ("bucket", brute_force.hour_label),
    "occupancy_weekdays": ("weekday", brute_force.weekday_label),
}


@dataclass
class Verdict:
    """How many events were accepted, lost, stored twice or never sent, stored with another count; how many averages
    were compared, and the largest relative error.
    """

    events: int = 0
    lost: int = 0
    doubled: int = 0
    strange: int = 0
    wrong: int = 0
    averages: int = 0
    error: float = 0.0

    @property
    def good(self) -> bool:
        return (
            not (self.lost or self.doubled or self.strange or self.wrong)
            and self.averages > 0
            and self.error < LARGEST_ERROR
        )


def judge(life: Life, url: str, cameras: list[Camera], start: datetime) -> Verdict:
    verdict = Verdict(events=len(life.accepted))
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT camera_id, timestamp, occupied_count FROM occupancy_events").fetchall()
        compare_rows(verdict, rows, life.accepted, life.end - RAW_ROWS_STAY)
        for camera in cameras:
            for function in FUNCTIONS:
                compare_averages(verdict, connection, function, camera, life, start)
    return verdict


def compare_rows(
    verdict: Verdict, rows: list[tuple[UUID, datetime, int]], accepted: dict[Key, int], since: datetime
) -> None:
    found = {(camera, at): count for camera, at, count in rows}
    verdict.lost = sum(key not in found for key in accepted if key[1] >= since)
    verdict.doubled = len(rows) - len(found)
    verdict.strange = len(found.keys() - accepted.keys())
    verdict.wrong = sum(accepted.get(key, count) != count for key, count in found.items())


def compare_averages(
    verdict: Verdict, connection: psycopg.Connection, function: str, camera: Camera, life: Life, start: datetime
) -> None:
    key, label = FUNCTIONS[function]
    own = sorted((at, count) for (owner, at), count in life.accepted.items() if owner == camera.id)
    times, counts = zip(*own, strict=True)
    labels = [label(quarter, camera.zone) for quarter in brute_force.quarters(start, life.end)]
    wanted = brute_force.answer(times, counts, start=start, end=life.end, labels=labels, hold=camera.hold)
    query = f"SELECT {key}, occupied_avg, samples, coverage FROM {function}(%s, %s, %s)"
    rows = connection.execute(query, [[camera.id], start, life.end]).fetchall()
    found: dict[Hashable, tuple[float | None, int, float]] = {
        label(max(at, start), camera.zone) if key == "bucket" else at: (average, samples, coverage)
        for at, average, samples, coverage in rows
    }
    verdict.wrong += len(found.keys() ^ wanted.keys())
    for bucket in found.keys() & wanted.keys():
        average, samples, coverage = found[bucket]
        verdict.averages += 1
        verdict.wrong += samples != wanted[bucket].samples
        errors = (error_of(average, wanted[bucket].average), error_of(coverage, wanted[bucket].coverage))
        verdict.error = max(verdict.error, *errors)


def error_of(found: float | None, wanted: float | None) -> float:
    """Relative, above 1; infinite where only one of them is known."""
    if found is None or wanted is None:
        return 0.0 if found is wanted else math.inf
    return float(abs(found - wanted) / max(1.0, abs(wanted)))
