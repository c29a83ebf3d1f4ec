"""Settings of portfolio construction: from forecasts to target weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aiquant.settings.base import Section

Signal = Literal["rank", "z-score"]
Neutral = Literal["none", "sector", "beta", "sector+beta"]
Covariance = Literal["ledoit-wolf", "empirical", "oas", "denoised", "exponential", "gerber"]
Expected = Literal["forecast", "history", "equilibrium"]
RiskName = Literal[
    "variance",
    "semi-variance",
    "mean-absolute-deviation",
    "cvar",
    "max-drawdown",
    "average-drawdown",
    "cdar",
    "ulcer-index",
]
Linkage = Literal["ward", "single", "average", "complete"]
Fallback = Literal["previous", "inverse-volatility", "equal", "cash"]


class PortfolioSettings(Section):
    """From forecasts to target weights."""

    rule: str = Field("long-short", description="How signals become weights: a built-in rule, or one of a plug-in.")
    quantile: float = Field(0.2, gt=0, le=0.5, description="Share of the universe on each side.")
    gross: float = Field(1.0, gt=0, le=10, description="Sum of the absolute target weights.")
    rebalance: int | None = Field(None, ge=1, description="Sessions between decisions; default: the label's horizon.")

    signal: Signal = Field("rank", description="What a forecast counts as within its date: its rank, or its z-score.")
    threshold: float = Field(0.0, ge=0, description="Signals whose size lies below this count as 0.")
    neutral: Neutral = Field("none", description="What signals are made neutral to before they are used.")
    top_k: int | None = Field(
        None, ge=1, description="Only this many symbols, those with the highest signals, are chosen from."
    )

    short: bool = Field(False, description="Whether an optimiser may sell short, within `gross`.")
    net: float | None = Field(
        None, ge=-10, le=10, description="Sum of an optimiser's weights; default: `gross`, and 0 where it may short."
    )
    lookback: int = Field(252, ge=20, description="Bars of past returns that risk is estimated from.")
    min_history: int = Field(126, ge=10, description="Past returns that a symbol needs to be held by such a rule.")
    covariance: Covariance = Field("ledoit-wolf", description="Estimator of the covariance of returns.")
    expected: Expected = Field("forecast", description="Where an optimiser's expected returns come from.")
    ic: float | None = Field(
        None, ge=0, le=1, description="Information coefficient of the forecasts; default: as measured by each date."
    )
    risk: RiskName = Field(
        "variance", description="The risk that `min-risk`, `mean-risk` and `risk-budget` reckon with."
    )
    risk_aversion: float = Field(5.0, gt=0, description="What a unit of risk costs in expected return.")
    tail: float = Field(0.95, gt=0.5, lt=1, description="Level of CVaR and CDaR: 0.95 is the worst twentieth.")
    radius: float = Field(
        0.0001, ge=0, description="How far `robust` lets returns be from the past: Wasserstein radius."
    )
    linkage: Linkage = Field("ward", description="How `hrp` and `herc` join clusters.")
    cost_bps: float | None = Field(
        None,
        ge=0,
        description="Trading cost that optimisers reckon with; default: commission, slippage, half the spread.",
    )

    max_position: float | None = Field(None, gt=0, description="Largest size of a weight.")
    max_sector: float | None = Field(None, gt=0, description="Largest size of the sum of a sector's weights.")
    max_beta: float | None = Field(None, ge=0, description="Largest size of the book's beta.")
    max_turnover: float | None = Field(
        None, gt=0, description="Most that a decision trades: half the sum of the changes of weights."
    )
    max_adv: float | None = Field(
        None,
        gt=0,
        description="Most a decision trades of a symbol, as a share of its daily dollar volume, for backtest.capital.",
    )
    max_names: int | None = Field(None, ge=1, description="Most symbols that an optimiser holds.")

    speed: float = Field(1.0, gt=0, le=1, description="Share of the way to the target that a decision goes.")
    trade: Literal["always", "gain"] = Field(
        "always", description="Whether to trade at each decision, or only when the gain expected beats the cost."
    )
    fallback: Fallback = Field(
        "previous", description="The book where a rule finds none; without a previous one: inverse-volatility."
    )
