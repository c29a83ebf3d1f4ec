"""Back-fill: rows a second to the lake, and how many requests are in flight at the vendor's limit.

Usage: ``python benchmarks/backfill.py [--symbols 40] [--days 120] [--latency 0.1]``

Minute bars of the simulated vendor, which answers each request after ``--latency`` seconds as a far server does. The
simulator runs in a process of its own, so that its work is not counted as ours. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import multiprocessing.connection
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiquant.jobs import backfill, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.simulate import environment
from aiquant.settings import PolygonSettings, SimulatorSettings, from_values
from aiquant.sources.base import Query
from aiquant.sources.polygon import parse
from aiquant.sources.polygon.source import Polygon
from aiquant.sources.simulator.server import Simulator
from aiquant.sources.simulator.wire import Request, Response


def serve(symbols: int, latency_s: float, pipe: multiprocessing.connection.Connection) -> None:
    """The vendor, until told to stop."""
    with Simulator(SimulatorSettings(port=0, symbols=symbols, speed=1e-6)) as simulator:
        replies: dict[str, Response] = {}
        plain = simulator.massive.answer

        def remembered(request: Request, origin: str) -> Response:
            """Its own work is done once, before the clock runs."""
            asked = f"{request.path} {sorted(request.query.items())}"
            if asked not in replies:
                replies[asked] = plain(request, origin)
            return replies[asked]

        simulator.massive.answer = remembered  # type: ignore[method-assign]
        simulator.latency_s = latency_s
        told = (simulator.settings(), environment(simulator), simulator.clock.now().date())
        pipe.send((*told, [c.symbol for c in simulator.market.companies]))
        pipe.recv()
        pipe.send((len(simulator.requests), simulator.most_in_flight))


def decode_alone(rows: int = 50_000) -> float:
    """Rows a second of one page of minute bars, from JSON bytes to our schema."""
    from aiquant.sources.http import decode

    page = [
        {
            "v": 1000.0 + i,
            "vw": 10.5,
            "o": 10.0,
            "c": 10.5,
            "h": 11.0,
            "l": 9.5,
            "t": 1_600_000_000_000 + i * 60_000,
            "n": 9,
        }
        for i in range(rows)
    ]
    raw = json.dumps({"results": page}).encode()
    best = 1e9
    for _ in range(5):
        begin = time.perf_counter()
        batch = parse.bars(decode(raw)["results"], "p", "1m", False, "AAPL")
        best = min(best, time.perf_counter() - begin)
        assert batch.rows.num_rows == rows
    return rows / best


def main() -> dict[str, Any]:
    """Run it for a growing number of requests in flight."""
    told = argparse.ArgumentParser()
    told.add_argument("--symbols", type=int, default=40)
    told.add_argument("--days", type=int, default=60)
    told.add_argument("--latency", type=float, default=0.1)
    asked = told.parse_args()
    result: dict[str, Any] = {"decode_rows_per_s": round(decode_alone())}
    ours, theirs = multiprocessing.Pipe()
    vendor = multiprocessing.get_context("spawn").Process(target=serve, args=(asked.symbols, asked.latency, theirs))
    vendor.start()
    settings, _, today, symbols = ours.recv()
    span = (today - timedelta(days=asked.days), today - timedelta(days=1))
    for concurrency in (16, 1, 4, 16):  # the first round fills the vendor's memory
        section = PolygonSettings(**{**settings["polygon"], "concurrency": concurrency, "page_size": 5000})
        begin = time.perf_counter()
        rows = sum(
            b.rows.num_rows for b in Polygon(section).history("bars", Query(tuple(symbols), *span, interval="1m"))
        )
        seconds = time.perf_counter() - begin
        result[f"vendor_to_rows_{concurrency}_in_flight"] = {"rows": rows, "rows_per_s": round(rows / seconds)}
    with tempfile.TemporaryDirectory() as folder:
        place = workspace.create(Path(folder) / "ws")
        place.__dict__["settings"] = from_values(
            {"polygon": {**settings["polygon"], "concurrency": 16, "page_size": 5000}}
        )
        begin = time.perf_counter()
        done = backfill.backfill(place, Journal(), "bars", "polygon", tuple(symbols), *span, interval="1m")
        seconds = time.perf_counter() - begin
        result["vendor_to_lake"] = {
            "rows": done.rows,
            "rows_per_s": round(done.rows / seconds),
            "seconds": round(seconds, 2),
        }
    ours.send("stop")
    requests, most = ours.recv()
    vendor.join(20)
    result |= {"requests": requests, "most_in_flight_seen_by_the_vendor": most, "latency_s": asked.latency}
    return result


if __name__ == "__main__":
    print(json.dumps(main(), indent=2))
