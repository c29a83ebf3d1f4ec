"""The drill of the gate: how often it promotes luck, and how often it finds what is there.

Usage: ``python scripts/drill_gate.py [--noise N] [--each N] [--signals S,S,…] [--out FILE] [--png FILE]``

Each market is new and seeded. On it somebody does what people do: lets ``aiquant tune`` search for parameters on the
training years, tries what it found with several other settings, looks at the result of each on the test years, net of
costs, and takes the best to the gate. All is the product's own way: ``tune.search``, ``Pipeline``, ``train.compute``,
the book, the account, the ledger of trials, ``evaluate.hold``, and ``leakage.examine`` for what the other rules let
pass. Nothing but the market is made for the drill, and nothing but MLflow is left out.

- *Noise*: markets in which nothing can be forecast. Each is judged with costs, and once more without any, where trials
  are not all losers and luck has its best chance. The gate must promote at most 5 %.
- *Signal*: markets with a planted signal of several sizes. At the size ``PLANTED`` it must promote at least 90 %.

Results are kept in ``--out``, a line for each market, and what is there already is not done again. The exit code is 1
when one of the two promises is broken.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parent))
import gate_market

from aiquant import schemas
from aiquant.jobs import backtest, books, digests, evaluate, leakage, train, trials, tune, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, Pipeline, sessions_of
from aiquant.learning import gate, tuning
from aiquant.learning import trials as ledger
from aiquant.settings import FILE_NAME, Settings, flatten, from_values

PLANTED = 0.08
"""Size of the signal that has to be found: see ``gate_market.bars``."""

SIGNALS = (0.02, 0.04, 0.06, PLANTED, 0.1)

FAST: dict[str, Any] = {
    "learning": {"threads": 1, "min_train_years": 3},
    "judgement": {"horizons": "5"},
    "xgboost": {"n_estimators": 20, "max_depth": 3, "learning_rate": 0.15, "max_bin": 32},
}
"""The settings that all trials start from."""

SEARCH = {"tuning.trials": "6", "tuning.folds": "2", "tuning.startup": "3"}
SPACE = "[tuning.space]\nn_estimators = [10, 40]\nmax_depth = [2, 5]\n"
"""The search on each market: few trials and small models, so that hundreds of markets can be searched."""

TRIES: tuple[dict[str, Any], ...] = (
    {},
    {"learning": {"model": "ridge"}},
    {"portfolio": {"quantile": 0.1}},
    {"portfolio": {"quantile": 0.3}},
)
"""What is tried on each market; those that differ in the book alone share their forecasts."""


@dataclass(frozen=True)
class Case:
    """One market that is judged."""

    seed: int
    signal: float
    costs: bool = True
    symbols: int = 24
    last: str = "2018-12-31"

    @property
    def key(self) -> str:
        """Its name in the file of results."""
        return f"{self.seed}/{self.signal:g}/{'costs' if self.costs else 'free'}/{self.symbols}/{self.last}"


def settings_of(change: dict[str, Any], costs: bool) -> Settings:
    """Settings of one trial."""
    account = {} if costs else {"commission_bps": 0.0, "slippage_bps": 0.0, "borrow_bps": 0.0}
    told: dict[str, Any] = {"backtest": account, "gate": {} if costs else {"min_cost_bps": 0.0}}
    for part in (FAST, change):
        for section, values in part.items():
            told[section] = told.get(section, {}) | values
    return from_values(told)


def judge(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Search, try everything on one market, and take the best to the gate; the cases differ in their costs alone."""
    from datetime import date

    first = cases[0]
    bars = gate_market.bars(first.seed, first.signal, first.symbols, date.fromisoformat(first.last))
    inputs = Inputs(bars, None, None, sessions_of(bars, "XNYS"), {})
    began = time.process_time()
    found, before = _searched(bars)
    studies: dict[str, train.Study] = {}
    told = []
    for case in cases:
        changes = [{**change, "xgboost": found | change.get("xgboost", {})} for change in TRIES]
        runs = [_tried(settings_of(change, case.costs), inputs, studies) for change in changes]
        told.append(_verdict(case, inputs, runs, before) | {"seconds": round(time.process_time() - began, 2)})
        began = time.process_time()
    return told


Ledger = tuple[pa.Table, pa.Table]
"""Rows of the tables ``trials`` and ``trial_returns``."""


