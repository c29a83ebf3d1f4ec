"""The tables and sentences in which results are told to a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from aiquant.cli.console import table

if TYPE_CHECKING:
    from aiquant.jobs.ingest import Ingested

LETTERS = 'See them with: aiquant lake sql "select place, reason, payload from dead_letters limit 20"'


def strategies(figures: Mapping[str, Mapping[str, Any]]) -> Any:
    """The strategy beside the books it has to beat."""
    rows = []
    for name, f in figures.items():
        rows.append(
            (
                name,
                percent(f["annual_return"]),
                percent(f["volatility"]),
                interval(f["sharpe"], f["sharpe_low"], f["sharpe_high"]),
                percent(f["max_drawdown"]),
                number(f["annual_turnover"], "×"),
                percent(f["annual_costs"]),
            )
        )
    columns = [
        "net of costs",
        "return a year",
        "volatility",
        "Sharpe (95 %)",
        "max. drawdown",
        "turnover a year",
        "costs a year",
    ]
    return table(columns, rows)


def set_aside(done: Ingested | None) -> list[str]:
    """What became of the rows of a source, if one was read."""
    if done is None:
        return []
    told = f"Taken in: {done.rows:,} rows of {done.symbols:,} symbol(s). Set aside: {done.dead_letters:,} row(s)"
    if not done.dead_letters:
        return [f"{told}."]
    reasons = "; ".join(f"{reason} ({count:,})" for reason, count in list(done.reasons.items())[:3])
    return [f"{told}: {reasons}.", f"  {LETTERS}"]


def forecasts(judgement: Mapping[str, Any]) -> str:
    """Out-of-sample rank IC in one line."""
    if not judgement["dates"]:
        return "Out of sample there is no date whose forecasts can be judged."
    return (
        f"Out of sample, {judgement['first']} to {judgement['last']}: rank IC {number(judgement['rank_ic'], digits=4)} "
        f"(t = {number(judgement['rank_ic_t'], digits=2)}, Newey–West, {judgement['dates']:,} dates whose outcome is "
        "known)"
    )


def judgement(told: Mapping[str, Any]) -> list[Any]:
    """Where the edge is and how long it lasts, as a table, and whether forecasts are right in size."""
    rows = [
        (what, number(row["rank_ic"], digits=4), number(row["rank_ic_t"]), f"{row['dates']:,}")
        for what, row in [
            *((f"over {row['horizon']} bars", row) for row in told["decay"]),
            *((f"{name}: {row['group']}", row) for name, rows in told["groups"].items() for row in rows),
        ]
    ]
    accuracy = told["accuracy"]
    lines: list[Any] = [table(["rank IC", "mean", "t", "dates"], rows)] if rows else []
    if accuracy.get("r2") is not None:
        lines.append(
            f"Against forecasting 0: R² {100 * accuracy['r2']:.2f} % (Diebold–Mariano t = {number(accuracy['dm_t'])}); "
            f"slope of outcome on forecast {number(accuracy['slope'])} ± {number(accuracy['slope_error'])}."
        )
    return lines


def evaluation(told: Mapping[str, Any] | None) -> list[Any]:
    """What stands behind a result, a line for each part of it that was reckoned."""
    if told is None:
        return []
    luck, drawn, held = told["luck"], told["monte_carlo"], told["holding"]
    lines: list[Any] = [
        f"Sharpe ratio by resampling {interval(luck['sharpe'], luck['bootstrap_low'], luck['bootstrap_high'])}; "
        f"above 0 with probability {percent(luck['probability'])}, deflated by {luck['trials']:,} trial(s) "
        f"{percent(luck['deflated'])}.",
        f"Of {drawn['draws']:,} resampled accounts {percent(drawn['loss'])} lost money; one in twenty fell deeper than "
        f"{percent(drawn['drawdown'][0])}.",
    ]
    if told["costs"] is not None:
        lines.append(f"Costs: {_break_even(told['costs'])}.")
    if told["capacity"] is not None and told["capacity"]["half"] is not None:
        lines.append(f"Capacity: half of the return is left at a capital of {told['capacity']['half']:,.0f}.")
    if held["closed"]:
        lines.append(
            f"Held for {number(held['mean_sessions'], digits=1)} sessions on average; {percent(held['hit_rate'])} of "
            f"{held['closed']:,} closed lots made money."
        )
    made = told["factors"]["exposures"]
    if made:
        rows = [
            (r["name"], r["beta"] if r["name"] != "alpha" else None, r["t"], percent(r["contribution"])) for r in made
        ]
        lines.append(table(["factor", "beta", "t", "a year"], rows))
    return [*lines, *remarks(told["notes"])]


def _break_even(costs: Mapping[str, Any]) -> str:
    if costs["break_even"] is None:
        return f"something is left at {costs['rows'][-1]['multiple']:g} times as much"
    if not costs["break_even"]:
        return "it earns nothing even without them"
    return (
        f"nothing is left at {costs['break_even']:.2f} times as much ({number(costs['break_even_bps'])} bp of a trade)"
    )


def paths(told: Mapping[str, Any] | None) -> list[str]:
    """The spread of results over the paths of a cross-validation, if there was one."""
    if told is None:
        return []
    sharpe, rank_ic = told["spread"]["sharpe"], told["spread"]["rank_ic"]
    low, high = (number(rank_ic[end], digits=4) for end in ("lowest", "highest"))
    return [
        f"Over {len(told['paths'])} paths of {told['fits']} fits: net Sharpe ratio {number(sharpe['lowest'])} to "
        f"{number(sharpe['highest'])} (mean {number(sharpe['mean'])}), rank IC {low} to {high}."
    ]


def gate(verdict: str, reasons: Iterable[str], version: int | None = None, aliases: Iterable[str] = ()) -> list[str]:
    """What the gate said, and why; and whether the model is registered (as which version) and in use."""
    if verdict == "promoted":
        return [f"The gate promoted the model: it is registered as version {version}, the champion."]
    lines = ["The gate refused the model:", *(f"  · {reason}" for reason in reasons)]
    if version is not None and "champion" in aliases:
        back = "aiquant models rollback, or promote another version"
        lines.append(f"It is registered as version {version} and stays in use until somebody changes that: {back}.")
    elif version is not None:
        lines.append(f"It is registered as version {version}, and is not in use.")
    else:
        lines.append("It is not registered.")
    return lines


def remarks(notes: Iterable[str]) -> list[str]:
    """Notes, each on a line."""
    return [f"note: {note}" for note in notes]


def percent(value: float | None) -> str:
    """0.0123 → 1.2 %."""
    return "–" if value is None else f"{100 * value:.1f} %"


def number(value: float | None, unit: str = "", digits: int = 2) -> str:
    """A number with its sign where it is negative."""
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """0.31 (−0.10 to 0.72)."""
    return f"{number(value)} ({number(low)} to {number(high)})"


def honest(judgement: Mapping[str, Any], figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the figures say in plain words; an edge that is not there is reported as not there."""
    strategy = figures["strategy"]
    t, low = judgement["rank_ic_t"], strategy["sharpe_low"]
    if t is None:
        first = "The forecasts cannot be judged: too few symbols a date, or nothing tells them apart."
    elif t >= 2 and low is not None and low > 0:
        first = "The forecasts ordered the symbols better than chance, and the strategy earned more than its costs."
    elif t >= 2:
        first = "The forecasts ordered the symbols better than chance, but a profit after costs is not certain."
    else:
        first = "No edge was found: the forecasts do not order the symbols better than chance would."
    better = [
        name for name, f in figures.items() if name != "strategy" and (f["sharpe"] or 0) > (strategy["sharpe"] or 0)
    ]
    second = (
        f"By Sharpe ratio, {' and '.join(better)} did better." if better else "It beat the plain books by Sharpe ratio."
    )
    return [first, second]
