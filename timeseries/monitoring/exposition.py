"""The text format of Prometheus, printed or served; what needs its client library imports it here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from timeseries.errors import ConfigurationError

try:
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ConfigurationError("metrics need prometheus-client: pip install 'occupancy-timeseries[metrics]'") from error

__all__ = [
    "Collector",
    "CounterMetricFamily",
    "GaugeMetricFamily",
    "HistogramMetricFamily",
    "Metric",
    "served",
    "text_of",
]


class _Ready(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def text_of(metrics: Iterable[Metric]) -> str:
    return generate_latest(_registry(_Ready(metrics))).decode()


@contextmanager
def served(collector: Collector, host: str, port: int) -> Iterator[int]:
    """A block in which the metrics are answered at /metrics, without TLS or password; gives the port, if it was 0.

    Raises ConfigurationError where nothing can listen there.
    """
    try:
        server, thread = start_http_server(port, host, _registry(collector))
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _registry(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry
