"""Frames: their contract, and what they say about bad questions."""

from __future__ import annotations

import json
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
import pytest

import analytics
from analytics import arrow_client
from tests.support.roles import as_role
from timeseries import (
    HealthLog,
    InvalidInputError,
    NotAllowedError,
    NotMigratedError,
    OccupancyEvent,
    ServerUnavailableError,
    Store,
    UnknownCameraError,
)

WEEKDAY_COLUMNS = [
    "camera",
    "camera_id",
    "weekday",
    "occupied_avg",
    "occupied_share",
    "occupied_min",
    "occupied_max",
    "samples",
    "coverage",
]
STATUSES = ("healthy", "degraded", "disconnected")
QUESTIONS = [
    analytics.quarter_hourly_averages, analytics.hourly_averages, analytics.daily_averages, analytics.weekday_averages,
    analytics.weekday_profile, analytics.peaks, analytics.uptime, analytics.states, analytics.outages,
    partial(analytics.aggregate_rows, "occupancy_hourly"),
    partial(analytics.aggregate_rows, "health_weekday", summary=True),
]  # fmt: skip
HOUR_COLUMNS = [column for column in WEEKDAY_COLUMNS if column != "weekday"]


@pytest.fixture
def lots(store: Store) -> Store:
    """North Lot in New York has a week, one event an hour; South Lot in Kolkata has nothing."""
    north = store.cameras.add("North Lot", timezone="America/New_York", capacity=46)
    store.cameras.add("South Lot", timezone="Asia/Kolkata")
    start = datetime(2026, 8, 3, 4, tzinfo=UTC)  # Monday, midnight in New York
    store.record([OccupancyEvent(north.id, start + timedelta(hours=i), i % 24) for i in range(7 * 24)])
    store.record([HealthLog(north.id, start + timedelta(hours=i), STATUSES[i % 3]) for i in range(7 * 24)])
    return store


def test_tuesdays_of_one_camera(lots: Store) -> None:
    frame = analytics.weekday_averages(
        "North Lot", weekdays="tuesday", start="2026-08-03", end="2026-08-10", url=lots.url
    )
    assert list(frame.columns) == WEEKDAY_COLUMNS
    (row,) = frame.to_dict("records")
    assert row["camera"] == "North Lot"
    assert row["camera_id"] == str(lots.cameras.get("North Lot").id)
    assert (row["weekday"], row["samples"], row["coverage"]) == (2, 24, 1.0)
    assert row["occupied_avg"] == pytest.approx(11.5, rel=1e-12)
    assert row["occupied_share"] == pytest.approx(0.25, rel=1e-12)
    assert (row["occupied_min"], row["occupied_max"]) == (0, 23)
    assert frame.attrs["timezone"] == "America/New_York"
    assert frame.attrs["start"] == "2026-08-03T04:00:00+00:00"


def test_hours_are_indexed_by_local_time(lots: Store) -> None:
    frame = analytics.hourly_averages(["North Lot"], start="2026-08-04", end="2026-08-05", url=lots.url)
    assert list(frame.columns) == HOUR_COLUMNS
    assert frame.index.name == "bucket"
    assert str(frame.index.tz) == "America/New_York"  # type: ignore[attr-defined]
    assert list(frame.index.hour) == list(range(24))  # type: ignore[attr-defined]
    assert frame["occupied_avg"].tolist() == pytest.approx(list(range(24)))


@pytest.mark.parametrize("backend", [None, "pyarrow"])
@pytest.mark.parametrize("ask", QUESTIONS)
def test_columns_and_dtypes_are_the_same_with_and_without_rows(lots: Store, ask: Any, backend: Any) -> None:
    full = ask("North Lot", start="2026-08-03", end="2026-08-10", dtype_backend=backend, url=lots.url)
    empty = ask("North Lot", start="2001-01-01", end="2001-02-01", dtype_backend=backend, url=lots.url)
    assert len(full) > 0
    assert len(empty.dropna(subset=empty.columns[-3])) == 0
    assert full.dtypes.to_dict() == empty.dtypes.to_dict()
    assert type(full.index) is type(empty.index)
    if isinstance(full.index, pd.DatetimeIndex):
        assert full.index.dtype == empty.index.dtype
        assert str(full.index.tz) == "America/New_York"
    assert isinstance(full["camera"].dtype, pd.CategoricalDtype)
    assert list(full["camera"].cat.categories) == ["North Lot"]


@pytest.mark.parametrize("ask", [*QUESTIONS, analytics.latest])
def test_an_arrow_table_has_the_columns_and_values_of_the_frame(lots: Store, ask: Any) -> None:
    more = {} if ask is analytics.latest else {"start": "2026-08-03", "end": "2026-08-10"}
    table, frame = (ask("North Lot", as_arrow=arrow, url=lots.url, **more) for arrow in (True, False))
    flat = frame.reset_index() if isinstance(frame.index, pd.DatetimeIndex) else frame
    assert isinstance(table, pa.Table)
    assert set(table.column_names) == set(flat.columns)
    assert table.num_rows == len(frame)
    assert table["camera"].to_pylist() == flat["camera"].tolist()
    assert json.loads(table.schema.metadata[b"timeseries"])["timezone"] == "America/New_York"
    for column in {"occupied_avg", "coverage", "samples", "healthy_share"} & set(flat.columns):
        assert table[column].to_pylist() == pytest.approx(flat[column].tolist(), nan_ok=True)


