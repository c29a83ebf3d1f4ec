"""``aiquant simulate``: a market that never was, behind the vendors' own interfaces."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console
from aiquant.cli.options import JsonOption, SetOption

if TYPE_CHECKING:
    from aiquant.sources.simulator.server import Simulator


def simulate(
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[:TIMES[:PATH]]", help="What goes wrong, e.g. 429:3 or cut:1:/v3/trades (repeatable)."
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="HTTP port; the WebSocket takes the next one.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of prices, news and posts.")] = None,
    speed: Annotated[float | None, typer.Option(help="Simulated seconds a second.")] = None,
    start: Annotated[
        datetime | None, typer.Option(help="Simulated present (UTC); default: the open of the last session.")
    ] = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve a seeded market with news and posts in the wire formats of Massive, NewsAPI and X, on loopback."""
    from aiquant import settings
    from aiquant.jobs import simulate as job

    overrides = options.merged(told, simulator__port=port, simulator__seed=seed, simulator__speed=speed)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def started(simulator: Simulator) -> None:
        if as_json:
            symbols = [company.symbol for company in simulator.market.companies]
            Console(as_json).answer({"environment": job.environment(simulator), "symbols": symbols})
            sys.stdout.flush()
            return
        print(f"# {len(simulator.market.companies)} companies; it is {simulator.clock.now():%Y-%m-%d %H:%M} UTC there.")
        print("# symbols:", ",".join(company.symbol for company in simulator.market.companies[:10]))
        print("# in another shell:")
        for name, value in job.environment(simulator).items():
            print(f"export {name}='{value}'")
        print("# then for example: aiquant stream produce ticks. Stop with Ctrl-C.", flush=True)

    begin = start.replace(tzinfo=UTC) if start is not None and start.tzinfo is None else start
    served = job.simulate(settings.load(None, overrides), stop, tuple(fault or ()), begin, started)
    if not as_json:
        print(f"# {served:,} requests answered.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example: aiquant simulate --speed 60 --fault 429:3")(simulate)
