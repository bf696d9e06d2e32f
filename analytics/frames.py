"""Rows to DataFrames: the one module that knows how."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

# Categories are texts; whole numbers that can be unknown are pandas' nullable ones.
DTYPES = {
    "camera": "category",
    "camera_id": "category",
    "weekday": "int8",
    "occupied_avg": "float64",
    "occupied_min": "Int32",
    "occupied_max": "Int32",
    "samples": "int64",
    "coverage": "float64",
}


def frame(table: pa.Table, columns: list[str], timezone: str | None, **attrs: Any) -> pd.DataFrame:
    """The columns in this order, always of the same dtypes, empty or not. A column `bucket` becomes a DatetimeIndex in
    `timezone`, or in UTC where None says that the cameras have several; `attrs` go into `DataFrame.attrs`.
    """
    result: pd.DataFrame = table.select([*columns, *(["bucket"] if "bucket" in table.column_names else [])]).to_pandas()
    if "bucket" in result:
        index = pd.DatetimeIndex(result.pop("bucket").astype("datetime64[us, UTC]"), name="bucket")
        result.index = index.tz_convert(timezone or "UTC")
    result = result.astype({column: DTYPES[column] for column in columns})
    result.attrs.update(attrs, timezone=timezone)
    return result
