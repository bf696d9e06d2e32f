"""Frames: the guarantees of `record`, whatever pandas or Arrow makes of the values."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from timeseries import InvalidInputError, Store
from timeseries.ingest.batches import Batch
from timeseries.ingest.frames import columns_of, family_of, slice_columns, to_batch
from timeseries.model.events import MICROSECOND, POSTGRES_EPOCH
from timeseries.model.relations import OCCUPANCY

AT = datetime(2026, 9, 1, 12, tzinfo=UTC)
LOT = uuid.UUID(int=7)
IDS = {"lot": LOT.bytes, str(LOT): LOT.bytes}


def parsed(frame: Any) -> tuple[Batch, dict[int, str]]:
    columns, rows = columns_of(frame)
    batch, rejected = to_batch(slice_columns(columns, 0, rows), family_of("the table", list(columns)), IDS)
    assert [rejection.index for rejection in rejected.values()] == [*rejected]
    return batch, {row: rejection.reason for row, rejection in rejected.items()}


def frame(rows: int, **columns: Any) -> pd.DataFrame:
    moments = [AT + timedelta(minutes=i) for i in range(rows)]
    return pd.DataFrame({"camera": ["lot"] * rows, "timestamp": moments, "occupied_count": range(rows)} | columns)


def of_health(*statuses: Any) -> pd.DataFrame:
    return frame(len(statuses), status=list(statuses)).drop(columns="occupied_count")


AWARE = frame(2)["timestamp"].tolist()
NAIVE = datetime(2026, 9, 1, 12)  # noqa: DTZ001
BAD: dict[str, tuple[Any, dict[int, str]]] = {
    "one count is missing": (frame(4, occupied_count=[1, 2, 3, None]), {3: "None is not a whole number"}),
    "NaN in Arrow": (
        pa.table(frame(2)).set_column(2, "occupied_count", pa.array([1.0, float("nan")])), {1: "nan is not a whole"},
    ),
    "one count is negative": (frame(3, occupied_count=[1.0, -2.0, 3.0]), {1: "-2 is negative"}),
    "a share": (frame(2, occupied_count=[1, 1.5]), {1: "1.5 is not a whole number"}),
    "too many": (frame(2, occupied_count=[1e12, 1]), {0: "is beyond 2147483647"}),
    "text among counts": (frame(2, occupied_count=[1, "x"]), {1: "'x' is not a whole number"}),
    "hexadecimal": (frame(2, occupied_count=["0x10", "16"]), {0: "'0x10' is not a whole number"}),
    "truth": (frame(2, occupied_count=[True, False]), {0: "True is not a whole", 1: "False is not a whole"}),
    "one truth": (frame(2, occupied_count=pd.Series([1, True], dtype=object)), {1: "True is not a whole number"}),
    "one is naive": (frame(2, timestamp=[AWARE[0], NAIVE]), {1: "naive"}),
    "one is naive, in a dict": (
        {"camera": ["lot"] * 2, "timestamp": [AWARE[0], NAIVE], "occupied_count": [1, 2]}, {1: "naive"},
    ),
    "dates": (
        pa.table(frame(2)).set_column(1, "timestamp", pa.array([date(2026, 9, 1)] * 2)), {0: "naive", 1: "naive"},
    ),
    "a date": (frame(2, timestamp=pd.Series([AWARE[0], date(2026, 9, 1)], dtype=object)), {1: "naive"}),
    "seconds": (frame(2, timestamp=[1_756_000_000, 1_756_000_001]), {0: "give datetimes", 1: "give datetimes"}),
    "one in seconds": (frame(2, timestamp=pd.Series([AWARE[0], 20260901], dtype=object)), {1: "give datetimes"}),
    "no time": (frame(2, timestamp=[AWARE[0], pd.NaT]), {1: "timestamp None"}),
    "no time among objects": (frame(3, timestamp=[AWARE[0], NAIVE, pd.NaT]), {1: "naive", 2: "timestamp None"}),
    "beyond all dates": (
        pa.table(frame(2)).set_column(1, "timestamp", pa.array([10**14, 1_756_000_000], pa.timestamp("s", "UTC"))),
        {0: "100000000000000 timestamp[s, tz=UTC] cannot be read"},
    ),
    "a clock never set": (
        frame(2, timestamp=["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"]), {0: "before 1970: a clock"},
    ),
    "a clock never set, in Arrow": (
        pa.table(frame(2)).set_column(1, "timestamp", pa.array([-1, 0], pa.timestamp("ns", "UTC"))),
        {0: "before 1970: a clock"},
    ),
    "no camera": (frame(2, camera=["lot", None]), {1: "no camera has the name or id None"}),
    "no UTF-8": (
        pa.table(frame(2)).set_column(0, "camera", pa.array([b"S\xfcd", b"lot"]).view(pa.string())),
        {0: "is not UTF-8"},
    ),
    "JSON that is none": (frame(2, raw_data=["hello", "[1]"]), {0: "'hello' is not JSON"}),
    "nested without end": (frame(2, raw_data=["[" * 100_000, "[1]"]), {0: "is not JSON"}),
    "statuses": (
        of_health("healthy", None, pd.NA, "sleepy", np.array(["healthy"])), dict.fromkeys(range(1, 5), "is unknown"),
    ),
    "a message that is none": (
        of_health("healthy", "degraded").assign(message=pd.Series([1, "a"], dtype=object)), {0: "1 is not a text"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_each_bad_row_comes_back_with_its_reason_and_no_other(name: str) -> None:
    given, wanted = BAD[name]
    batch, reasons = parsed(given)
    assert {row: reason for row, reason in reasons.items() if wanted.get(row, "?") not in reason} == {}
    assert set(reasons) == set(wanted)
    assert set(batch.rows.tolist()) | set(reasons) == set(range(columns_of(given)[1]))
    assert len(batch) + len(reasons) == columns_of(given)[1]


def test_a_rejected_row_has_the_kind_of_the_column_that_is_wrong() -> None:
    given = frame(4, raw_data=["1", "{", None, None], occupied_count=[1, 2, -3, 4])
    given["camera"] = ["lot", "lot", "lot", "nowhere"]
    given["timestamp"] = ["yesterday", *given["timestamp"][1:]]
    columns, rows = columns_of(given)
    _, rejected = to_batch(slice_columns(columns, 0, rows), OCCUPANCY, IDS)
    kinds = {row: one.kind.value for row, one in rejected.items()}
    assert kinds == {0: "timestamp", 1: "raw_data", 2: "occupied_count", 3: "unknown_camera"}


def test_values_are_what_was_meant() -> None:
    moments = [AT.astimezone(timezone(timedelta(hours=2))), AT + timedelta(seconds=1)]
    batch, reasons = parsed(frame(2, timestamp=pd.Series(moments, dtype=object), occupied_count=["3.0", "4"]))
    assert reasons == {}
    assert [POSTGRES_EPOCH + time * MICROSECOND for time in batch.times.tolist()] == moments
    assert batch.counts is not None
    assert batch.counts.tolist() == [3, 4]


@pytest.mark.parametrize(
    "objects",
    [[{"a": 1}, {"b": 2}], [{"a": 1}, {"a": "x"}], [[1, 2.5], {"a": 1}], [None, {"a": None}], ['{"a": 1}', [1]],
     [float("nan"), 7]],
)  # fmt: skip
def test_each_object_in_raw_data_is_written_by_itself(objects: list[Any]) -> None:
    batch, reasons = parsed(frame(2, raw_data=pd.Series(objects, dtype=object)))
    assert reasons == {}
    wanted = [json.loads(value) if isinstance(value, str) else value for value in objects]
    wanted = [None if value != value else value for value in wanted]
    assert [raw and json.loads(raw) for raw in batch.extra or []] == wanted


@pytest.mark.parametrize(
    "cameras",
    [[LOT, LOT], [str(LOT), "lot"], [LOT, "lot"], pd.Categorical([LOT, LOT]), pd.Categorical(["lot", "lot"]),
     pa.array([LOT.bytes] * 2, pa.binary(16)), pa.array([str(LOT)] * 2).dictionary_encode()],
)  # fmt: skip
def test_a_camera_is_known_by_its_name_and_its_id(cameras: Any) -> None:
    given = {"camera_id": cameras, "timestamp": AWARE, "occupied_count": [1, 2]}
    columns, rows = columns_of(given)
    assert rows == 2
    columns["camera"] = columns.pop("camera_id")
    batch, reasons = to_batch(slice_columns(columns, 0, rows), OCCUPANCY, IDS)
    assert reasons == {}
    assert batch.cameras.tolist() == [LOT.bytes] * 2


@pytest.mark.skipif(not hasattr(pa, "uuid"), reason="pyarrow 18 brought the type")
def test_a_camera_is_known_by_the_uuid_type_of_arrow() -> None:
    ids = pa.chunked_array([pa.array([LOT.bytes], pa.uuid())] * 2)
    batch, reasons = parsed(pa.table(frame(2)).set_column(0, "camera", ids))
    assert (reasons, batch.cameras.tolist()) == ({}, [LOT.bytes] * 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [("events.csv", "a str is no table of events"), (None, "NoneType is no table"), ({"a": [1]}, "it needs camera"),
     ({"camera": [1, 2], "timestamp": [1]}, "a dict is no table"),
     (pd.DataFrame([["lot", "lot", AT, 1]], columns=["camera", "camera", "timestamp", "occupied_count"]),
      "more than one column camera")],
)  # fmt: skip
def test_what_is_no_table_of_events_is_named(given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        parsed(given)


def test_a_frame_of_objects_is_stored_as_record_does(store: Store) -> None:
    lot = store.cameras.add("lot").id
    given = frame(4, timestamp=[AT, NAIVE, AT + timedelta(seconds=1), AT + timedelta(seconds=2)],
                  occupied_count=[1, 2, "x", 4.0], raw_data=[{"a": 1}, None, None, [{"b": [2]}]])  # fmt: skip
    given = given.assign(camera_id=[lot] * 4).drop(columns="camera")  # type: ignore[list-item]
    result = store.record_frame(given.set_index(["camera_id", "timestamp"]))
    assert (result.inserted, [rejection.index for rejection in result.rejected]) == (2, [1, 2])
    assert store.record_frame(given).duplicates == 2
    with store.pool.connection() as connection:
        rows = connection.execute("SELECT camera_id, occupied_count, raw_data FROM occupancy_events ORDER BY 2")
        assert rows.fetchall() == [(lot, 1, {"a": 1}), (lot, 4, [{"b": [2]}])]
