"""What a worker and a control plane may do on a real server, and everything else that they may not."""

from __future__ import annotations

import json
from datetime import timedelta

import psycopg
import pytest
from psycopg import errors

import analytics
from tests.support.command_line import run
from tests.support.keys import SECRET_KEY
from tests.support.roles import (
    LONG_AGO,
    NOW,
    MakeRole,
    as_role,
    control,
    ingest,
    make_role,
    reader,
    refusal,
    series,
    worker,
)
from tests.support.servers import RunningServer
from tests.support.urls import parse_url
from timeseries import CameraInUseError, NotAllowedError, SecretError, ServerKind, Store
from timeseries.access.keyring import generate_key
from timeseries.access.roles import find_deviations, grant
from timeseries.settings import Settings

__all__ = ["control", "ingest", "make_role", "reader", "worker"]

RTSP = "rtsp://admin:hunter2@10.0.0.7/1"
WITH_KEY = Settings(secret_key=SECRET_KEY)


def test_a_worker_stores_events_and_reads_what_it_needs_to_run_a_camera(store: Store, worker: str) -> None:
    zones = {"polygons": [[0, 1]]}
    lot = store.cameras.add("North Lot", connection_string=RTSP, zone_config=zones, desired_state="maintenance")
    with Store.open(worker, settings=WITH_KEY) as narrow:
        assert narrow.cameras.list() == [narrow.cameras.get(lot.id)] == [lot]
        assert narrow.cameras.connection_string("North Lot") == RTSP
        assert (
            narrow.record([*series(lot.id, NOW - timedelta(hours=2), 60), *series(lot.id, LONG_AGO, 30)]).inserted == 90
        )
    with Store.open(worker, settings=Settings(secret_key=generate_key())) as robbed, pytest.raises(SecretError):
        robbed.cameras.connection_string(lot)


def test_a_control_plane_keeps_cameras_and_never_sees_a_connection_string(store: Store, control: str) -> None:
    with Store.open(control, settings=WITH_KEY) as narrow:
        lot = narrow.cameras.add("North Lot", connection_string=RTSP, timezone="Europe/Berlin", capacity=80)
        assert (lot.connection_string, lot.connection_string_hidden) == (None, True)
        with pytest.raises(NotAllowedError, match="--worker"):
            narrow.cameras.connection_string(lot)
        assert store.cameras.connection_string(lot.id) == RTSP
        store.record(series(lot.id, NOW - timedelta(days=3), 600))
        changed = narrow.cameras.update(
            lot, name="South Lot", timezone="Asia/Kolkata", hold=timedelta(hours=3), zone_config=[1], capacity=None,
            desired_state="stopped", connection_string=RTSP + "/other",
        )  # fmt: skip
        assert narrow.cameras.list() == [changed]
        assert store.cameras.connection_string(lot.id) == RTSP + "/other"
        with pytest.raises(CameraInUseError):
            narrow.cameras.remove(lot)
        narrow.cameras.remove(narrow.cameras.add("mistake"))
        assert narrow.cameras.list() == [changed]


def test_a_control_plane_sees_averages_states_and_how_the_store_is(store: Store, control: str) -> None:
    lot = store.cameras.add("North Lot", timezone="Europe/Berlin")
    store.record(series(lot.id, NOW - timedelta(days=3), 600))
    for ask in (analytics.weekday_averages, analytics.hourly_averages):
        assert ask("North Lot", url=control).equals(ask("North Lot", url=store.url))
    assert analytics.latest("North Lot", url=control)["occupied_count"].tolist() == [599 % 9]
    with psycopg.connect(control) as connection:
        for question in ("store_tables", "store_lag", "store_jobs", "latest", "health_states", "occupancy_weekdays"):
            connection.execute(f"SELECT * FROM public.{question}()")
    with Store.open(control, settings=Settings()) as narrow:
        assert narrow.role_deviations() == []


def test_every_role_lists_the_cameras_and_is_told_what_it_may_not_see(
    store: Store, ingest: str, reader: str, worker: str, control: str
) -> None:
    store.cameras.add("North Lot", connection_string=RTSP, timezone="Europe/Berlin")
    hidden = {}
    for kind, url in (("ingest", ingest), ("reader", reader), ("worker", worker), ("control", control)):
        with Store.open(url, settings=Settings()) as narrow:
            (lot,) = narrow.cameras.list()
            assert lot == narrow.cameras.get("North Lot")
            assert {name for name in lot.hidden if getattr(lot, name) is not None} == set()
            hidden[kind] = lot.hidden
        if kind == "ingest":
            with pytest.raises(NotAllowedError, match="time zone"):
                _ = lot.zone
    assert hidden["worker"] == frozenset()
    assert hidden["control"] == {"connection_string"}
    assert hidden["reader"] >= {"connection_string", "zone_config"}
    assert hidden["ingest"] > hidden["reader"] | {"timezone"}
    (shown,) = json.loads(run(control, "camera", "list", "--json").output)
    assert shown["hidden"] == ["connection_string"]
    assert "hidden" in run(control, "camera", "list").output


