"""What an equity curve says: returns, risk, drawdown, trading, and how far the figures can be believed.

Conventions, stated in every summary: simple returns from close to close; annualised by the calendar's own sessions a
year; standard deviations with n − 1; the risk-free rate is spread over the sessions of a year by compounding; turnover
is one-way (half of what was traded).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.backtest import sharpe
from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Drawdown(NamedTuple):
    """The deepest fall below an earlier high.

    Attributes
    ----------
    depth
        Fraction of the high, ≤ 0.
    peak, trough
        Dates of the high and of the lowest mark after it.
    recovered
        First date at or above the high again; None while it lasts.
    """

    depth: float
    peak: date | None
    trough: date | None
    recovered: date | None


class Period(NamedTuple):
    """A year or a month: ``month`` is 0 for a whole year. Fractions; NaN where a figure does not exist."""

    year: int
    month: int
    total_return: float
    volatility: float
    sharpe: float
    max_drawdown: float
    turnover: float
    costs: float


@dataclass(frozen=True)
class Summary:
    """Figures of an account. Fractions (0.1 = 10 %), a year is ``sessions_per_year`` sessions; NaN: does not exist.

    Attributes
    ----------
    first, last
        Dates of the first and the last mark.
    sessions
        Returns: marks less one.
    total_return, annual_return
        Over all, and the constant yearly rate that gives the same (−1 when nothing is left).
    volatility
        Standard deviation of the returns, annualised.
    sharpe, sharpe_low, sharpe_high
        Mean excess return ÷ its standard deviation, annualised, with its interval at ``confidence`` (Mertens 2002:
        fat tails and skewness widen it; serial dependence is not in it, see ``sharpe.bootstrap_interval``).
    sharpe_probability
        Probability that the true ratio exceeds 0 (Bailey and López de Prado 2012).
    sortino
        Mean excess return ÷ root mean square of the excess returns below 0 (over all sessions), annualised.
    calmar
        Annual return ÷ depth of the maximum drawdown.
    max_drawdown, drawdown
        Depth (≤ 0), and with its dates.
    skewness, kurtosis
        Of the excess returns; a normal distribution has kurtosis 3.
    annual_turnover
        One-way, in multiples of equity a year.
    annual_costs
        Commission and slippage as a fraction of equity a year.
    total_costs
        The same in cash, over all.
    gross_exposure, net_exposure
        Means over the sessions after the first.
    best_day, worst_day
        Date and return.
    years, months
        The same figures by year and by month; the first begins at the first mark.
    """

    first: date
    last: date
    sessions: int
    sessions_per_year: float
    risk_free: float
    confidence: float
    total_return: float
    annual_return: float
    volatility: float
    sharpe: float
    sharpe_low: float
    sharpe_high: float
    sharpe_probability: float
    sortino: float
    calmar: float
    max_drawdown: float
    drawdown: Drawdown
    skewness: float
    kurtosis: float
    annual_turnover: float
    annual_costs: float
    total_costs: float
    gross_exposure: float
    net_exposure: float
    best_day: tuple[date | None, float]
    worst_day: tuple[date | None, float]
    years: tuple[Period, ...]
    months: tuple[Period, ...]

    @property
    def conventions(self) -> dict[str, str]:
        """How the figures were reckoned."""
        return {
            "returns": "simple, from close to close",
            "annualisation": f"{self.sessions_per_year:.6g} sessions a year, from the exchange calendar",
            "risk-free rate": f"{self.risk_free:g} a year, compounded over its sessions",
            "Sharpe interval": f"{self.confidence:.0%}, standard error of Mertens (2002), returns need not be normal",
            "Sortino": "root mean square of the excess returns below 0 over all sessions",
            "turnover": "one-way: half of the traded notional over the equity of the close before",
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: dates in ISO format, None for what does not exist."""
        return {**{f.name: _plain(getattr(self, f.name)) for f in fields(self)}, "conventions": self.conventions}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "_asdict"):
        return {name: _plain(part) for name, part in value._asdict().items()}
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def summarise(equity: pa.Table, sessions_per_year: float, risk_free: float = 0.0, confidence: float = 0.95) -> Summary:
    """Sum up an account.

    Parameters
    ----------
    equity
        Table ``equity`` of one run; one row gives a total return of 0 and NaN for all that needs a return.
    sessions_per_year
        As the calendar counts them (:attr:`aiquant.calendars.Sessions.per_year`).
    risk_free
        Rate a year.
    confidence
        Of the interval of the Sharpe ratio.

    Raises
    ------
    DataError
        When there is no row, two rows are of one date, or a mark is not a finite number.
    """
    frame = _frame(equity)
    marks, days = frame["equity"].to_numpy(), frame["date"].to_list()
    returns = _returns(marks)
    excess = returns - ((1.0 + risk_free) ** (1.0 / sessions_per_year) - 1.0)
    root, years = math.sqrt(sessions_per_year), len(returns) / sessions_per_year
    shape = sharpe.moments(excess)
    low, high = sharpe.interval(shape, confidence)
    annual, fall = _annual_return(marks, years), max_drawdown(marks, days)
    shares = _cost_shares(marks, frame["costs"].to_numpy())
    traded = frame["turnover"].to_numpy()[1:]
    after = frame.slice(1)
    order = np.argsort(returns, kind="stable")
    best, worst = ((days[order[i] + 1], float(returns[order[i]])) if len(order) else (None, math.nan) for i in (-1, 0))
    return Summary(
        first=days[0],
        last=days[-1],
        sessions=len(returns),
        sessions_per_year=sessions_per_year,
        risk_free=risk_free,
        confidence=confidence,
        total_return=float(marks[-1] / marks[0] - 1.0),
        annual_return=annual,
        volatility=sharpe.moments(returns).deviation * root,
        sharpe=shape.sharpe * root,
        sharpe_low=low * root,
        sharpe_high=high * root,
        sharpe_probability=sharpe.probability(shape),
        sortino=_sortino(excess) * root,
        calmar=annual / -fall.depth if fall.depth < 0.0 else math.nan,
        max_drawdown=fall.depth,
        drawdown=fall,
        skewness=shape.skewness,
        kurtosis=shape.kurtosis,
        annual_turnover=float(traded.sum()) / years if years else math.nan,
        annual_costs=float(shares.sum()) / years if years else math.nan,
        total_costs=float(frame["costs"].sum()),
        gross_exposure=_mean(after["gross_exposure"].to_numpy()),
        net_exposure=_mean(after["net_exposure"].to_numpy()),
        best_day=best,
        worst_day=worst,
        years=_periods(frame, excess, sessions_per_year, by_month=False),
        months=_periods(frame, excess, sessions_per_year, by_month=True),
    )