def test_rows_are_ordered_by_the_name_of_the_camera_whatever_was_asked_first(lots: Store) -> None:
    lots.cameras.add("Attic", timezone="America/New_York")
    lots.record([OccupancyEvent(lots.cameras.get("Attic").id, datetime(2026, 8, 4, tzinfo=UTC), 1)])
    frame = analytics.weekday_averages(["North Lot", "Attic"], start="2026-08-03", end="2026-08-10", url=lots.url)
    assert frame["camera"].unique().tolist() == ["Attic", "North Lot"]
    assert list(frame["camera"].cat.categories) == ["Attic", "North Lot"]
    assert frame["weekday"].tolist()[-7:] == [1, 2, 3, 4, 5, 6, 7]


def test_a_camera_may_be_asked_for_by_name_by_id_or_itself(lots: Store) -> None:
    camera = lots.cameras.get("North Lot")
    frames = [
        analytics.daily_averages(asked, start="2026-08-03", end="2026-08-10", url=lots.url)  # type: ignore[arg-type]
        for asked in ("North Lot", camera, camera.id, str(camera.id), [camera, "North Lot"])
    ]
    for frame in frames:
        pd.testing.assert_frame_equal(frame, frames[0])
        assert len(frame) == 7


def test_cameras_of_several_zones_are_indexed_in_utc(lots: Store) -> None:
    lots.record([OccupancyEvent(lots.cameras.get("South Lot").id, datetime(2026, 8, 4, tzinfo=UTC), 3)])
    frame = analytics.daily_averages(start="2026-08-03", end="2026-08-06", url=lots.url)
    assert (str(frame.index.tz), frame.attrs["timezone"], frame.attrs["start"]) == ("UTC", None, None)  # type: ignore[attr-defined]
    south = frame[frame["camera"] == "South Lot"]
    assert south.index[0] == datetime(2026, 8, 3, 18, 30, tzinfo=UTC)
    assert south["local_date"].iloc[0] == pd.Timestamp("2026-08-04")


def test_a_filled_profile_is_seven_by_twenty_four(lots: Store) -> None:
    profile = analytics.weekday_profile("North Lot", start="2026-08-03", end="2026-08-05", fill=True, url=lots.url)
    cells = profile.pivot(index="weekday", columns="hour", values="occupied_avg")
    assert cells.shape == (7, 24)
    assert cells.loc[1].tolist() == pytest.approx(list(range(24)))
    assert cells.loc[3:].isna().all(axis=None)


def test_two_ranges_are_compared_by_weekday(lots: Store) -> None:
    frame = analytics.compare(
        "North Lot", before=("2026-08-03", "2026-08-05"), after=("2026-08-04", "2026-08-06"), url=lots.url
    ).set_index("weekday")
    assert list(frame.index) == [1, 2, 3]
    assert (frame.loc[2, "difference"], frame.loc[2, "change"]) == (0, 0)
    assert (frame.loc[1, "coverage_before"], frame.loc[1, "coverage_after"]) == (1, 0)
    assert pd.isna(frame.loc[3, "change"])  # type: ignore[arg-type]


def test_fill_gives_a_row_for_what_is_not_known(lots: Store) -> None:
    frame = analytics.hourly_averages("South Lot", start="2026-08-04", end="2026-08-05", fill=True, url=lots.url)
    assert len(frame) == 24
    assert frame["occupied_avg"].isna().all()
    assert (frame["coverage"] == 0).all()
    weekdays = analytics.weekday_averages(fill=True, start="2026-08-03", end="2026-08-10", url=lots.url)
    assert len(weekdays) == 14


def test_a_range_inside_a_quarter_is_rounded_outwards_and_the_frame_says_so(lots: Store) -> None:
    at = datetime(2026, 8, 4, 12, 7, tzinfo=UTC)
    frame = analytics.hourly_averages("North Lot", start=at, end=at + timedelta(minutes=1), url=lots.url)
    assert (frame.attrs["start"], frame.attrs["end"]) == ("2026-08-04T12:00:00+00:00", "2026-08-04T12:15:00+00:00")
    assert frame.attrs["rounded"] is True
    assert frame["coverage"].tolist() == [1.0]
    whole = analytics.hourly_averages("North Lot", start="2026-08-04", end="2026-08-05", url=lots.url)
    assert whole.attrs["rounded"] is False


