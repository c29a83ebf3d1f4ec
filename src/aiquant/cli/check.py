"""``aiquant check``: checks that try to prove a result wrong."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, ParamOption, SetOption, StrategyOption, WorkspaceOption
from aiquant.errors import CheckFailed

app = typer.Typer()


@app.callback()
def _checks() -> None:
    """Checks that try to prove a result wrong."""


@app.command("leakage", epilog="Example: aiquant check leakage --features all --cuts 8")
def leakage_(
    model: Annotated[str | None, typer.Option(help="Forecaster; default: the setting learning.model.")] = None,
    cuts: Annotated[int | None, typer.Option(min=1, help="Random times at which history is cut.")] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET", help="Check this set of features alone, without a model (repeatable); all: every set."
        ),
    ] = None,
    strategy: StrategyOption = None,
    param: ParamOption = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Run whose forecasts the strategy sees.")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut history at random times, compute again, and demand that nothing before the cut changes."""
    from aiquant.jobs import leakage, leakage_sets, strategies, strategy_checks

    console = Console(as_json)
    opened = options.workspace(workspace, told, learning__model=model, leakage__cuts=cuts)
    verdict: leakage.Verdict
    if strategy is not None:
        chosen = strategies.choose(opened, strategy, options.params(param))
        verdict = strategy_checks.leakage(opened, console.journal, chosen, run_id)
    elif features:
        verdict = leakage_sets.check(opened, console.journal, features)
    else:
        verdict = leakage.check(opened, console.journal)
    rows = [(c.at, c.what, c.compared, c.differing, c.example or "") for c in verdict.comparisons]
    console.answer(
        verdict.to_dict(),
        table(["cut at", "compared", "values", "differing", "example"], rows),
        verdict.sentence(),
    )
    if not verdict.passed:
        raise typer.Exit(CheckFailed.exit_code)


@app.command(epilog="Example: aiquant check recursive --strategy sma-cross --param slow=50")
def recursive(
    strategy: StrategyOption = None,
    param: ParamOption = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Run whose forecasts the strategy sees.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Changes of a weight up to this are none.")] = 1e-6,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a strategy less and more history, and tell from how much on its decisions no longer move."""
    from aiquant.jobs import strategies, strategy_checks

    console = Console(as_json)
    opened = options.workspace(workspace, told)
    chosen = strategies.choose(opened, strategy, options.params(param))
    found = strategy_checks.recursive(opened, console.journal, chosen, run_id, tolerance)
    rows = [(w.length, w.compared, w.moved, w.largest) for w in found.lengths]
    late = sorted(found.symbols.items(), key=lambda pair: (pair[1] is not None, -(pair[1] or 0)))[:10]
    console.answer(
        strategy_checks.told(found),
        table(["history given", "decisions", "moved", "largest change of a weight"], rows),
        table(["symbol", "settles at"], [(name or "(no book)", settles) for name, settles in late], "the slowest"),
        found.sentence(),
    )
    if not found.passed:
        raise typer.Exit(CheckFailed.exit_code)


@app.command(epilog="Example: aiquant check parity --set all --days 5")
def parity(
    name: Annotated[
        str | None, typer.Option("--set", help="Feature set, or all; default: the setting features.set.")
    ] = None,
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="The last day looked at.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="How many days with bars.")] = 1,
    spark: Annotated[bool, typer.Option("--spark", help="Compute with Spark as well (extra spark).")] = False,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute days again in batch and bar by bar, and demand what stream and online store said, to the last bit."""
    from aiquant.jobs import parity as job

    console = Console(as_json)
    opened = options.workspace(workspace, None)
    verdict = job.check(
        opened, console.journal, [name] if name else [], None if day is None else day.date(), days, spark
    )
    rows = [
        (w.set, w.way, "–" if w.rows is None else w.rows, w.values, w.differing, w.first or "") for w in verdict.ways
    ]
    console.answer(
        verdict.to_dict(), table(["set", "way", "rows", "values", "differing", ""], rows), verdict.sentence()
    )
    if not verdict.passed:
        raise typer.Exit(CheckFailed.exit_code)