def _frame(equity: pa.Table) -> pl.DataFrame:
    columns = ["date", "equity", "gross_exposure", "net_exposure", "turnover", "costs"]
    frame = pl.DataFrame(pl.from_arrow(equity.select(columns))).sort("date")
    if not len(frame):
        raise DataError("the equity of the account has no row", "backtest at least one session")
    if frame["date"].is_duplicated().any():
        raise DataError(
            f"equity: {frame.filter(frame['date'].is_duplicated())['date'][0]} stands twice", "pass one run"
        )
    bad = frame.filter(~pl.col("equity").is_finite().fill_null(False))
    if len(bad):
        raise DataError(f"equity: the mark of {bad['date'][0]} is not a finite number")
    return frame


def _returns(marks: NDArray[np.float64]) -> NDArray[np.float64]:
    returns: NDArray[np.float64] = marks[1:] / marks[:-1] - 1.0
    return returns


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _annual_return(marks: NDArray[np.float64], years: float) -> float:
    if not years:
        return math.nan
    growth = float(marks[-1] / marks[0])
    return growth ** (1.0 / years) - 1.0 if growth > 0.0 else -1.0


def _sortino(excess: NDArray[np.float64]) -> float:
    """Sortino and Price (1994): the target is the risk-free rate; NaN where no return lies below it."""
    if not len(excess):
        return math.nan
    downside = math.sqrt(float((np.minimum(excess, 0.0) ** 2).mean()))
    return float(excess.mean()) / downside if downside > sharpe.NO_VARIANCE else math.nan


def _cost_shares(marks: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Costs of each session ÷ equity at the close before, shape (n − 1,)."""
    shares: NDArray[np.float64] = costs[1:] / marks[:-1]
    return shares


def max_drawdown(marks: NDArray[np.float64], days: list[date]) -> Drawdown:
    """The deepest fall below an earlier high; of equal ones the first. Depth 0 and no dates where nothing fell."""
    highs = np.maximum.accumulate(marks)
    below = marks / highs - 1.0
    trough = int(np.argmin(below))
    if below[trough] >= 0.0:
        return Drawdown(0.0, None, None, None)
    peak = int(np.argmax(marks[: trough + 1]))
    again = np.flatnonzero(marks[trough:] >= marks[peak])
    recovered = days[trough + int(again[0])] if len(again) else None
    return Drawdown(float(below[trough]), days[peak], days[trough], recovered)


def _periods(
    frame: pl.DataFrame, excess: NDArray[np.float64], sessions_per_year: float, *, by_month: bool
) -> tuple[Period, ...]:
    """Figures of each year or month, from the last mark before it (the first: from the first mark) to its last."""
    marks, days = frame["equity"].to_numpy(), frame["date"].to_list()
    turnover, shares = frame["turnover"].to_numpy(), _cost_shares(marks, frame["costs"].to_numpy())
    returns, root = _returns(marks), math.sqrt(sessions_per_year)
    keys = np.array([day.year * 100 + day.month * by_month for day in days])
    edges = np.flatnonzero(np.diff(keys)) + 1
    periods = []
    for begin, end in zip([0, *edges], [*edges, len(days)], strict=True):
        before = max(begin - 1, 0)
        periods.append(
            Period(
                year=int(keys[begin]) // 100,
                month=int(keys[begin]) % 100,
                total_return=float(marks[end - 1] / marks[before] - 1.0),
                volatility=sharpe.moments(returns[before : end - 1]).deviation * root,
                sharpe=sharpe.moments(excess[before : end - 1]).sharpe * root,
                max_drawdown=max_drawdown(marks[before:end], days[before:end]).depth,
                turnover=float(turnover[begin:end].sum()),
                costs=float(shares[before : end - 1].sum()),
            )
        )
    return tuple(periods)