def test_another_zone_may_be_asked_for(lots: Store) -> None:
    own = analytics.weekday_averages("North Lot", start="2026-08-03T04:00Z", end="2026-08-10T04:00Z", url=lots.url)
    other = analytics.weekday_averages(
        "North Lot",
        start="2026-08-03T04:00Z",
        end="2026-08-10T04:00Z",
        timezone="America/New_York",
        url=lots.url,
    )
    pd.testing.assert_frame_equal(own, other, rtol=1e-12)
    tokyo = analytics.weekday_averages(
        "North Lot", weekdays=[1], timezone="Asia/Tokyo", start="2026-08-03", end="2026-08-10", url=lots.url
    )
    assert tokyo["samples"].tolist() == [11]


@pytest.mark.parametrize(
    ("ask", "error", "message"),
    [
        ({"cameras": "Nort Lot"}, UnknownCameraError, "'North Lot'"),
        ({"weekdays": "someday"}, InvalidInputError, "'tuesday'"),
        ({"weekdays": [8]}, InvalidInputError, "1 .Monday. to 7"),
        ({"timezone": "Mars/Olympus"}, InvalidInputError, "IANA"),
        ({"timezone": "Europe/Berlim"}, InvalidInputError, "Europe/Berlin"),
        ({"timezone": "Europe"}, InvalidInputError, "time zone 'Europe'"),
        ({"cameras": ["North Lot", "?"]}, UnknownCameraError, "'[?]'|[?]"),
        ({"start": 20260805}, InvalidInputError, "20260805"),
        ({"start": pd.NaT}, InvalidInputError, "NaT"),
        ({"dtype_backend": "polars"}, InvalidInputError, "'pyarrow'"),
        ({"start": "2026-08-05", "end": "2026-08-04"}, InvalidInputError, "swap them"),
        ({"start": datetime(2026, 8, 5)}, InvalidInputError, "naive"),  # noqa: DTZ001
        ({"start": "2026-08-05T10:00"}, InvalidInputError, "2026-08-05T10:00:00Z"),
        ({"end": "soon"}, InvalidInputError, "ISO 8601"),
    ],
)
def test_a_bad_question_names_the_value_and_what_would_be_right(
    lots: Store, ask: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        analytics.weekday_averages(url=lots.url, **ask)


def test_other_bad_questions_name_what_would_be_right(lots: Store) -> None:
    with pytest.raises(InvalidInputError, match="at least 1"):
        analytics.peaks(number=0, url=lots.url)
    with pytest.raises(InvalidInputError, match="occupancy_hourly"):
        analytics.aggregate_rows("cameras", url=lots.url)
    with pytest.raises(InvalidInputError, match="'occupancy' or 'health'"):
        next(analytics.events(family="cars", url=lots.url))  # type: ignore[call-overload]
    with pytest.raises(InvalidInputError, match="batch size"):
        next(analytics.events(batch_size=0, url=lots.url))


def test_names_and_ids_are_values_and_never_sql(store: Store) -> None:
    name = "O'Hare $start_at; -- {}"
    camera = store.cameras.add(name)
    store.record([OccupancyEvent(camera.id, datetime(2026, 8, 4, tzinfo=UTC), 3)])
    assert analytics.daily_averages(name, url=store.url)["camera"].unique().tolist() == [name]


def test_what_a_role_may_not_read_is_refused_as_such(store: Store) -> None:
    name = f"nobody_{uuid.uuid4().hex}"
    with psycopg.connect(store.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        try:
            url = as_role(store.url, name)
            with pytest.raises(NotAllowedError, match=r"permission denied for (table cameras|schema timeseries)"):
                analytics.weekday_averages(url=url)
            arrow_client.close(url)
        finally:
            connection.execute(f"DROP ROLE {name}")


def test_threads_and_forked_processes_may_ask(lots: Store) -> None:
    ask = partial(analytics.weekday_averages, "North Lot", start="2026-08-03", end="2026-08-10", url=lots.url)
    wanted = ask()
    with ThreadPoolExecutor(8) as threads:
        for frame in threads.map(lambda _: ask(), range(16)):
            pd.testing.assert_frame_equal(frame, wanted)
    child = os.fork()
    if child == 0:
        os._exit(0 if len(ask()) == 7 else 1)
    assert os.waitpid(child, 0)[1] == 0
    pd.testing.assert_frame_equal(ask(), wanted)


def test_an_unmigrated_database_and_a_server_that_is_away_are_named(empty_database: str) -> None:
    with pytest.raises(NotMigratedError, match="timeseries migrate"):
        analytics.weekday_averages(url=empty_database)
    with pytest.raises(ServerUnavailableError):
        analytics.weekday_averages(url="postgresql://me:hunter2@127.0.0.1:1/x")


def test_the_connection_comes_back_after_it_was_cut(lots: Store) -> None:
    assert len(analytics.weekday_averages(url=lots.url)) == 7
    with lots.pool.connection() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert len(analytics.weekday_averages(url=lots.url)) == 7
