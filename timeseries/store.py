"""The store: one object for ingest code and the control plane.

Methods import NumPy, PyArrow, pandas and Alembic themselves, so that an edge device and a light command start without
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from timeseries.access.keyring import Keyring
from timeseries.access.rotation import Keys
from timeseries.cameras import Camera, Cameras, Groups
from timeseries.database import embedded
from timeseries.database.connections import Pool, connected, open_pool
from timeseries.database.server import Server, identify_database, inspect_server
from timeseries.maintenance import refresh, retention
from timeseries.maintenance.jobs import Jobs
from timeseries.maintenance.policies import Policies
from timeseries.maintenance.retainer import Retainer
from timeseries.maintenance.retention_record import lengthen_keep
from timeseries.model.events import Event, RecordResult, Rejection
from timeseries.periods import Periods
from timeseries.progress import Progress
from timeseries.schema.revisions import require_current, revision_of
from timeseries.settings import Settings
from timeseries.writer.writer import OnFull, Writer

if TYPE_CHECKING:
    from timeseries.archive.check import CheckResult
    from timeseries.archive.run import ArchiveResult
    from timeseries.averages.configuring import OnConflict as OnAveragesConflict
    from timeseries.averages.export import AveragesExport
    from timeseries.averages.importing import AveragesImport
    from timeseries.backup.dump import BackupResult
    from timeseries.files.export import ExportResult
    from timeseries.files.import_feed import FeedFormat
    from timeseries.files.importing import ImportResult
    from timeseries.ingest.record import OnConflict
    from timeseries.monitoring.status import Status


def resolve_url(url: str | None = None, settings: Settings | None = None) -> str:
    """The URL given, else the environment's, else that of the embedded server, which is started."""
    settings = settings or Settings.from_environment()
    return url or settings.database_url or embedded.start(settings)


