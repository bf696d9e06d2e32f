"""The averages of cameras as arrays, for what is computed of them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd

from analytics.averages import averages_by
from analytics.query import run
from analytics.ranges import EPOCH, QUARTER
from analytics.request import CameraInfo, Request, ZoneSelection
from analytics.typical_week import MICROSECOND, Array, Seen, cells_of
from timeseries import InvalidInputError

HOUR = timedelta(hours=1)
Width = Literal["hour", "quarter"]
WIDTHS: dict[str, timedelta] = {"hour": HOUR, "quarter": QUARTER}
AVERAGES = {width: averages_by(f"{width}s", "local_start", width=f"'{width}'") for width in WIDTHS}


def check(width: str, share: float, holidays: Container[date]) -> None:
    """Refuse what cannot be used, with what can."""
    if width not in WIDTHS:
        raise InvalidInputError(f"width {width!r} is unknown; give 'hour' or 'quarter'")
    if not 0 < share < 1:
        raise InvalidInputError(f"share {share!r} of the interval: give more than 0 and less than 1, like 0.9")
    listed = holidays if isinstance(holidays, list | tuple | set | frozenset) else ()
    wrong = [day for day in listed if type(day) is not date]
    if wrong or isinstance(holidays, str) or not hasattr(holidays, "__contains__"):
        raise InvalidInputError(f"holidays: {(wrong or [holidays])[0]!r} is no datetime.date; give a set of these")


def averages_of(
    selections: Iterable[ZoneSelection], width: str, start: datetime, end: datetime, zone: str | None, url: str | None
) -> pd.DataFrame:
    """The averages of all buckets that touch a range, also of those without known time and of the future.

    Of each camera there is one bucket more on either side, because the first and the last one may be cut.
    """
    ids = [camera.id for selection in selections for camera in selection.cameras]
    request = Request(ids, start - WIDTHS[width], end + WIDTHS[width], zone, url)
    found: pd.DataFrame = run(AVERAGES[width], request, as_arrow=False, dtype_backend=None, fill=True)
    return found


def by_camera(
    rows: pd.DataFrame, selection: ZoneSelection, width: str, holidays: Container[date]
) -> Iterator[tuple[CameraInfo, Array, Seen]]:
    """Each camera of the selection, the positions of its whole buckets, and what was seen of it."""
    places: dict[Any, Any] = {**rows.groupby("camera_id", observed=True).indices}
    for camera in selection.cameras:
        positions = places[camera.id][1:-1]
        of_camera = rows.iloc[positions]
        at = pd.DatetimeIndex(of_camera.index).tz_convert("UTC").tz_localize(None).as_unit("us").asi8
        cars, known = (of_camera[name].to_numpy() for name in ("occupied_avg", "coverage"))
        cells = cells_of(pd.DatetimeIndex(of_camera["local_start"]), holidays)
        yield camera, positions, Seen(at, cars, known, cells, WIDTHS[width])


def bucket_of(seen: Seen, moment: datetime) -> int:
    """The position of the bucket in which a moment lies: so many are over then."""
    return max(int(np.searchsorted(seen.at, (moment - EPOCH) // MICROSECOND, "right")) - 1, 0)


def buckets_of(seen: Seen, start: datetime, end: datetime) -> Array:
    """The positions of the buckets that touch a range."""
    return np.arange(bucket_of(seen, start), int(np.searchsorted(seen.at, (end - EPOCH) // MICROSECOND)))