def _searched(bars: pa.Table) -> tuple[dict[str, Any], Ledger]:
    """The best parameters that ``aiquant tune`` finds, and what it wrote into the ledger."""
    base = flatten({section: {k: str(v) for k, v in values.items()} for section, values in FAST.items()})
    with tempfile.TemporaryDirectory(prefix="aiquant-drill-") as folder:
        home = workspace.open_(workspace.create(Path(folder) / "w").root, base | SEARCH)
        (home.root / FILE_NAME).write_text(SPACE, encoding="utf-8")
        home.lake.write(schemas.BARS, bars)
        best = tuning.best(tune.search(home, Journal()).outcomes)
        found = dict(best.params) if best is not None else {}
        return found, (home.lake.read(schemas.TRIALS), home.lake.read(schemas.TRIAL_RETURNS))


@dataclass(frozen=True)
class _Run:
    settings: Settings
    study: train.Study
    equity: pa.Table
    sharpe: float


def _tried(settings: Settings, inputs: Inputs, studies: dict[str, train.Study]) -> _Run:
    """One trial; forecasts that another trial made already are not made again."""
    pipeline = Pipeline(settings)
    about = settings.fingerprint(without=("backtest", "portfolio", "gate"))
    if about not in studies:
        features = pipeline.features(inputs)
        studies[about] = train.compute(pipeline, inputs, features, about, Journal())
    study = studies[about]
    book = books.build(settings, study.trained.forecasts, inputs, about)
    account = backtest.account(settings, book.weights, inputs.newest, inputs.sessions, None)
    ratio = evaluate.net_result(settings, account.equity, inputs.sessions.per_year).moments.sharpe
    return _Run(settings, study, account.equity, ratio)


def _verdict(case: Case, inputs: Inputs, runs: list[_Run], before: Ledger) -> dict[str, Any]:
    best = max(runs, key=lambda run: run.sharpe if math.isfinite(run.sharpe) else -math.inf)
    names = [trials.configuration(run.settings) for run in runs]
    rows = [before[0], ledger.rows([ledger.Trial(ledger.RUNS, name, "", name) for name in names])]
    returns = [before[1], *(ledger.returns(r.equity, ledger.RUNS, n) for r, n in zip(runs, names, strict=True))]
    tried = ledger.gather(pa.concat_tables(rows), pa.concat_tables(returns))
    tunings = [ledger.gather(*before)]
    pipeline, judged = Pipeline(best.settings), best.study.judgement

    def held(clean: bool) -> gate.Verdict:
        candidate = evaluate.Candidate(best.study.trained.forecasts, best.study.labels, judged, best.equity)
        return evaluate.hold(
            pipeline, inputs, candidate, best.settings.gate, leakage=clean, tried=tried, tunings=tunings
        )

    verdict = held(True)
    if verdict.promoted:  # the check for leaks takes as long as a trial, and can only refuse
        verdict = held(leakage.examine(pipeline, inputs, 1, case.seed).passed)
    figures = verdict.figures
    alone = (figures["rank_ic_t"] or 0.0) >= 2.0 and (figures["sharpe_probability"] or 0.0) >= 0.95
    return {
        "key": case.key,
        "signal": case.signal,
        "costs": case.costs,
        "promoted": verdict.promoted,
        "alone": alone,
        "failed": [check.name for check in verdict.checks if not check.passed],
        **{name: figures[name] for name in ("rank_ic", "sharpe", "luck_sharpe", "trials", "trial_correlation")},
    }


