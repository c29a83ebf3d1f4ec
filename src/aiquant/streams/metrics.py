"""Counters and lag of a consumer, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server, write_to_textfile

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
        _serve(port, self.registry, "stream.metrics_port")

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


class TradeMetrics:
    """What an account that trades tells; without a port it counts for itself alone.

    Parameters
    ----------
    port
        As :class:`Metrics`.
    """

    def __init__(self, port: int | None = None) -> None:
        self.registry = CollectorRegistry()
        name, by, where = "aiquant_trade", ["account"], self.registry
        self.sessions = Counter(f"{name}_sessions", "Sessions that were written.", by, registry=where)
        self.orders = Counter(f"{name}_orders", "Orders by what became of them.", [*by, "status"], registry=where)
        self.fills = Counter(f"{name}_fills", "Fills.", by, registry=where)
        self.equity = Gauge(f"{name}_equity", "Equity at the last close.", by, registry=where)
        self.stopped = Gauge(f"{name}_stopped", "1 while the kill switch is on.", by, registry=where)
        self.difference = Gauge(
            f"{name}_reconciliation_difference",
            "Largest difference of equity to the backtest of the same days, in currency.",
            by,
            registry=where,
        )
        _serve(port, self.registry, "trade.metrics_port")

    def session(self, account: str, rows: Iterable[Mapping[str, Any]], equity: float, stopped: bool) -> None:
        """Count a session: ``rows`` of the ledger."""
        self.sessions.labels(account).inc()
        for row in rows:
            if row["kind"] == "fill":
                self.fills.labels(account).inc()
            elif row["kind"] == "order":
                self.orders.labels(account, row["status"]).inc()
        self.equity.labels(account).set(equity)
        self.stopped.labels(account).set(stopped)

    def write(self, path: Path) -> None:
        """Put all into a file that Prometheus' node exporter reads, whole or not at all."""
        write_to_textfile(str(path), self.registry)


def _serve(port: int | None, registry: CollectorRegistry, setting: str) -> None:
    if port is None:
        return
    try:
        start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise Unreachable(
            f"metrics cannot be served on 127.0.0.1:{port}: {error.strerror}", f"choose another {setting}"
        ) from error
