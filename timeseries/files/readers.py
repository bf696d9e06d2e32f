"""Files of events and cameras as tables of text: CSV, gzipped CSV and Parquet, streamed in bounded memory."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from timeseries.errors import InvalidInputError
from timeseries.ingest.columns import python_value

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
        table = pa.Table.from_batches([self.table, other.table]).combine_chunks()
        return Block(table.to_batches()[0], self.numbers + other.numbers)

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


class TableFile:
    """A CSV, gzipped CSV or Parquet file that knows how far it has been read, for a progress bar."""

    def __init__(self, path: Path) -> None:
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise InvalidInputError(f"cannot read {path}: {error.strerror}; check the path") from error
        self.path = path
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


class EscapingReader:
    """A stream of text in UTF-8; bytes that are not UTF-8 are escaped, because Arrow fails on them in places."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")("timeseries.escape")
        self._ready = b""
        self.escaped = False
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        more = True
        while more and (size < 0 or len(self._ready) < size):  # Arrow takes a short read for a short block
            data = self._source.read(size)
            more = bool(data)
            text = self._decoder.decode(data, final=not more)
            self.escaped = self.escaped or ESCAPE in text
            self._ready += text.encode()
        end = len(self._ready) if size < 0 else size
        part, self._ready = self._ready[:end], self._ready[end:]
        return part

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def is_parquet(path: Path) -> bool:
    return path.suffix in (".parquet", ".pq")


def _csv(source: TableFile) -> Iterator[Block]:
    broken: list[tuple[int, str, list[Any]]] = []

    def skip(row: Any) -> str:
        reason = "the row has another number of columns than the header"
        broken.append((row.number - 1, reason, [ESCAPED.sub(r"\\x\1", row.text or "")]))
        return "skip"

    stream = pa.PythonFile(source, mode="r")
    plain = EscapingReader(pa.CompressedInputStream(stream, "gzip") if source.path.suffix == ".gz" else stream)
    header = _header(source.path)
    reader = pyarrow.csv.open_csv(
        pa.PythonFile(plain, mode="r"),
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=True, check_utf8=False,
            null_values=[""], quoted_strings_can_be_null=False,
        ),
    )  # fmt: skip
    number = 0
    for table in reader:
        numbers, count = [], table.num_rows
        skipped = {position for position, *_ in broken}
        while count:
            number += 1
            if number not in skipped:
                numbers.append(number)
                count -= 1
        block = Block(table, numbers, [row for row in broken if row[0] <= number])
        broken[:] = [row for row in broken if row[0] > number]
        yield _without_escaped(block) if plain.escaped else block
    if broken:
        yield Block(pa.RecordBatch.from_arrays([], names=[]), [], broken)


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


def _header(path: Path) -> list[str]:
    with path.open("rb") as file:
        stream = pa.PythonFile(file, mode="r")
        plain = pa.CompressedInputStream(stream, "gzip") if path.suffix == ".gz" else stream
        line = plain.read(65_536).split(b"\n", 1)[0]
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInputError(
            f"{path}: its header is not UTF-8; save the file as UTF-8, for example: iconv -f ISO-8859-1 -t UTF-8"
        ) from None
    return [name.strip().strip('"') for name in text.rstrip("\r").split(",")]


def _parquet(source: TableFile) -> Iterator[Block]:
    with pq.ParquetFile(source.path) as file:
        number = 0
        rows = max(file.metadata.num_rows, 1)
        for table in file.iter_batches(batch_size=BLOCK_ROWS):
            numbers = list(range(number + 1, number + 1 + table.num_rows))
            number += table.num_rows
            source.position = source.size * number // rows
            yield Block(table, numbers)
