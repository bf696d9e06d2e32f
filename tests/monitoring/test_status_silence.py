"""Thousands of silent cameras: when each was last heard of is known, and an operator reads one sentence."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from timeseries import HealthLog, OccupancyEvent, ServerKind, Store
from timeseries.cli import main
from timeseries.model.events import Event
from timeseries.monitoring.status import read_status

DAY = timedelta(days=1)
NEVER = 2_000


def history_of(store: Store, now: datetime) -> dict[str, list[Event]]:
    """Cameras by what became of them, and all of their events."""

    def camera(name: str, counted: tuple[float, ...] = (), reported: tuple[float, ...] = ()) -> list[Event]:
        id_ = store.cameras.add(name, created_at=now - 400 * DAY).id
        return [
            *(OccupancyEvent(id_, now - days * DAY, 1) for days in counted),
            *(HealthLog(id_, now - days * DAY, "healthy") for days in reported),
        ]

    return {
        "live": camera("live", (0, 1, 2, 30), (5,)),
        "healthy": camera("healthy", (30,), (0.02,)),
        **{f"day {d}": camera(f"day {d}", (d, d + 1, d + 20)) for d in (2, 6, 9, 12, 40, 60)},
        "both": camera("both", (15, 33), (14, 33)),
        "raw gone": camera("raw gone", (101, 110), (120,)),
        "older": camera("older", (370,)),
    }


def add_many(store: Store, number: int) -> None:
    with store.pool.connection() as connection:
        connection.execute(
            "INSERT INTO cameras (name, created_at) SELECT gen_random_uuid(), now() - interval '2 days'"
            " FROM generate_series(1, %s) AS i",
            [number],
        )


def test_every_silent_camera_is_known_with_its_last_event_also_when_its_raw_rows_are_gone(store: Store) -> None:
    now = datetime.now(UTC)
    cameras = history_of(store, now)
    store.record(event for events in cameras.values() for event in events)
    store.prune()
    late = store.cameras.get("raw gone").id  # an import of older history does not make it look silent for longer
    store.record([OccupancyEvent(late, now - 300 * DAY, 1)])
    wanted = {name: max(event.timestamp for event in events) for name, events in cameras.items()}
    found = {camera.name: camera.last_seen for camera in read_status(store.pool).silent}
    assert found == {name: at for name, at in wanted.items() if at < now - DAY}


def test_thousands_of_silent_cameras_are_one_sentence_and_all_of_them_json(store: Store) -> None:
    now = datetime.now(UTC)
    cameras = history_of(store, now)
    store.record(event for events in cameras.values() for event in events if event.timestamp > now - 80 * DAY)
    add_many(store, NEVER)
    runner = CliRunner(env={"TIMESERIES_DATABASE_URL": store.url})
    shown = runner.invoke(main, ["status"])
    assert shown.exit_code == 1
    assert shown.output.count("\n") < 50
    assert len(shown.stderr.splitlines()) == 1, shown.stderr
    sentence = shown.stderr.strip()
    assert (
        f"{NEVER + 9:,} cameras are silent, of which {NEVER + 2:,} never reported; longest: 'day 60' since" in sentence
    )
    assert sentence.endswith("timeseries status --json lists them all")
    listed = json.loads(runner.invoke(main, ["status", "--json"]).output)
    assert len(listed["silent"]) == NEVER + 9
    assert len(listed["problems"]) == 1


def test_a_status_of_many_cameras_takes_as_many_statements_as_one_of_few(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[Any] = []
    execute = psycopg.Connection.execute

    def counted(self: Any, *words: Any, **more: Any) -> Any:
        run.append(words)
        return execute(self, *words, **more)

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    statements = []
    for number in (3, NEVER):
        add_many(store, number)
        run.clear()
        read_status(store.pool)
        statements.append(len(run))
    assert statements[0] == statements[1] < 60


@pytest.mark.kinds(ServerKind.COMMUNITY)
def test_whether_an_aggregate_is_stale_is_asked_of_the_newest_chunks_only(store: Store) -> None:
    now = datetime.now(UTC)
    camera = store.cameras.add("lot").id
    store.record(OccupancyEvent(camera, now - days * DAY, 1) for days in range(30))
    with store.pool.connection() as connection:
        connection.execute(
            "SELECT timeseries.has_events('occupancy_events', %s, now() - interval '1 h')", [now - 2 * DAY]
        )
        locked = connection.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_class ON oid = relation"
            " WHERE pid = pg_backend_pid() AND relkind = 'r' AND relname ~ '^_hyper_'"
        ).fetchone()
    assert locked is not None
    assert 0 < locked[0] <= 4  # the planner locks the chunks that it does not exclude
