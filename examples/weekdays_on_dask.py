"""Average occupancy of all cameras by weekday, weighed by time, from an archive on the workers of a Dask cluster.

    python examples/weekdays_on_dask.py ARCHIVE START END [SCHEDULER]

ARCHIVE is a folder or a URI like s3://bucket/folder that `timeseries archive` has written; START (inclusive) and END
(exclusive) are moments in ISO 8601 with an offset. Without the address of a SCHEDULER, two workers are started here.
It needs pip install 'dask[dataframe,distributed]', and nothing of this project.

The average is the one of the store: an observation stands until the next one of its camera, at most for the camera's
hold; a Tuesday begins at the camera's own midnight. The work is done in two steps:

1. each file by itself: the seconds that each count stood between neighbouring observations of the file, by local day;
2. after a shuffle by camera: the same between the last observation of one file and the first of the next. So what is
   carried in from the day before, or from days before, is exact, and no worker ever holds more than a file.
"""

from __future__ import annotations

import sys
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from dask.distributed import Client, LocalCluster
from pyarrow import fs

SUMS = ["camera_id", "weekday", "car_seconds", "known_seconds"]
# Of a file: sums have a weekday, 1 to 7; a row with the weekday 0 has the first and the last observation of a camera.
SUMMARY = pd.DataFrame(
    {
        "camera_id": pd.Series(dtype="object"),
        "weekday": pd.Series(dtype="int64"),
        "car_seconds": pd.Series(dtype="float64"),
        "known_seconds": pd.Series(dtype="float64"),
        "first_at": pd.Series(dtype="int64"),
        "last_at": pd.Series(dtype="int64"),
        "last_count": pd.Series(dtype="int64"),
    }
)
ANSWER = ["camera", "weekday", "occupied_avg", "coverage"]


def opened(archive: str) -> fs.FileSystem:
    if "://" not in archive:
        return fs.SubTreeFileSystem(archive, fs.LocalFileSystem())
    base, path = fs.FileSystem.from_uri(archive)
    return fs.SubTreeFileSystem(path, base)


def microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))) // timedelta(microseconds=1)