DENIED = [
    "TRUNCATE public.cameras CASCADE",
    "UPDATE public.occupancy_events SET occupied_count = 0",
    "DELETE FROM public.occupancy_events",
    "TRUNCATE public.health_logs",
    "ALTER TABLE public.cameras DISABLE TRIGGER ALL",
    "CREATE TRIGGER planted BEFORE INSERT ON public.cameras FOR EACH ROW EXECUTE FUNCTION timeseries.guard_camera()",
    "DROP TABLE public.cameras CASCADE",
    "CREATE TABLE public.planted ()",
    "CREATE SCHEMA planted",
    "UPDATE public.alembic_version SET version_num = 'x'",
    "UPDATE timeseries.retention SET keep = interval '2 days'",
]
DENIED_WORKER = [
    "INSERT INTO public.cameras (name) VALUES ('x')",
    "UPDATE public.cameras SET desired_state = 'stopped'",
    "DELETE FROM public.cameras",
    "SELECT * FROM public.occupancy_hourly",
    "SELECT * FROM public.latest()",
]
DENIED_CONTROL = [
    "SELECT connection_string FROM public.cameras",
    "SELECT c::text FROM public.cameras AS c",
    "UPDATE public.cameras SET name = 'x' RETURNING connection_string",
    "UPDATE public.cameras SET name = connection_string",
    "UPDATE public.cameras SET id = gen_random_uuid()",
    "UPDATE public.cameras SET created_at = now()",
    "SELECT * FROM public.occupancy_events",
    "SELECT count(*) FROM public.health_logs",
    "INSERT INTO public.occupancy_events (camera_id, timestamp, occupied_count) VALUES (gen_random_uuid(), now(), 1)",
    "CREATE TEMPORARY TABLE planted ()",
    "SELECT timeseries.materialize('occupancy', ARRAY[gen_random_uuid()], ARRAY[now()], ARRAY[1])",
    "SELECT * FROM timeseries.sealed('occupancy', ARRAY[gen_random_uuid()], ARRAY[now()])",
    "SELECT timeseries.retain('x', NULL)",
]
DENIED_TIMESCALE = [
    "SELECT public.drop_chunks('public.occupancy_events', now())",
    "SELECT public.add_job('pg_catalog.now'::regproc, interval '1 second')",
    "SELECT public.delete_job(1000)",
]


def test_workers_and_control_planes_are_denied_everything_else(
    store: Store, worker: str, control: str, server: RunningServer
) -> None:
    lot = store.cameras.add("North Lot")
    store.record(series(lot.id, LONG_AGO, 5))
    both = DENIED + (DENIED_TIMESCALE if server.kind is not ServerKind.POSTGRESQL else [])
    for url, own in ((worker, DENIED_WORKER), (control, DENIED_CONTROL)):
        states = {statement: refusal(url, statement) for statement in [*both, *own]}
        assert {s: state for s, state in states.items() if state != errors.InsufficientPrivilege.sqlstate} == {}
    assert store.cameras.list() == [lot]


def test_the_audit_knows_workers_and_control_planes(store: Store, worker: str, control: str) -> None:
    names = {"worker": parse_url(worker).username, "control": parse_url(control).username}
    with psycopg.connect(store.url, autocommit=True) as connection:
        assert find_deviations(connection) == []
        for statement in (
            f'GRANT UPDATE (desired_state) ON public.cameras TO "{names["worker"]}"',
            f'GRANT SELECT ON public.occupancy_hourly TO "{names["worker"]}"',
            f'REVOKE EXECUTE ON FUNCTION timeseries.materialize FROM "{names["worker"]}"',
            f'GRANT SELECT (connection_string), UPDATE (created_at) ON public.cameras TO "{names["control"]}"',
            f'REVOKE UPDATE (capacity) ON public.cameras FROM "{names["control"]}"',
            f'GRANT SELECT ON public.health_logs TO "{names["control"]}"',
            f'REVOKE EXECUTE ON FUNCTION public.latest FROM "{names["control"]}"',
        ):
            connection.execute(statement)
        found = "\n".join(find_deviations(connection))
        for part in (
            f'"{names["worker"]}" (worker) may UPDATE public.cameras (desired_state)',
            f'"{names["worker"]}" (worker) may SELECT public.occupancy_hourly',
            f'"{names["worker"]}" (worker) may not execute timeseries.materialize',
            f'"{names["control"]}" may read cameras.connection_string',
            f'"{names["control"]}" (control) may UPDATE public.cameras (created_at)',
            f'"{names["control"]}" (control) may not UPDATE public.cameras (capacity)',
            f'"{names["control"]}" (control) may SELECT public.health_logs',
            f'"{names["control"]}" (control) may not execute latest: run timeseries grant --control',
        ):
            assert part in found
        grant(store.url, workers=[str(names["worker"])], control=[str(names["control"])])
        assert find_deviations(connection) == []


def test_a_role_that_changes_from_one_kind_to_another_keeps_nothing(database: str, make_role: MakeRole) -> None:
    name = make_role(database, "service")
    for words in (["--worker", name], ["--control", name], ["--ingest", name], ["--control", name], ["--reader", name]):
        assert run(database, "grant", *words).exit_code == 0
        with psycopg.connect(database) as connection:
            assert find_deviations(connection) == []
    assert refusal(as_role(database, name), "INSERT INTO public.cameras (name) VALUES ('x')") == "42501"
