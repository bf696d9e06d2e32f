"""Files of events and cameras as tables of text: CSV, gzipped CSV and Parquet, streamed in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from timeseries.errors import InvalidInputError

BLOCK_BYTES = 2 << 20
BLOCK_ROWS = 32_768


@dataclass(slots=True)
class Block:
    """Rows of a file: `table` has them; `numbers` are their positions, the first row after the header being 1;
    `broken` are rows that have another number of columns, as (position, text).
    """

    table: pa.RecordBatch
    numbers: list[int]
    broken: list[tuple[int, str]] = field(default_factory=list)

    def joined(self, other: Block) -> Block:
        """These rows and then the others."""
        table = pa.Table.from_batches([self.table, other.table]).combine_chunks()
        return Block(table.to_batches()[0], self.numbers + other.numbers)

    def tail(self, start: int) -> Block | None:
        """The rows from a position on, None where there are none."""
        return Block(self.table.slice(start), self.numbers[start:]) if start < self.table.num_rows else None


class CountedFile:
    """A file that knows how far it has been read, for a progress bar."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise InvalidInputError(f"cannot read {path}: {error.strerror}; check the path") from error
        self.size = path.stat().st_size
        self.position = 0
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.position += len(data)
        return data

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True
        self._file.close()


def is_parquet(path: Path) -> bool:
    return path.suffix in (".parquet", ".pq")


def read_blocks(path: Path, source: CountedFile) -> Iterator[Block]:
    """The rows of a file, in blocks. Raises InvalidInputError where it is no such file."""
    try:
        yield from _parquet(path, source) if is_parquet(path) else _csv(path, source)
    except (pa.ArrowInvalid, OSError, EOFError) as error:
        raise InvalidInputError(f"{path}: {str(error).splitlines()[0]}") from error


def _csv(path: Path, source: CountedFile) -> Iterator[Block]:
    broken: list[tuple[int, str]] = []

    def skip(row: Any) -> str:
        broken.append((row.number - 1, row.text or ""))
        return "skip"

    stream = pa.PythonFile(source, mode="r")
    plain = pa.CompressedInputStream(stream, "gzip") if path.suffix == ".gz" else stream
    header = _header(path)
    reader = pc.open_csv(
        plain,
        read_options=pc.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pc.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pc.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, check_utf8=False,
            null_values=[""], quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    number = 0
    for table in reader:
        numbers, count = [], table.num_rows
        skipped = {position for position, _ in broken}
        while count:
            number += 1
            if number not in skipped:
                numbers.append(number)
                count -= 1
        yield Block(table, numbers, [row for row in broken if row[0] <= number])
        broken[:] = [row for row in broken if row[0] > number]
    if broken:
        yield Block(pa.RecordBatch.from_arrays([], names=[]), [], broken)


def _header(path: Path) -> list[str]:
    with path.open("rb") as file:
        stream = pa.PythonFile(file, mode="r")
        plain = pa.CompressedInputStream(stream, "gzip") if path.suffix == ".gz" else stream
        line = plain.read(65_536).split(b"\n", 1)[0]
    return [name.strip().strip('"') for name in line.decode("utf-8-sig", "replace").rstrip("\r").split(",")]


def _parquet(path: Path, source: CountedFile) -> Iterator[Block]:
    with pq.ParquetFile(path) as file:
        number = 0
        rows = max(file.metadata.num_rows, 1)
        for table in file.iter_batches(batch_size=BLOCK_ROWS):
            numbers = list(range(number + 1, number + 1 + table.num_rows))
            number += table.num_rows
            source.position = source.size * number // rows
            yield Block(table, numbers)
