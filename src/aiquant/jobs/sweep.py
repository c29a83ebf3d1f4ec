"""``sweep``: one strategy with many parameter sets, and how much of the best one is luck."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import DataError, UsageError
from aiquant.jobs import digests, strategies, sweep_runs, tables
from aiquant.jobs.journal import Journal
from aiquant.jobs.strategies import Chosen, Material
from aiquant.jobs.sweep_runs import Curve
from aiquant.jobs.workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.learning.trials import Trial

MOST = 1_000_000
"""Parameter sets of one sweep."""

Params = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A parameter set and what it came to, from its first decision on, net of costs; None where it never decided."""

    params: Params
    fills: int
    final: float
    annual_return: float | None
    volatility: float | None
    sharpe: float | None
    max_drawdown: float | None


@dataclass(frozen=True)
class Swept:
    """What a sweep came to.

    Attributes
    ----------
    study
        Its name in the ledger of trials: the same sweep of the same data has the same one.
    way
        ``compiled``, or ``strategy by strategy``.
    sets, refused
        Parameter sets that were played, and that the strategy refused.
    best
        The sets with the highest Sharpe ratios, the best first.
    luck
        Sharpe ratio a year that the best would be expected to show if no set were worth anything; None where it cannot
        be told.
    deflated
        Probability that the true Sharpe ratio of the best is above that.
    overfitting
        Probability that the best set in sample lies below the median out of sample, over halves of the sessions.
    kept
        Sets whose net returns the last two rest on, and that the ledger holds.
    """

    study: str
    strategy: str
    way: str
    sets: int
    refused: int
    best: list[Line]
    luck: float | None
    deflated: float | None
    overfitting: float | None
    kept: int
    out: Path | None = None


def run(
    workspace: Workspace,
    journal: Journal,
    name: str | None,
    told: Mapping[str, str],
    *,
    run_id: str | None = None,
    top: int = 10,
    out: Path | None = None,
) -> Swept:
    """Play every combination of the values that parameters are told: ``{"fast": "5:50:5", "slow": "60,100"}``.

    Raises
    ------
    UsageError
        When values cannot be read, or there are too many sets.
    DataError
        When the strategy refuses every set, or decides nothing with any.
    """
    if out is not None:
        tables.writer_of(out)
    chosen = strategies.choose(workspace, name)
    sets, refused = _sound(chosen, _combinations(told))
    with journal.station("read") as station:
        seen = strategies.material(workspace, run_id)
        station.rows = seen.inputs.bars.num_rows
    with journal.station("sweep") as station:
        way, curves = sweep_runs.play(workspace, chosen, seen, sets, journal.progress("sweep"))
        lines, kept, best = _summed_up(curves, sets, workspace, seen)
        station.rows, station.note = len(sets), way
    if best is None:
        raise DataError(
            f"strategy {chosen.definition.name} decided nothing with any of {len(sets):,} parameter sets",
            f"see how much history it needs: aiquant check recursive --strategy {chosen.definition.name}",
        )
    with journal.station("ledger of trials") as station:
        study = _study(chosen, told, seen)
        trials = _record(workspace, chosen, seen, study, lines, kept)
        station.rows = len(trials)
    luck, deflated, overfitting = _judged(workspace, seen, trials, kept, best)
    if out is not None:
        tables.write(_rows(lines), out)
    ranked = sorted(lines, key=lambda line: -np.inf if line.sharpe is None else line.sharpe, reverse=True)
    return Swept(
        study=study,
        strategy=chosen.definition.name,
        way=way,
        sets=len(sets),
        refused=refused,
        best=ranked[:top],
        luck=luck,
        deflated=deflated,
        overfitting=overfitting,
        kept=len(kept),
        out=out,
    )


def values(text: str) -> list[str]:
    """``"5,10"`` → two values; ``"5:20:5"`` → 5, 10, 15, 20.

    Raises
    ------
    UsageError
        When a range is not of the form FROM:TO:STEP of numbers, or has no end.
    """
    found: list[str] = []
    for part in text.split(","):
        if ":" not in part:
            found.append(part.strip())
            continue
        try:
            numbers = [float(each) for each in part.split(":")]
            first, last, step = numbers if len(numbers) == 3 else (*numbers, 1.0)
        except ValueError as error:
            raise UsageError(f"--param: {part} is no range of numbers", "write FROM:TO:STEP, as 5:50:5") from error
        if not step > 0 or not last >= first or (last - first) / step >= MOST:
            raise UsageError(f"--param: {part} is no range that ends", "write FROM:TO:STEP, as 5:50:5")
        count = int((last - first) / step + 1e-9) + 1
        found += [f"{first + i * step:.12g}" for i in range(count)]
    return list(dict.fromkeys(found))


def _combinations(told: Mapping[str, str]) -> Iterator[Params]:
    grid = {name: values(text) for name, text in told.items()}
    count = int(np.prod([float(len(each)) for each in grid.values()])) if grid else 1
    if count > MOST:
        raise UsageError(f"{count:,} parameter sets are more than {MOST:,}", "take fewer values")
    for combination in itertools.product(*grid.values()):
        yield dict(zip(grid, combination, strict=True))


def _sound(chosen: Chosen, combinations: Iterable[Params]) -> tuple[list[Params], int]:
    """The sets that the strategy takes, as the types that they have, and how many it refuses."""
    sets, refused, why = list[Params](), 0, ""
    for params in combinations:
        read = chosen.definition.read(params)
        try:
            chosen.make(read)
        except UsageError as error:
            refused, why = refused + 1, error.problem
            continue
        sets.append(read)
    if not sets:
        raise DataError(f"every one of {refused:,} parameter sets is refused: {why}", "give other values")
    return sets, refused


