"""Files of events and cameras as tables of text: CSV, gzipped CSV and Parquet, streamed in bounded memory."""

from __future__ import annotations

import codecs
import gzip
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from timeseries.errors import InvalidInputError
from timeseries.ingest.columns import python_value, readable

BLOCK_BYTES = 2 << 20
BLOCK_ROWS = 32_768
ESCAPE = "\ufdd0"  # never a character: before two hex digits it stands for a byte that is not UTF-8
ESCAPED = re.compile(ESCAPE + "([0-9a-f]{2})")


@dataclass(slots=True)
class Block:
    """Rows of a file: `table` has them; `numbers` are their positions, the first row after the header being 1;
    `broken` are rows that cannot be among them, as (position, reason, values).
    """

    table: pa.RecordBatch
    numbers: list[int]
    broken: list[tuple[int, str, list[Any]]] = field(default_factory=list)

    def joined(self, other: Block) -> Block:
        """These rows and then the others."""
        return Block(_batch(pa.Table.from_batches([self.table, other.table])), self.numbers + other.numbers)

    def row(self, position: int) -> dict[str, Any]:
        """The values of one row by column, perhaps Unreadable."""
        return {
            name: python_value(column[position])
            for name, column in zip(self.table.schema.names, self.table.columns, strict=True)
        }

    def head(self, end: int) -> Block:
        """The rows before a position."""
        return self if end == self.table.num_rows else Block(self.table.slice(0, end), self.numbers[:end])

    def tail(self, start: int) -> Block | None:
        """The rows from a position on, None where there are none."""
        return Block(self.table.slice(start), self.numbers[start:]) if start < self.table.num_rows else None


def table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a small file, each with its number and its readable values by column; what is empty is left out.

    Raises InvalidInputError for the first row that cannot be read.
    """
    with closing(TableFile(path)) as file:
        for block in file.blocks():
            for number, reason, _ in block.broken:
                raise InvalidInputError(f"{path}, row {number}: {reason}")
            for position, number in enumerate(block.numbers):
                try:
                    row = {key: readable(key, value) for key, value in block.row(position).items()}
                except InvalidInputError as error:
                    raise InvalidInputError(f"{path}, row {number}: {error}") from error
                yield number, {key: value for key, value in row.items() if value is not None}


class TableFile:
    """A CSV, gzipped CSV or Parquet file, and how many of its bytes have been read, for a progress bar."""

    def __init__(self, path: Path) -> None:
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise InvalidInputError(f"cannot read {path}: {error.strerror}; check the path") from error
        self.path = path
        self.size = path.stat().st_size
        self.position = 0

    def close(self) -> None:
        self.file.close()

    def blocks(self) -> Iterator[Block]:
        """The rows, in blocks. Raises InvalidInputError where it is no such file."""
        try:
            yield from _parquet(self) if is_parquet(self.path) else _csv(self)
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            raise InvalidInputError(f"{self.path}: {str(error).splitlines()[0]}") from error

    def streams(self) -> Iterator[tuple[None, Iterator[Block]]]:
        """The blocks as one stream, whose columns tell the family of its events."""
        yield None, self.blocks()


def escape_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101 - for the type checker
    return "".join(f"{ESCAPE}{byte:02x}" for byte in error.object[error.start : error.end]), error.end


codecs.register_error("timeseries.escape", escape_byte)


def is_parquet(path: Path) -> bool:
    return path.suffix in (".parquet", ".pq")


def _csv(source: TableFile) -> Iterator[Block]:
    """Each block is read as a CSV file of its own, the header and then its lines, because Arrow's streaming reader
    would hold 32 blocks in advance.
    """
    file: Any = gzip.GzipFile(fileobj=source.file) if source.path.suffix == ".gz" else source.file
    header = _lines(file, 0)
    names = _names(source.path, header)
    lines, number = _lines(file, BLOCK_BYTES), 0
    while True:
        block = _block(header + lines, names, number)
        number += len(block.numbers) + len(block.broken)
        source.position = source.file.tell()
        yield block
        if not (lines := _lines(file, BLOCK_BYTES)):
            return


def _lines(file: BinaryIO, size: int) -> bytes:
    """Whole lines of about `size` bytes; more of them, up to a whole block, where a quoted value is still open."""
    data = bytearray(file.read(size) + file.readline())
    quotes, limit = data.count(b'"'), len(data) + BLOCK_BYTES
    while quotes % 2 and len(data) < limit and (line := file.readline()):
        data += line
        quotes += line.count(b'"')
    return bytes(data)


def _block(data: bytes, names: list[str], before: int) -> Block:
    """The rows of CSV text with its header; `before` counts the rows of the file above them."""
    broken: list[tuple[int, str, list[Any]]] = []

    def skip(row: Any) -> str:
        reason = "the row has another number of columns than the header"
        broken.append((before + row.number - 1, reason, [ESCAPED.sub(r"\\x\1", row.text or "")]))
        return "skip"

    try:
        data.decode()
        escaped = False
    except UnicodeDecodeError:  # escaped, because Arrow fails on such a row where it is broken as well
        data, escaped = data.decode(errors="timeseries.escape").encode(), True
    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(block_size=len(data) + 1, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, check_utf8=False,
            null_values=[""], quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    skipped = {position for position, *_ in broken}
    positions = range(before + 1, before + 1 + table.num_rows + len(broken))
    block = Block(_batch(table), [number for number in positions if number not in skipped], broken)
    return _without_escaped(block) if escaped else block


def _batch(table: pa.Table) -> pa.RecordBatch:
    return next(iter(table.combine_chunks().to_batches()), pa.RecordBatch.from_pylist([], schema=table.schema))


def _without_escaped(block: Block) -> Block:
    """The rows that were UTF-8; the others are broken."""
    marked = np.zeros(len(block.numbers), dtype=bool)
    for column in block.table.columns:
        marked |= pc.match_substring(column, ESCAPE).fill_null(False).to_numpy(zero_copy_only=False)
    reason = "the row is not UTF-8; save the file as UTF-8"
    broken = [
        (block.numbers[at], reason, [value and ESCAPED.sub(r"\\x\1", value) for value in block.row(at).values()])
        for at in np.flatnonzero(marked).tolist()
    ]
    numbers = [number for number, gone in zip(block.numbers, marked, strict=True) if not gone]
    return Block(
        block.table.filter(pa.array(~marked)), numbers, sorted([*block.broken, *broken], key=lambda row: row[0])
    )


def _names(path: Path, header: bytes) -> list[str]:
    try:
        text = header.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(
            f"{path}: its header is not UTF-8; save the file as UTF-8, for example: iconv -f ISO-8859-1 -t UTF-8"
        ) from None
    return [name.strip().strip('"') for name in re.split("[\r\n]", text)[0].split(",")]


def _parquet(source: TableFile) -> Iterator[Block]:
    with pq.ParquetFile(source.path) as file:
        number = 0
        rows = max(file.metadata.num_rows, 1)
        for table in file.iter_batches(batch_size=BLOCK_ROWS):
            numbers = list(range(number + 1, number + 1 + table.num_rows))
            number += table.num_rows
            source.position = source.size * number // rows
            yield Block(table, numbers)
