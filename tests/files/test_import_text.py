"""Files that are not what they should be: another encoding, floats for counts, clocks that were never set."""

from __future__ import annotations

import csv
import gzip
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from timeseries import ImportResult, InvalidInputError, Store
from timeseries.files.readers import TableFile

START = datetime(2026, 5, 4, tzinfo=UTC)
HEADER = "camera,timestamp,occupied_count"


def counts(result: ImportResult) -> tuple[int, int, int, int]:
    return result.cameras, result.inserted, result.duplicates, result.rejected


def test_rows_that_are_not_utf_8_are_rejected_rows(store: Store, tmp_path: Path) -> None:
    store.cameras.add("a")
    lines = ["camera,timestamp,occupied_count,note", "a,2026-05-04T00:00:00Z,1,gut", "Süd,2026-05-04T00:00:00Z,1,",
             "a,2026-05-04T00:00:01Z,2.0,", "a,2026-05-04T00:00:02Z,3,naß", "Süd,1"]  # fmt: skip
    path = tmp_path / "events.csv.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode("latin-1")))
    result = store.import_file(path)
    assert counts(result) == (0, 2, 0, 3)
    assert result.rejected_file is not None
    with result.rejected_file.open() as file:
        found = list(csv.reader(file))
    assert found[0] == ["row", "reason", *lines[0].split(",")]
    assert found[1:3] == [
        ["2", "the row is not UTF-8; save the file as UTF-8", "S\\xfcd", "2026-05-04T00:00:00Z", "1", ""],
        ["4", "the row is not UTF-8; save the file as UTF-8", "a", "2026-05-04T00:00:02Z", "3", "na\\xdf"],
    ]
    assert found[3] == ["5", "the row has another number of columns than the header", "S\\xfcd,1"]


def test_text_in_utf_8_is_read_whole_however_its_blocks_fall(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.cameras.add("Süd €")
    lines = [f"Süd €,{(START + timedelta(minutes=i)).isoformat()},{i}" for i in range(2_000)]
    path = tmp_path / "events.csv"
    path.write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    monkeypatch.setattr("timeseries.files.readers.BLOCK_BYTES", 4_099)
    assert counts(store.import_file(path)) == (0, 2_000, 0, 0)


def test_a_header_and_a_camera_that_are_not_utf_8_are_named(store: Store, tmp_path: Path) -> None:
    path, names = tmp_path / "events.csv", tmp_path / "cameras.csv"
    path.write_bytes("camera,timestamp,occupied_count,Auslastung für\n".encode("latin-1"))
    with pytest.raises(InvalidInputError, match=r"events\.csv: its header is not UTF-8; .* iconv"):
        store.import_file(path)
    names.write_bytes("camera\na\nSüd\n".encode("latin-1"))
    path.write_text(HEADER)
    with pytest.raises(InvalidInputError, match=r"cameras\.csv, row 2: the row is not UTF-8"):
        store.import_file(path, names)


def test_parquet_of_pandas_with_a_missing_count_and_a_broken_clock(store: Store, tmp_path: Path) -> None:
    store.cameras.add("a")
    path = tmp_path / "events.parquet"
    moments = pa.array([1_777_852_800_000, 1_777_852_801_000, 10**17, -1], pa.timestamp("ms", "UTC"))
    pq.write_table(pa.table({"camera": ["a"] * 4, "timestamp": moments, "occupied_count": [1.0, None, 2.0, 3.0]}), path)
    result = store.import_file(path)
    assert counts(result) == (0, 1, 0, 3)
    assert result.rejected_file is not None
    with result.rejected_file.open() as file:
        found = {row["row"]: (row["reason"], row["timestamp"]) for row in csv.DictReader(file)}
    assert "occupied_count None is not a whole number" in found["2"][0]
    assert found["3"][1] == "100000000000000000"
    assert "before 1970" in found["4"][0]


def test_a_file_that_ends_inside_a_character_loses_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(b"camera,timestamp\na,b\na,\xe2\x82")
    with closing(TableFile(path)) as file:
        (block,) = file.blocks()
    assert block.numbers == [1]
    assert block.broken == [(2, "the row is not UTF-8; save the file as UTF-8", ["a", "\\xe2\\x82"])]


def test_a_quoted_value_may_be_longer_than_a_block_and_a_stray_quote_opens_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeseries.files.readers.BLOCK_BYTES", 100)
    messages = [f"{i}\n" * 40 if i % 7 == 0 else f"{i}" for i in range(50)]
    path = tmp_path / "logs.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["camera", "message"], *(["a", message] for message in messages)])
    with closing(TableFile(path)) as file_of_quotes:
        rows = [row for block in file_of_quotes.blocks() for row in block.table.to_pylist()]
    assert [row["message"] for row in rows] == messages
    path.write_text("camera,message\n" + "".join(f'lot 5",{i}\n' if i == 3 else f"a,{i}\n" for i in range(300)))
    with closing(TableFile(path)) as file_of_stray:
        blocks = list(file_of_stray.blocks())
    assert [number for block in blocks for number in block.numbers] == list(range(1, 301))
    assert len(blocks) > 5