def _summed_up(
    curves: Iterable[Curve], sets: Sequence[Params], workspace: Workspace, seen: Material
) -> tuple[list[Line], dict[int, Curve], int | None]:
    """A line for each set; the curves of some, spread evenly, and of the best; the place of the best."""
    lines, kept, best = list[Line](), dict[int, Curve](), None
    apart = max(1, -(-len(sets) // workspace.settings.sweep.kept))
    highest, leader = -np.inf, None
    for place, curve in enumerate(curves):
        line = _line(sets[place], curve, workspace, seen)
        lines.append(line)
        if line.sharpe is None:
            continue
        if place % apart == 0:
            kept[place] = curve
        if line.sharpe > highest:
            highest, best, leader = line.sharpe, place, curve
    if best is not None and leader is not None:
        kept[best] = leader
    return lines, dict(sorted(kept.items())), best


def _line(params: Params, curve: Curve, workspace: Workspace, seen: Material) -> Line:
    from aiquant.backtest import sharpe

    per_year, marks = seen.inputs.sessions.per_year, curve.equity
    final = float(marks[-1]) if len(marks) else workspace.settings.backtest.capital
    if len(marks) < 3 or (returns := marks[1:] / marks[:-1] - 1.0).std() <= sharpe.NO_VARIANCE:
        return Line(params, curve.fills, final, None, None, None, None)
    moments = sharpe.moments(returns - _risk_free(workspace, per_year))
    years, root = len(returns) / per_year, per_year**0.5
    return Line(
        params=params,
        fills=curve.fills,
        final=final,
        annual_return=float((marks[-1] / marks[0]) ** (1.0 / years) - 1.0) if marks[-1] > 0 else -1.0,
        volatility=float(sharpe.moments(returns).deviation * root),
        sharpe=float(moments.sharpe * root),
        max_drawdown=float((marks / np.maximum.accumulate(marks) - 1.0).min()),
    )


def _risk_free(workspace: Workspace, per_year: float) -> float:
    return float((1.0 + workspace.settings.backtest.risk_free) ** (1.0 / per_year) - 1.0)


def _study(chosen: Chosen, told: Mapping[str, str], seen: Material) -> str:
    what = {"grid": dict(told), "made": strategies.configuration(chosen, seen.forecasts_of)}
    return f"sweep-{chosen.definition.name}-{digests.of_json({**what, 'data': seen.inputs.versions})[:12]}"


def _record(
    workspace: Workspace, chosen: Chosen, seen: Material, study: str, lines: Sequence[Line], kept: Mapping[int, Curve]
) -> list[Trial]:
    """Every set is a trial; the returns are written first, so that nothing counts by half."""
    from aiquant.learning import trials as ledger

    made = [
        ledger.Trial(
            study,
            str(place),
            chosen.definition.name,
            strategies.configuration(replace(chosen, params={**chosen.params, **line.params}), None),
            {**chosen.params, **line.params},
        )
        for place, line in enumerate(lines)
    ]
    returns = [
        ledger.returns(pa.table({"date": pa.array(c.dates, pa.date32()), "equity": c.equity}), study, str(place))
        for place, c in kept.items()
    ]
    workspace.lake.replace(schemas.TRIAL_RETURNS, pa.concat_tables(returns), {"study": study})
    workspace.lake.write(schemas.TRIALS, ledger.rows(made))
    return made


def _judged(
    workspace: Workspace, seen: Material, trials: Sequence[Trial], kept: Mapping[int, Curve], best: int
) -> tuple[float | None, float | None, float | None]:
    """Luck's Sharpe ratio a year, the deflated one of the best, and the probability of overfitting."""
    from aiquant.backtest import overfitting, sharpe
    from aiquant.learning import selection
    from aiquant.learning.trials import Tried

    dates, matrix = _aligned(kept)
    configurations = tuple(trials[place].configuration for place in kept)
    tried = Tried(configurations, dates, matrix, len(trials))
    own = matrix[:, list(kept).index(best)]
    traded = np.isfinite(own)
    per_year = seen.inputs.sessions.per_year
    rate = _risk_free(workspace, per_year)
    rules = workspace.settings.backtest
    net = selection.NetResult(
        trials[best].configuration,
        dates[traded],
        own[traded] - rate,
        rate,
        per_year,
        rules.trade_cost_bps,
    )
    luck = selection.luck(net, tried)
    deflated = sharpe.deflated(net.moments, luck.variance, luck.trials)
    common = matrix[np.isfinite(matrix).all(axis=1)]
    varied = common[:, common.std(axis=0) > sharpe.NO_VARIANCE] if len(common) else common
    chance, blocks = None, workspace.settings.sweep.blocks
    if varied.shape[1] >= 2 and len(varied) >= 2 * blocks:
        chance = float(overfitting.probability_of_overfitting(varied, blocks).probability)
    return float(luck.sharpe * per_year**0.5), float(deflated), chance


def _aligned(kept: Mapping[int, Curve]) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Net returns of the curves on all of their dates, shape (t, m); NaN before a first decision."""
    dates = np.unique(np.concatenate([curve.dates[1:] for curve in kept.values()]))
    matrix = np.full((len(dates), len(kept)), np.nan)
    for column, curve in enumerate(kept.values()):
        matrix[np.searchsorted(dates, curve.dates[1:]), column] = curve.equity[1:] / curve.equity[:-1] - 1.0
    return dates, matrix


def _rows(lines: Sequence[Line]) -> pa.Table:
    names = ("fills", "final", "annual_return", "volatility", "sharpe", "max_drawdown")
    params = list(dict.fromkeys(name for line in lines for name in line.params))
    columns = {name: [line.params.get(name) for line in lines] for name in params}
    return pa.table({**columns, **{name: [getattr(line, name) for line in lines] for name in names}})