def wilson(hits: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a share: E. B. Wilson, JASA 22 (1927), 209–212."""
    share, spread = hits / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    reach = z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def run(groups: list[list[Case]], processes: int, out: Path) -> list[dict[str, Any]]:
    """Judge all markets that ``out`` does not hold yet; all results, in the order of the cases."""
    code = digests.of_code()
    done = {told["key"]: told for told in _kept(out) if told["code"] == code}
    left = [cases for cases in groups if any(case.key not in done for case in cases)]
    print(f"{len(groups)} markets, {len(groups) - len(left)} of them done before; code {code}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool, out.open("a", encoding="utf-8") as file:
        running = [pool.submit(judge, cases) for cases in left]
        for count, future in enumerate(as_completed(running), start=1):
            for told in future.result():
                done[told["key"]] = told | {"code": code}
                file.write(json.dumps(done[told["key"]]) + "\n")
            file.flush()
            if count % 20 == 0 or count == len(left):
                print(f"  {count}/{len(left)} markets, {time.monotonic() - began:.0f} s", flush=True)
    return [done[case.key] for cases in groups for case in cases]


def _kept(out: Path) -> Iterator[dict[str, Any]]:
    if out.is_file():
        for line in out.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # a drill that was killed wrote half a line
                continue


def report(told: list[dict[str, Any]]) -> bool:
    """Print what was found; whether the gate kept both promises."""
    head = f"{'':<26}{'promoted':>14}{'95 % (Wilson)':>18}{'one run alone':>15}{'rank IC':>9}{'Sharpe':>8}{'luck':>6}"
    print(head)
    kept = True
    for signal, costs in sorted({(t["signal"], t["costs"]) for t in told}, key=lambda k: (k[0], not k[1])):
        same = [t for t in told if (t["signal"], t["costs"]) == (signal, costs)]
        hits, alone = sum(t["promoted"] for t in same), sum(t["alone"] for t in same)
        low, high = wilson(hits, len(same))
        name = ("noise" if not signal else f"signal {signal:g}") + ("" if costs else ", no costs")
        middle = [float(np.median([t[f] or 0.0 for t in same])) for f in ("rank_ic", "sharpe", "luck_sharpe")]
        print(
            f"{name:<26}{f'{hits}/{len(same)}':>8}{hits / len(same):>6.1%}{f'{low:.1%} to {high:.1%}':>18}"
            f"{alone / len(same):>15.1%}{middle[0]:>9.3f}{middle[1]:>8.2f}{middle[2]:>6.2f}"
        )
        kept &= hits / len(same) <= 0.05 if not signal else signal != PLANTED or hits / len(same) >= 0.9
    rules: dict[str, int] = {}
    for t in told:
        if not t["signal"]:
            for name in t["failed"]:
                rules[name] = rules.get(name, 0) + 1
    count = max(sum(not t["signal"] for t in told), 1)
    print(
        "of noise refused by: "
        + ", ".join(f"{n} {c / count:.0%}" for n, c in sorted(rules.items(), key=lambda r: -r[1]))
    )
    print("kept" if kept else "BROKEN", "at most 5 % of noise, at least 90 % of the signal", PLANTED)
    return kept


def draw(told: list[dict[str, Any]], path: Path) -> None:
    """The power curve: share promoted over the size of the signal, with its interval."""
    import plotly.graph_objects as go

    from aiquant.backtest import figures
    from aiquant.backtest.figures_style import LIGHT, blank

    sizes = sorted({t["signal"] for t in told})
    shares, lows, highs, names = [], [], [], []
    for size in sizes:
        same = [t for t in told if t["signal"] == size and t["costs"]]
        hits = sum(t["promoted"] for t in same)
        low, high = wilson(hits, len(same))
        shares.append(hits / len(same))
        lows.append(shares[-1] - low)
        highs.append(high - shares[-1])
        middle = float(np.median([t["rank_ic"] or 0.0 for t in same]))
        names.append(f"{size:g}<br>rank IC {middle:.3f}<br>Sharpe {np.median([t['sharpe'] or 0.0 for t in same]):.1f}")
    figure = blank("Share of markets in which the gate promotes the best of what was tried", height=420)
    error = {"type": "data", "symmetric": False, "array": highs, "arrayminus": lows, "color": LIGHT.strategy}
    figure.add_trace(
        go.Scatter(
            x=list(range(len(sizes))),
            y=shares,
            error_y=error,
            mode="lines+markers",
            line={"color": LIGHT.strategy},
            showlegend=False,
        )
    )
    for level, text in ((0.05, "5 %"), (0.9, "90 %")):
        figure.add_hline(y=level, line={"color": LIGHT.zero, "dash": "dash"}, annotation_text=text)
    figure.update_xaxes(tickvals=list(range(len(sizes))), ticktext=names, title="size of the planted signal")
    figure.update_yaxes(tickformat=".0%", range=[-0.03, 1.05])
    figures.to_png(figure, path)
    print(path)


def main() -> int:
    """Run the drill."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--noise", type=int, default=200, help="markets without a signal")
    parser.add_argument("--each", type=int, default=30, help="markets of each size of the signal")
    parser.add_argument("--signals", default=",".join(f"{s:g}" for s in SIGNALS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/drill_gate.jsonl"))
    parser.add_argument("--png", type=Path, help="where to draw the power curve")
    told = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = "1"  # for the processes that are started: the markets are what runs beside one another
    sizes = [float(s) for s in told.signals.split(",") if s]
    groups = [[Case(s, 0.0), Case(s, 0.0, costs=False)] for s in range(told.noise)]
    groups += [[Case(10_000 + s, size)] for size in sizes for s in range(told.each)]
    began = time.monotonic()
    results = run(groups, told.processes, told.out)
    kept = report(results)
    print(f"{time.monotonic() - began:.0f} s; {sum(r['seconds'] for r in results):.0f} s of CPU for all results")
    if told.png is not None:
        draw(results, told.png)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
