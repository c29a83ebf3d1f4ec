"""``aiquant trade``: accounts that trade session by session."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, ParamOption, SetOption, StrategyOption, WorkspaceOption
from aiquant.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from aiquant.jobs.trade_status import Standing

app = typer.Typer()

_TAKEN_BACK = (
    "Orders that wait at a broker are taken back by aiquant trade: in seconds where it runs with --follow, "
    "else when you run it next (run it now). A paper account takes its orders back with its next session."
)

AccountOption = Annotated[str, typer.Option("--account", help="Name of the account.")]


@app.callback(
    invoke_without_command=True,
    epilog="Example: aiquant trade --paper --replay --weights weights.csv --from 2020-01-02",
)
def trade(
    context: typer.Context,
    paper: Annotated[bool, typer.Option("--paper", help="Simulated fills; nothing leaves this machine.")] = False,
    broker: Annotated[
        str | None, typer.Option(help="Where orders go: paper, alpaca …; default: the setting trade.broker.")
    ] = None,
    account: AccountOption = "paper",
    run_id: Annotated[
        str | None, typer.Option("--run", help="Run whose forecasts are traded; default: the account's, or the newest.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="File with date, symbol, weight (decided at the close of date).")
    ] = None,
    strategy: StrategyOption = None,
    param: ParamOption = None,
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First session of a new account; default: the newest."),
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last session; default: the newest.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="A new account begins with the first decision, and catches up.")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with the bars that come in, until stopped (Ctrl-C or SIGTERM).")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Real money: trade.live and trade.account_id have to agree.")
    ] = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trade an account up to the newest session: decisions, checked orders, fills, and a ledger of it all."""
    if context.invoked_subcommand is not None:
        return
    from aiquant.cli.stopping import until_told
    from aiquant.jobs import trade as job

    if paper and broker not in (None, "paper"):
        raise UsageError(f"--paper and --broker {broker} say different things", "say one of them")
    if param and strategy is None:
        raise UsageError("--param belongs to a strategy", "name it with --strategy")
    console = Console(as_json)
    days = [None if day is None else day.date() for day in (first, last)]
    asked = job.Asked(
        account=account,
        run_id=run_id,
        weights=weights,
        strategy=strategy,
        params=dict(options.params(param)),
        first=days[0],
        last=days[1],
        replay=replay,
        follow=follow,
        live=live,
    )
    opened = options.workspace(workspace, told, trade__broker="paper" if paper else broker)
    done = job.trade(opened, console.journal, asked, until_told())
    if not done.sessions:
        console.answer(done, f"No new session: account {account} is up to date.")
        return
    text = (
        f"{done.sessions:,} session(s) up to {done.last}: {done.accepted:,} orders given, {done.refused:,} refused, "
        f"{done.fills:,} fills. Equity {done.equity:,.2f}."
    )
    console.answer(done, text, *([f"Stopped: {done.stopped}"] if done.stopped else []))


@app.command(epilog="Example: aiquant trade status --account paper")
def status(
    account: Annotated[str | None, typer.Option("--account", help="Name of the account; default: all.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how the accounts stand: equity, positions, orders that wait, and whether they are stopped."""
    from aiquant.jobs import trade_status as job

    found = job.status(options.workspace(workspace), account)
    text = [part for standing in found for part in _standing(standing)]
    Console(as_json).answer({"accounts": found}, *(text or ["There is no account yet: aiquant trade --paper"]))


def _standing(told: Standing) -> list[object]:
    decisions = ", ".join(f"{name} {value}" for name, value in told.decisions.items() if isinstance(value, str))
    orders = ", ".join(f"{count:,} {status}" for status, count in told.orders.items()) or "none"
    return [
        f"Account {told.account} at {told.broker}, by {decisions}: {told.sessions:,} session(s) up to {told.last}",
        f"  equity {told.equity:,.2f} ({told.gained:+.2%}), cash {told.cash:,.2f}, "
        f"gross exposure {told.gross_exposure:.0%}, {told.fills:,} fills; orders: {orders}",
        *([f"  stopped: {told.stopped}"] if told.stopped else []),
        *([table(["symbol", "shares", "close", "value"], told.positions)] if told.positions else []),
        *([table(["waiting", "shares", "decided", "status", "order id"], told.working)] if told.working else []),
    ]


@app.command(epilog='Example: aiquant trade stop --why "the vendor sends nonsense"')
def stop(
    account: Annotated[str | None, typer.Option("--account", help="Name of the account; default: all.")] = None,
    why: Annotated[str, typer.Option(help="The reason, which is written beside each refused order.")] = "by hand",
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pull the kill switch: no order is given from now on; aiquant trade takes back those that wait."""
    from aiquant.jobs.trade_switch import EVERY, Switch

    switch = Switch(options.workspace(workspace), account)
    switch.stop(f"stopped: {why}")
    reason = switch.reason()
    Console(as_json).answer({"account": account, "stopped": reason}, f"{account or EVERY}: {reason}", _TAKEN_BACK)


@app.command(epilog="Example: aiquant trade resume")
def resume(
    account: Annotated[str | None, typer.Option("--account", help="Name of the account; default: all.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the kill switch back: orders are given again from the next decision on."""
    from aiquant.jobs.trade_switch import EVERY, Switch

    switch = Switch(options.workspace(workspace), account)
    was, still = switch.resume(), switch.reason()
    text = f"{account or EVERY}: {'was not stopped' if was is None else f'resumed ({was})'}"
    Console(as_json).answer(
        {"account": account, "was": was, "stopped": still}, text, *([f"still {still}"] if still else [])
    )


@app.command(epilog="Example: aiquant trade reconcile --account paper")
def reconcile(
    account: AccountOption = "paper",
    out: Annotated[
        Path | None, typer.Option(help="Write both curves to this file (.csv, .parquet, .arrow), or a page (.html).")
    ] = None,
    metrics: Annotated[
        Path | None, typer.Option(help="Write the difference to this file, for Prometheus' node exporter.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare an account with the backtest of the same days, to the cent; exit code 1 when they differ."""
    from aiquant.jobs import trade_reconcile as job

    console = Console(as_json)
    made = job.reconcile(options.workspace(workspace), account)
    if out is not None:
        job.write(made, out)
    if metrics is not None:
        job.measure(made, metrics)
    named = ["session", "account", "backtest", "difference"]
    days = [(day, *(None if value is None else f"{value:,.2f}" for value in values)) for day, *values in made.days]
    console.answer(made.to_dict(), *([table(named, days)] if days else []), made.sentence(), *made.reasons)
    if not made.equal:
        raise typer.Exit(CheckFailed.exit_code)
