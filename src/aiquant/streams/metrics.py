"""Counters and lag of a consumer, for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from aiquant.errors import Unreachable


class Metrics:
    """What one process of ``aiquant stream consume`` tells; without a port it counts for itself alone.

    Parameters
    ----------
    port
        Served under ``http://127.0.0.1:<port>/metrics``, on the loopback interface only.

    Raises
    ------
    Unreachable
        When the port is taken.
    """

    def __init__(self, port: int | None = None) -> None:
        self.registry = CollectorRegistry()
        name = "aiquant_stream"
        self.messages = Counter(f"{name}_messages", "Messages that were read.", ["topic"], registry=self.registry)
        self.rows = Counter(f"{name}_rows", "Rows that were stored.", ["topic"], registry=self.registry)
        self.duplicates = Counter(f"{name}_duplicates", "Rows that were there.", ["topic"], registry=self.registry)
        self.letters = Counter(f"{name}_dead_letters", "Messages set aside.", ["topic"], registry=self.registry)
        self.fenced = Counter(f"{name}_fenced", "Batches thrown away for a rival's.", ["topic"], registry=self.registry)
        self.seconds = Histogram(
            f"{name}_batch_seconds", "Storing a batch, keys checked.", ["topic"], registry=self.registry
        )
        self.lag = Gauge(f"{name}_lag", "Messages that wait.", ["topic", "partition"], registry=self.registry)
        if port is not None:
            try:
                start_http_server(port, addr="127.0.0.1", registry=self.registry)
            except OSError as error:
                raise Unreachable(
                    f"metrics cannot be served on 127.0.0.1:{port}: {error.strerror}",
                    "choose another stream.metrics_port",
                ) from error

    def waiting(self, lag: Mapping[tuple[str, int], int]) -> None:
        """Show the lag of the partitions that are ours now, and of no others."""
        self.lag.clear()
        for (topic, partition), messages in lag.items():
            self.lag.labels(topic, str(partition)).set(messages)


class LiveMetrics(Metrics):
    """What one process of ``aiquant stream live`` tells besides."""

    def __init__(self, port: int | None = None) -> None:
        super().__init__(port)
        name, by, where = "aiquant_live", ["set"], self.registry
        self.made = Counter(f"{name}_rows", "Rows of features that were stored.", by, registry=where)
        self.again = Counter(
            f"{name}_recomputed_rows", "Rows that a late or corrected bar touched.", by, registry=where
        )
        self.held = Gauge(f"{name}_waiting_bars", "Bars whose slot is not complete.", by, registry=where)
        self.unsent = Gauge(f"{name}_unsent_symbols", "Symbols that wait for the online store.", by, registry=where)
        self.delay = Histogram(
            f"{name}_delay_seconds",
            "From a bar's close to its features in the online store.",
            by,
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
            registry=where,
        )
