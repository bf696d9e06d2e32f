"""What COPY … TO STDOUT (FORMAT CSV) sends, as a file and as Arrow batches, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv as pc

LARGEST_ROW = 16 << 20


class CopyReader:
    """The bytes that COPY sends, as a readable file."""

    closed = False

    def __init__(self, source: psycopg.Copy) -> None:
        self._source = iter(source)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """`size` bytes, or as many as there are."""
        parts, have = [self._rest], len(self._rest)
        while have < size and (part := bytes(next(self._source, b""))):
            parts.append(part)
            have += len(part)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]

    def is_empty(self) -> bool:
        self._rest = self._rest or bytes(next(self._source, b""))
        return not self._rest

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def batches(self, schema: pa.Schema, largest_row: int | None = None) -> Iterator[pa.RecordBatch]:
        """Batches of these columns. Raises pyarrow.ArrowInvalid for a row of more bytes, by default `LARGEST_ROW`."""
        if self.is_empty():
            return  # the CSV reader of Arrow refuses an empty file
        yield from pc.open_csv(pa.PythonFile(self, mode="r"), **options(schema, largest_row or LARGEST_ROW))


def options(schema: pa.Schema, block_size: int) -> dict[str, Any]:
    """How Arrow's CSV reader takes what COPY sends of these columns."""
    return {
        "read_options": pc.ReadOptions(column_names=schema.names, block_size=block_size, use_threads=False),
        "parse_options": pc.ParseOptions(newlines_in_values=True),
        "convert_options": pc.ConvertOptions(
            column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    }