class Store:
    """A migrated database: cameras, events and averages. Safe to share between threads; close it, or use `with`.

    Its attributes `cameras`, `groups`, `periods`, `policies`, `jobs` (the background jobs) and `keys` have methods of
    their own.
    """

    def __init__(self, url: str, pool: Pool, keyring: Keyring, settings: Settings) -> None:
        self.url = url
        self.pool = pool
        self.settings = settings
        self.cameras = Cameras(pool, keyring)
        self.periods = Periods(pool, self.cameras)
        self.groups = Groups(pool, self.cameras)
        self.policies = Policies(pool)
        self.jobs = Jobs(pool)
        self.keys = Keys(pool, keyring)
        self._retainer = Retainer(url, settings.keep)

    def __repr__(self) -> str:
        return "Store()"

    @classmethod
    def open(cls, url: str | None = None, *, settings: Settings | None = None, pool_size: int | None = None) -> Store:
        """Open a store by URL (`postgresql://`, `postgres://`, `postgresql+psycopg://`, `timescaledb://` or
        `timescaledb+psycopg://`), else by the environment, else on the embedded server, which is then also migrated,
        and pruned in the background once a day. `TIMESERIES_KEEP` is recorded in the database, unless a longer one was.
        The store has `pool_size` connections at most, by default `TIMESERIES_POOL_SIZE`; they are opened when needed.

        Raises:
            ConfigurationError: a malformed URL or key, or a server that cannot work as it is set up.
            InvalidInputError: `TIMESERIES_KEEP` is shorter than two days, or `pool_size` is below 1.
            ServerUnavailableError: the server is away.
            NotMigratedError: the database has another version of the schema.
        """
        settings = settings or Settings.from_environment()
        embedded = not (url or settings.database_url)
        url = resolve_url(url, settings)
        keyring = Keyring(settings.secret_key)
        size = settings.pool_size if pool_size is None else pool_size
        pool = open_pool(url, max_size=size, deadline=settings.call_deadline.total_seconds())
        try:
            with connected(pool) as connection:
                if embedded and revision_of(connection) is None:
                    from timeseries.schema.migrations import migrate

                    migrate(url)
                require_current(connection)
                if settings.keep is not None:
                    lengthen_keep(connection, settings.keep)
        except BaseException:
            pool.close()
            raise
        store = cls(url, pool, keyring, settings)
        if embedded:
            store._retainer.start("the embedded server's store")
        return store

    def record(self, events: Iterable[Event], *, on_conflict: OnConflict = "ignore") -> RecordResult:
        """Store events of both kinds; committed on return, idempotent, in every average at once.

        With `on_conflict="replace"` an event takes the place of a stored one of the same camera and time.

        A bad event comes back in `rejected` with its index and reason; the others are stored. Raises
        ServerUnavailableError where the server is away: the same call can be made again, nothing is stored twice.
        """
        from timeseries.ingest import record

        return record.record(self.pool, events, on_conflict)

    def record_frame(self, frame: Any, *, on_conflict: OnConflict = "ignore") -> RecordResult:
        """Store a table of events: a pandas DataFrame, an Arrow table, or anything that offers Arrow's stream (Polars).

        Columns: `camera` (name or id) or `camera_id`, `timestamp` (zoned, or ISO 8601 with an offset), then
        `occupied_count` and perhaps `raw_data`, or `status` and perhaps `message`. Text in `raw_data` is JSON; objects
        in a DataFrame are written as JSON each by itself, an Arrow struct with all of its fields. The guarantees are
        those of `record`; the index of a rejection is the position of its row.

        Raises InvalidInputError where columns are missing, ServerUnavailableError where the server is away.
        """
        from timeseries.ingest import frames

        return frames.record_table(self.pool, self.cameras, frame, on_conflict)

    def writer(
        self,
        *,
        batch_size: int = 5_000,
        flush_interval: float = 1.0,
        max_pending: int = 100_000,
        on_full: OnFull = "block",
        on_rejected: Callable[[Rejection], None] | None = None,
        spool: Path | str | None = None,
        keep_delivered: float = 0.0,
        close_timeout: float = 60.0,
        deadline: float | None = None,
    ) -> Writer:
        """A writer that stores in the background; `timeseries.writer.writer.Writer` explains the settings. `deadline`
        is `TIMESERIES_BATCH_DEADLINE` by default.

        With the first writer the store also prunes in the background, once a day, where TimescaleDB runs no policies.
        """
        from timeseries.ingest import record

        self._retainer.start("a writer's store")
        return Writer(
            partial(record.record, self.pool), batch_size=batch_size, flush_interval=flush_interval,
            max_pending=max_pending, on_full=on_full, on_rejected=on_rejected, spool=spool, close_timeout=close_timeout,
            keep_delivered=keep_delivered, identify=self._identify,
            deadline=self.settings.batch_deadline.total_seconds() if deadline is None else deadline,
        )  # fmt: skip

    def _identify(self) -> str | None:
        with connected(self.pool) as connection:
            return identify_database(connection)

    def import_file(
        self,
        events: Path | str,
        cameras: Path | str | None = None,
        groups: Path | str | None = None,
        *,
        connections: int = 2,
        naive_timezone: str | None = None,
        match_names: bool = False,
        progress: Progress = None,
    ) -> ImportResult:
        """Store a file of events: CSV, gzipped CSV, Parquet, or a SQLite database with its cameras, which alone knows
        `match_names`; with files of `cameras` and `groups`, which are made before. See
        `timeseries.files.importing.import_file`.
        """
        from timeseries.files import importing

        return importing.import_file(
            self.pool, self.cameras, Path(events), Path(cameras) if cameras is not None else None,
            (self.groups, Path(groups)) if groups is not None else None, connections=connections,
            naive_timezone=naive_timezone, match_names=match_names, progress=progress,
        )  # fmt: skip

    def import_feed(
        self,
        path: Path | str,
        *,
        format: FeedFormat = "parkapi",  # noqa: A002 - as the option is called
        source: str | None = None,
        timezone: str | None = None,
        naive_timezone: str | None = None,
    ) -> ImportResult:
        """Store what the parking sites of a feed report: JSON of ParkAPI v3 (`"parkapi"`), or XML of DATEX II 2.3
        (`"datex2"`: a ParkingTablePublication, then each ParkingStatusPublication), perhaps gzipped.

        A site becomes a camera when it is new: `timezone` is then that of all sites, which the feed does not say.
        Cameras that exist are left as they are. A camera's id is made of the site's uid and of whose site it is, so
        that each feed finds the same: `source` says it, or the feed's `source_id` or creator. What is occupied are the
        spaces that are not free. Naive timestamps are refused, unless `naive_timezone` says whose clocks they are of.

        A site without a number, or with one that cannot be, is a rejected row that names it; the others are stored.

        Raises InvalidInputError where the file is no such feed, or says nowhere whose sites they are or, of new ones,
        in which time zone.
        """
        from timeseries.files import import_feed

        return import_feed.import_feed(
            self.pool, self.cameras, Path(path),
            format=format, source=source, timezone=timezone, naive_timezone=naive_timezone,
        )  # fmt: skip

    def prune(self, keep: timedelta | None = None, *, progress: Progress = None) -> retention.PruneResult:
        """Remove raw rows older than `keep`, by default `TIMESERIES_KEEP`, else what the database records; the averages
        stay. Where there is a `keep`, it is recorded and rules from now on. See
        `timeseries.maintenance.retention.prune`.
        """
        return retention.prune(self.pool, keep, default=self.settings.keep, progress=progress)

    def export(
        self,
        relation: str,
        path: Path | str,
        *,
        of: Sequence[Camera | UUID | str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        progress: Progress = None,
    ) -> ExportResult:
        """Write events, an aggregate, the cameras or the groups to a CSV or Parquet file; see
        `timeseries.files.export.export`.
        """
        from timeseries.files import export

        return export.export(
            self.pool, self.cameras, relation, Path(path), of=of, start=start, end=end, progress=progress
        )

    def export_averages(
        self,
        folder: Path | str,
        *,
        of: Sequence[Camera | UUID | str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        finalized: bool = False,
        progress: Progress = None,
    ) -> AveragesExport:
        """Write the averages of cameras into a folder, for another store, with their groups and periods; see
        `timeseries.averages.export.export_averages`.
        """
        from timeseries.averages import export

        return export.export_averages(
            self.pool, self.cameras, Path(folder), of=of, start=start, end=end, finalized=finalized, progress=progress
        )

    def import_averages(
        self,
        folder: Path | str,
        *,
        mapping: Mapping[str, Camera | UUID | str] | None = None,
        on_conflict: OnAveragesConflict = "refuse",
        progress: Progress = None,
    ) -> AveragesImport:
        """Take over the averages that another store wrote; see `timeseries.averages.importing.import_averages`."""
        from timeseries.averages import importing

        return importing.import_averages(
            self.pool, self.cameras, Path(folder), mapping=mapping, on_conflict=on_conflict, progress=progress
        )

    def archive(self, destination: Path | str, *, progress: Progress = None) -> ArchiveResult:
        """Write days of raw rows as Parquet to a folder or an object store (`s3://…`); retention waits for it from then
        on. See `timeseries.archive.run.archive`.
        """
        from timeseries.archive import run

        return run.archive(self.pool, self.url, destination, progress=progress)

    def check_archive(self, destination: Path | str, *, progress: Progress = None) -> CheckResult:
        """Read the archive back and compare it with what was written; see `timeseries.archive.check.check`."""
        from timeseries.archive import check

        return check.check(self.pool, destination, progress=progress)

    def stop_archive(self) -> str:
        """Forget the archive, whose files stay, and let retention go on without it; where it was.

        Raises ConfigurationError where there is none.
        """
        from timeseries.archive import run

        return run.stop(self.pool, self.url)

    def backup(self, path: Path | str, *, progress: Progress = None) -> BackupResult:
        """Write the whole database as it is now into a file; `timeseries.backup.dump.backup` says how, and
        `timeseries.restore` puts it into another database.
        """
        from timeseries.backup import dump

        return dump.backup(self.url, Path(path), settings=self.settings, progress=progress)

    def refresh(
        self, start: datetime | None = None, end: datetime | None = None, *, progress: Progress = None
    ) -> tuple[refresh.Refreshed, ...]:
        """Compute the aggregates of a range again; nothing is erased. See `timeseries.maintenance.refresh.refresh`."""
        return refresh.refresh(self.pool, start, end, progress=progress)

    def status(self) -> Status:
        """What the store holds, and what needs an operator; see `timeseries.monitoring.status.read_status`."""
        from timeseries.monitoring.status import read_status

        return read_status(self.pool, self.settings.keep)

    def role_deviations(self) -> list[str]:
        """Privileges of database roles that deviate from their grants, a sentence each with the remedy."""
        from timeseries.access.roles import find_deviations

        with connected(self.pool) as connection:
            return find_deviations(connection)

    def server(self) -> Server:
        """Kind and versions of the server."""
        with connected(self.pool) as connection:
            return inspect_server(connection)

    def close(self) -> None:
        """Give the connections back. Pruning in the background ends after its day, in four seconds at most."""
        self._retainer.close()
        self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