def midnights(zone: str, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each local day around [start, end) begins, in microseconds, and its weekday."""
    first, last = (date(1970, 1, 1) + timedelta(microseconds=at) for at in (start, end))
    days = [first + timedelta(days=day) for day in range(-2, (last - first).days + 4)]
    begins = [microseconds(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))) for day in days]
    return np.array(begins), np.array([day.isoweekday() for day in days])


def by_weekday(ids: np.ndarray, counts: np.ndarray, begins: np.ndarray, ends: np.ndarray, zone: str) -> pd.DataFrame:
    """How long counts stood, summed by camera and local weekday; each stood from a beginning to an end."""
    standing = ends > begins
    ids, counts, begins, ends = (column[standing] for column in (ids, counts, begins, ends))
    if not len(begins):
        return SUMMARY[SUMS]
    days, weekdays = midnights(zone, int(begins.min()), int(ends.max()))
    first = np.searchsorted(days, begins, "right") - 1
    number = np.searchsorted(days, ends, "left") - first  # of local days that each one touches
    piece_of = np.repeat(np.arange(len(begins)), number)
    day = first[piece_of] + np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
    seconds = (np.minimum(ends[piece_of], days[day + 1]) - np.maximum(begins[piece_of], days[day])) / 1e6
    pieces = pd.DataFrame(
        {
            "camera_id": ids[piece_of],
            "weekday": weekdays[day],
            "car_seconds": counts[piece_of] * seconds,
            "known_seconds": seconds,
        }
    )
    return pieces.groupby(["camera_id", "weekday"], as_index=False).sum()


def stood(rows: pd.DataFrame, cameras: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """Sums of rows `camera_id`, `count`, `begin`, `until`: each count stood at most for its camera's hold."""
    rows = rows.merge(cameras, on="camera_id")
    ends = np.minimum(np.minimum(rows["until"], rows["begin"] + rows["hold"]), end).to_numpy()
    begins = np.maximum(rows["begin"], start).to_numpy()
    ids, counts = rows["camera_id"].to_numpy(), rows["count"].to_numpy()
    zones = rows.groupby("timezone").indices
    return pd.concat([SUMMARY[SUMS], *(by_weekday(ids[i], counts[i], begins[i], ends[i], z) for z, i in zones.items())])


def summarize(paths: list[str], archive: str, cameras: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """The first step, of the files of one day: they are parts of it, because events came after the day was removed."""
    tables = [pq.ParquetFile(opened(archive).open_input_file(path)).read() for path in paths]
    rows = pa.concat_tables(
        [table.select(["camera_id", "timestamp", "occupied_count"]) for table in tables]
    ).to_pandas()
    rows["begin"] = rows["timestamp"].dt.as_unit("us").astype("int64")
    rows = rows[rows["begin"] < end].sort_values(["camera_id", "begin"], ignore_index=True)
    by_camera = rows.groupby("camera_id")
    rows["until"] = by_camera["begin"].shift(-1)
    inner = rows.dropna(subset="until").rename(columns={"occupied_count": "count"}).astype({"until": "int64"})
    edges = by_camera.agg(first_at=("begin", "first"), last_at=("begin", "last"), last_count=("occupied_count", "last"))
    edges = edges.reset_index().assign(weekday=0, car_seconds=0.0, known_seconds=0.0)
    sums = stood(inner, cameras, start, end).assign(first_at=0, last_at=0, last_count=0)
    return pd.concat([sums, edges])[list(SUMMARY)].astype(SUMMARY.dtypes)


def join(summaries: pd.DataFrame, cameras: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """The second step, of all summaries of some cameras."""
    edges = summaries[summaries["weekday"] == 0].sort_values(["camera_id", "first_at"])
    following = edges.groupby("camera_id")["first_at"].shift(-1, fill_value=end)
    between = edges[["camera_id"]].assign(count=edges["last_count"], begin=edges["last_at"], until=following)
    sums = pd.concat([summaries.loc[summaries["weekday"] > 0, SUMS], stood(between, cameras, start, end)])
    return sums.groupby(["camera_id", "weekday"], as_index=False).sum().astype(SUMMARY[SUMS].dtypes)


def spans(cameras: pd.DataFrame, start: int, end: int) -> pd.DataFrame:
    """Seconds of the range by camera and local weekday, of which coverage is a share."""
    whole = cameras[["camera_id"]].assign(count=0, begin=start, until=end)
    return stood(whole, cameras.assign(hold=end - start), start, end)


def weekdays(archive: str, start: datetime, end: datetime) -> pd.DataFrame:
    """A row per camera and local weekday (ISO: Monday 1 to Sunday 7) of [start, end): `occupied_avg` and `coverage`.

    The cameras' zones and holds are those that the archive's copy has. `end` must be in the past.
    """
    table = pq.read_table(opened(archive).open_input_file("cameras/cameras.parquet"))
    cameras = table.select(["camera_id", "name", "timezone", "hold_seconds"]).to_pandas()
    cameras["hold"] = (cameras["hold_seconds"] * 1e6).astype("int64")
    earliest = start - timedelta(seconds=float(cameras["hold_seconds"].max()))  # what stood when the range begins
    selector = fs.FileSelector("occupancy_events", recursive=True)
    files: dict[str, list[str]] = {}
    for info in opened(archive).get_file_info(selector):
        day = info.path.split("/")[1].removeprefix("day=")
        if info.is_file and f"{earliest.astimezone(ZoneInfo('UTC')):%Y-%m-%d}" <= day <= f"{end:%Y-%m-%d}":
            files.setdefault(day, []).append(info.path)
    bounds = microseconds(start), microseconds(end)
    known = cameras[["camera_id", "timezone", "hold"]]
    summaries = dd.from_map(summarize, list(files.values()), args=(archive, known, *bounds), meta=SUMMARY)
    sums = summaries.shuffle("camera_id").map_partitions(join, known, *bounds, meta=SUMMARY[SUMS]).compute()
    answer = sums.merge(spans(known, *bounds), on=["camera_id", "weekday"], suffixes=("", "_of_span"))
    answer["occupied_avg"] = answer["car_seconds"] / answer["known_seconds"]
    answer["coverage"] = answer["known_seconds"] / answer["known_seconds_of_span"]
    named = answer.merge(cameras.rename(columns={"name": "camera"}), on="camera_id")
    return named[ANSWER].sort_values(ANSWER[:2], ignore_index=True)


if __name__ == "__main__":
    archive, start, end, *scheduler = sys.argv[1:]
    cluster = scheduler[0] if scheduler else LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with Client(cluster):
        print(weekdays(archive, datetime.fromisoformat(start), datetime.fromisoformat(end)).to_csv(index=False), end="")
