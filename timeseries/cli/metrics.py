"""`metrics`."""

from __future__ import annotations

import signal
import threading

import click

from timeseries import resolve_url
from timeseries.errors import InvalidInputError
from timeseries.settings import Settings


@click.command()
@click.option("--listen", metavar="HOST:PORT", help="Go on and answer Prometheus there, like 127.0.0.1:9464.")
@click.option(
    "--every", default=30.0, show_default=True, type=click.FloatRange(min=1), metavar="SECONDS",
    help="With --listen: read the store so often, however often Prometheus asks.",
)  # fmt: skip
@click.pass_obj
def metrics(url: str | None, listen: str | None, every: float) -> None:
    """Print how the store is in the text format of Prometheus, or be an exporter.

    Sizes, lag, background jobs, retention, and how many cameras are silent; no metric has a label per camera. The role
    of a reader is enough. The database is that of --database-url, else of TIMESERIES_READ_URL, else as for every
    command. Needs the extra metrics: pip install 'occupancy-timeseries[metrics]'.
    """
    from timeseries.monitoring.exposition import served, text_of
    from timeseries.monitoring.store_metrics import StoreCollector, read_metrics

    settings = Settings.from_environment()
    url = url or settings.read_url or resolve_url(settings=settings)
    if listen is None:
        click.echo(text_of(read_metrics(url)), nl=False)
        return
    with StoreCollector(url, every=every) as collector, served(collector, *address(listen)) as port:
        click.echo(f"http://{listen.rpartition(':')[0]}:{port}/metrics", err=True)
        wait_for_the_end()


def wait_for_the_end() -> None:
    """Until SIGTERM or SIGINT; as process 1 of a container this one has no default for them."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


def address(text: str) -> tuple[str, int]:
    """Raises InvalidInputError where it is no host and port."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) < 2**16:
        raise InvalidInputError(f"--listen {text}: it must be a host and a port, like 127.0.0.1:9464")
    return host.strip("[]"), int(port)
