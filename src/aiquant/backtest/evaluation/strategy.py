"""The whole evaluation of one strategy, as plain values that a file and a report hold."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest import sharpe
from aiquant.backtest.evaluation import drawdowns, factors, holding, montecarlo, regimes, replays, sectors
from aiquant.backtest.evaluation.market_panel import MarketPanel
from aiquant.errors import DataError
from aiquant.settings import BacktestSettings, EvaluationSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 1
"""Of what :func:`evaluate` gives; a reader of another one asks for a new evaluation."""

LEAST_SESSIONS = 10
"""Returns that an evaluation needs."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a strategy left behind, and the market it traded in.

    Attributes
    ----------
    equity, fills
        Of its account, schemas ``EQUITY`` and ``FILLS``.
    panel
        All symbols that could have been held, over at least the sessions of the account.
    sessions_per_year
        Of the calendar.
    rules
        Settings of the account.
    replay
        Trades the same decisions by other settings; None where they are not known: then costs and capacity are not
        told.
    classification
        Schema ``CLASSIFICATION``; None where there is none: then sectors are not told.
    """

    equity: pa.Table
    fills: pa.Table
    panel: MarketPanel
    sessions_per_year: float
    rules: BacktestSettings
    replay: replays.Replay | None = None
    classification: pa.Table | None = None


def evaluate(evidence: Evidence, settings: EvaluationSettings) -> dict[str, Any]:
    """Evaluate a strategy.

    Returns
    -------
    dict
        ``luck``, ``drawdowns``, ``monte_carlo``, ``holding``, ``regimes``, ``factors``, ``sectors``, ``costs``,
        ``capacity`` and ``notes``, ready for JSON: dates in ISO format, None for what does not exist. Sections that
        were not reckoned are None, and a note says why.

    Raises
    ------
    DataError
        When the account has too few sessions, or was ruined.
    """
    frame = pl.DataFrame(pl.from_arrow(evidence.equity.select(["date", "equity"]))).sort("date")
    marks, days = frame["equity"].to_numpy(), frame["date"].to_list()
    if len(marks) <= LEAST_SESSIONS:
        raise DataError(f"{len(marks)} session(s) are too few to evaluate a strategy", "backtest a longer history")
    if not (marks > 0.0).all():
        raise DataError("the account was ruined: there is nothing to evaluate", "look at its notes")
    year, rate = evidence.sessions_per_year, evidence.rules.risk_free
    returns = marks[1:] / marks[:-1] - 1.0
    excess = returns - ((1.0 + rate) ** (1.0 / year) - 1.0)
    notes: list[str] = []
    found = {
        "format": FORMAT,
        "luck": luck(excess, year, settings),
        "drawdowns": {
            "deepest": [fall._asdict() for fall in drawdowns.falls(marks, days)],
            "under_water": drawdowns.time_under_water(marks),
        },
        "monte_carlo": _resampled(returns, year, settings),
        "holding": asdict(holding.holding(evidence.fills, evidence.panel)),
        "regimes": [asdict(row) for row in regimes.by_regime(days[1:], excess, evidence.panel, year)],
        "factors": asdict(factors.attribute(days[1:], excess, evidence.panel, year, rate)),
        "sectors": _sectors(evidence, notes),
        "costs": _costs(evidence, settings, notes),
        "capacity": _capacity(evidence, settings, notes),
        "notes": notes,
    }
    plainly: dict[str, Any] = plain(found)
    return plainly


def luck(excess: NDArray[np.float64], sessions_per_year: float, settings: EvaluationSettings) -> dict[str, Any]:
    """How far the Sharpe ratio can be believed.

    Without the ratios of the other trials, their variance is that of the estimate itself: as if none had any skill.
    """
    shape, root = sharpe.moments(excess), math.sqrt(sessions_per_year)
    variance = shape.standard_error**2
    low, high = sharpe.bootstrap_interval(excess, 0.95, seed=settings.seed, draws=settings.draws)
    return {
        "sharpe": shape.sharpe * root,
        "bootstrap_low": low * root,
        "bootstrap_high": high * root,
        "probability": sharpe.probability(shape),
        "min_track_record": sharpe.min_track_record(shape),
        "trials": settings.trials,
        "expected_maximum": sharpe.expected_maximum(variance, settings.trials) * root,
        "deflated": sharpe.deflated(shape, variance, settings.trials),
    }


def _resampled(returns: NDArray[np.float64], sessions_per_year: float, settings: EvaluationSettings) -> dict[str, Any]:
    drawn = montecarlo.resample(returns, seed=settings.seed, draws=settings.draws)
    counts, edges = np.histogram(drawn.depths, bins=40)
    return {
        "levels": montecarlo.LEVELS,
        "at": drawn.at.tolist(),
        "fan": drawn.fan.tolist(),
        "final": drawn.final.tolist(),
        "drawdown": drawn.drawdown.tolist(),
        "sharpe": (drawn.sharpe * math.sqrt(sessions_per_year)).tolist(),
        "depth_edges": edges.tolist(),
        "depth_shares": (counts / drawn.draws).tolist(),
        "loss": drawn.loss,
        "deeper": drawn.deeper,
        "block": drawn.block,
        "draws": drawn.draws,
    }


def _sectors(evidence: Evidence, notes: list[str]) -> dict[str, Any] | None:
    if evidence.classification is None or not evidence.classification.num_rows:
        notes.append("sectors: the table classification is empty; take one in with `aiquant ingest classification`")
        return None
    told = sectors.attribute(evidence.equity, evidence.fills, evidence.panel, evidence.classification)
    if told is None:
        notes.append("sectors: no symbol of the bars is classified")
    return None if told is None else asdict(told)


def _costs(evidence: Evidence, settings: EvaluationSettings, notes: list[str]) -> dict[str, Any] | None:
    if evidence.replay is None:
        notes.append("costs and capacity: the decisions of the account are not known, so it cannot be traded again")
        return None
    asked = settings.cost_multiples
    return asdict(replays.cost_sensitivity(evidence.replay, evidence.rules, asked, evidence.sessions_per_year))


def _capacity(evidence: Evidence, settings: EvaluationSettings, notes: list[str]) -> dict[str, Any] | None:
    if evidence.replay is None or not settings.capitals:
        return None
    if not np.isfinite(evidence.panel.dollar_volume).any():
        notes.append("capacity: the bars have no volume")
        return None
    rules = evidence.rules
    limits = {name: getattr(rules, name) or getattr(settings, name) for name in ("impact", "participation")}
    asked = rules.model_copy(update=limits)
    return asdict(replays.capacity(evidence.replay, asked, settings.capitals, evidence.sessions_per_year))


def plain(value: Any) -> Any:
    """Plain values for JSON: dates in ISO format, None for what is not a finite number."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value
