"""``aiquant demo``: the whole way on real prices, and what to try next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console
from aiquant.cli.options import JsonOption, SetOption

if TYPE_CHECKING:
    from aiquant.jobs.run import Ran


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant demo --workspace my-demo")(demo)


def demo(
    folder: Annotated[
        Path, typer.Option("--workspace", "-w", metavar="DIR", help="Where the demo's workspace is made.")
    ] = Path("aiquant-demo"),
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """The whole way on real prices: no key, no network, no server."""
    from aiquant.jobs import demo as job

    console = Console(as_json)
    if not as_json:
        console.say(job.ABOUT, "")
    done = job.demo(folder, console.journal, options.overrides(told))
    console.answer(done.to_dict(), *conclusion(done), *_next(folder))


def conclusion(done: Ran) -> list[object]:
    """What a run came to, for a person."""
    return [
        "",
        *summary.set_aside(done.ingested),
        summary.forecasts(done.judgement),
        summary.strategies(done.backtest.figures),
        *summary.honest(done.judgement, done.backtest.figures),
        done.leakage["sentence"],
        *summary.gate(
            done.evaluated.verdict, done.evaluated.reasons, done.evaluated.model_version, done.evaluated.aliases
        ),
        f"The report: {done.report}",
    ]


def _next(folder: Path) -> list[str]:
    return [
        "",
        "Try next:",
        f"  aiquant check leakage -w {folder}            does anything look into the future?",
        f'  aiquant lake sql -w {folder} "select symbol, min(date), max(date), count(*) from bars group by symbol"',
        "  aiquant init research && aiquant run -w research --source files --path YOUR.csv",
    ]
