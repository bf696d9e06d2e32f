"""Frames: their contract, and what they say about bad questions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

import analytics
from timeseries import (
    InvalidInputError,
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
    "occupied_min",
    "occupied_max",
    "samples",
    "coverage",
]
HOUR_COLUMNS = [column for column in WEEKDAY_COLUMNS if column != "weekday"]


@pytest.fixture
def lots(store: Store) -> Store:
    """North Lot in New York has a week, one event an hour; South Lot in Kolkata has nothing."""
    north = store.cameras.add("North Lot", timezone="America/New_York")
    store.cameras.add("South Lot", timezone="Asia/Kolkata")
    start = datetime(2026, 8, 3, 4, tzinfo=UTC)  # Monday, midnight in New York
    store.record([OccupancyEvent(north.id, start + timedelta(hours=i), i % 24) for i in range(7 * 24)])
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
    assert (row["occupied_min"], row["occupied_max"]) == (0, 23)
    assert frame.attrs["timezone"] == "America/New_York"
    assert frame.attrs["start"] == datetime(2026, 8, 3, 4, tzinfo=UTC)


def test_hours_are_indexed_by_local_time(lots: Store) -> None:
    frame = analytics.hourly_averages(["North Lot"], start="2026-08-04", end="2026-08-05", url=lots.url)
    assert list(frame.columns) == HOUR_COLUMNS
    assert frame.index.name == "bucket"
    assert str(frame.index.tz) == "America/New_York"  # type: ignore[attr-defined]
    assert list(frame.index.hour) == list(range(24))  # type: ignore[attr-defined]
    assert frame["occupied_avg"].tolist() == pytest.approx(list(range(24)))


@pytest.mark.parametrize("ask", [analytics.weekday_averages, analytics.hourly_averages])
def test_columns_and_dtypes_are_the_same_with_and_without_rows(lots: Store, ask: Any) -> None:
    full = ask(start="2026-08-03", end="2026-08-10", url=lots.url)
    for empty in (
        ask("South Lot", url=lots.url),
        ask("North Lot", start="2001-01-01", end="2001-02-01", url=lots.url),
    ):
        assert len(full) > 0
        assert len(empty) == 0
        assert list(empty.columns) == list(full.columns)
        assert empty.index.dtype == full.index.dtype or isinstance(empty.index, pd.DatetimeIndex)
        for column in full.columns:
            a, b = full[column].dtype, empty[column].dtype
            assert a == b or (isinstance(a, pd.CategoricalDtype) and isinstance(b, pd.CategoricalDtype)), column


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
    assert (frame.attrs["start"], frame.attrs["end"]) == (at.replace(minute=0), at.replace(minute=15))
    assert frame["coverage"].tolist() == [1.0]


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
