"""The counters of writers as metrics of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from timeseries.monitoring.exposition import (
    Collector,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from timeseries.writer.tally import BOUNDS
from timeseries.writer.writer import Writer

COUNTERS = {
    "accepted": "Events accepted, those found in the spool too.",
    "stored": "Events stored.",
    "duplicates": "Events that were stored before.",
    "retries": "Attempts to store a batch that failed.",
    "damaged": "Records of the spool that are unreadable or missing.",
}
GAUGES = {
    "pending": "Events accepted and not yet stored or rejected.",
    "oldest_seconds": "How long the oldest pending event waits; 0 where nothing waits.",
    "silent_seconds": "How long the call to the server has waited for a byte; 0 where there is none.",
    "spool_bytes": "The spool on disk; 0 without one.",
}
PREFIX = "timeseries_writer_"


class WriterCollector(Collector):
    """The counters of writers, for a registry: `prometheus_client.REGISTRY.register(WriterCollector(gate=writer))`.

    Each writer has a name, which is the label `writer`. A closed writer stays with its last numbers.
    """

    def __init__(self, **writers: Writer) -> None:
        """The writers by their names."""
        self.writers: Mapping[str, Writer] = writers

    def describe(self) -> list[Metric]:
        """No metric is asked for when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics, each with a sample per writer; `prometheus_client` calls this at each scrape."""
        states = {name: writer.state for name, writer in self.writers.items()}
        for field, text in COUNTERS.items():
            counter = CounterMetricFamily(PREFIX + field, text, labels=["writer"])
            for name, state in states.items():
                counter.add_metric([name], getattr(state, field))
            yield counter
        for field, text in GAUGES.items():
            gauge = GaugeMetricFamily(PREFIX + field, text, labels=["writer"])
            for name, state in states.items():
                gauge.add_metric([name], getattr(state, field) or 0)
            yield gauge
        rejected = CounterMetricFamily(PREFIX + "rejected", "Events rejected, by kind.", labels=["writer", "reason"])
        batches = HistogramMetricFamily(PREFIX + "batch_seconds", "How long stored batches took.", labels=["writer"])
        for name, state in states.items():
            for reason, number in state.rejected_by.items():
                rejected.add_metric([name, reason], number)
            bounds = [str(bound).replace("inf", "+Inf") for bound in BOUNDS]
            batches.add_metric([name], list(zip(bounds, accumulate(state.batches), strict=True)), state.batch_seconds)
        yield from (rejected, batches)
