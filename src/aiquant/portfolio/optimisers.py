"""Rules that skfolio solves.

Each problem carries all limits of :class:`~aiquant.portfolio.limits.Limits` itself, in skfolio's own homogeneous form,
so that a ratio is maximised under them and not cut down to them afterwards. Costs of trading stand in the objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.portfolio import estimates
from aiquant.portfolio.limits import Limits, Unsolved
from aiquant.portfolio.solving import Cost, cost_of, fitted, frame, given, solved, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.portfolio.moment import Moment
    from aiquant.settings import PortfolioSettings

LINEAR = ("mean-absolute-deviation", "cvar", "max-drawdown", "average-drawdown", "cdar")
"""Risks whose problems stay linear, so that the solver can count names exactly."""
MIP_SECONDS = 20.0
"""Time that the exact count of names may take; after it the largest weights are kept and weighed again."""
SCALE = 1e4
"""Variances of daily returns are about 1e-4: by this they are near 1, as the solver's tolerances suppose."""

_RISKS = {
    "variance": "VARIANCE",
    "semi-variance": "SEMI_VARIANCE",
    "mean-absolute-deviation": "MEAN_ABSOLUTE_DEVIATION",
    "cvar": "CVAR",
    "max-drawdown": "MAX_DRAWDOWN",
    "average-drawdown": "AVERAGE_DRAWDOWN",
    "cdar": "CDAR",
    "ulcer-index": "ULCER_INDEX",
}


def min_variance(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The least variance."""
    return min_risk(moment, portfolio.model_copy(update={"risk": "variance"}))


def min_risk(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The least of the risk that the settings name; a cost counts as much as ``risk_aversion`` of risk."""
    return _mean_risk("MINIMIZE_RISK", moment, portfolio, cost=moment.cost / portfolio.risk_aversion)


def mean_risk(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The highest expected return, less costs, less ``risk_aversion`` × risk."""
    return _mean_risk("MAXIMIZE_UTILITY", moment, portfolio)


def max_sharpe(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The highest expected return, less costs, for its standard deviation.

    Of a book of net 0 every multiple has the same ratio: the largest that the limits allow is taken.
    """
    if (
        portfolio.expected == "forecast"
        and not (moment.alpha > 0).any()
        and not (portfolio.short and moment.alpha.any())
    ):
        raise Unsolved("no forecast expects a return above the mean")
    told = portfolio.model_copy(update={"risk": "variance"})
    try:
        weights = _mean_risk("MAXIMIZE_RATIO", moment, told)
    except Unsolved as error:
        raise Unsolved(f"no book within the limits is expected to earn more than its trades cost ({error})") from error
    fixed = (moment.limits.low == moment.limits.high) & (moment.limits.low != 0.0)
    return weights if fixed.any() else _stretched(weights, moment.limits)


def black_litterman(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """As :func:`mean_risk`, with expected returns and covariance of :func:`views`."""
    return _mean_risk("MAXIMIZE_UTILITY", moment, portfolio, prior=views(moment, portfolio))


def robust(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The best expected return less ``risk_aversion`` × CVaR of the worst distribution within ``radius`` of the past.

    P. Mohajerin Esfahani and D. Kuhn, "Data-driven distributionally robust optimization using the Wasserstein metric",
    Mathematical Programming 171 (2018).
    """

    def make(limits: Limits, cost: Cost | None) -> Any:
        made = within("DistributionallyRobustCVaR")(
            risk_aversion=portfolio.risk_aversion,
            cvar_beta=portfolio.tail,
            wasserstein_ball_radius=portfolio.radius,
            prior_estimator=_prior(moment, portfolio),
            min_weights=None,
            max_weights=None,
            budget=None,
            add_objective=cost,
        )
        made.limits = limits
        return made

    return solved(make, moment, cost_of(moment, moment.cost))


def max_diversification(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """The highest ratio of mean volatility to the volatility of the whole (Y. Choueifaty and Y. Coignard, 2008)."""

    def make(limits: Limits, _: Cost | None) -> Any:
        made = within("MaximumDiversification")(
            prior_estimator=_prior(moment, portfolio), min_weights=None, max_weights=None, budget=None
        )
        made.limits = limits
        return made

    return solved(make, moment, None)


def risk_budget(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """Each symbol carries the same share of the risk."""
    from skfolio.optimization import RiskBudgeting

    return portfolio.gross * fitted(
        RiskBudgeting(
            risk_measure=_risk(portfolio),
            prior_estimator=_prior(moment, portfolio),
            cvar_beta=portfolio.tail,
            cdar_beta=portfolio.tail,
            scale_objective=SCALE if "variance" in portfolio.risk else None,
        ),
        moment,
    )


def hrp(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """Hierarchical risk parity (M. López de Prado, "Building diversified portfolios that outperform out of sample",
    Journal of Portfolio Management 42, 2016)."""
    return _hierarchical("HierarchicalRiskParity", moment, portfolio)


def herc(moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    """Hierarchical equal risk contribution (T. Raffinot, paper of that name, 2018)."""
    return _hierarchical("HierarchicalEqualRiskContribution", moment, portfolio)


def views(moment: Moment, portfolio: PortfolioSettings) -> Any:
    """Black and Litterman's prior, fitted later: an equilibrium, and the forecasts as views on each symbol.

    A forecast is taken for a noisy measurement of the return to come, whose correlation with it is the IC. It says
    ``equilibrium + alpha ÷ IC²``, and is believed with confidence IC² (Idzorek's, in Walters' closed form): of symbols
    that do not move together the posterior is then equilibrium + alpha, which is Grinold's; of others the views on all
    of them count. With an IC of 0 there are no views, and the posterior is the equilibrium.
    """
    from skfolio.prior import BlackLitterman, EmpiricalPrior

    base = _prior(moment, portfolio.model_copy(update={"expected": "equilibrium"}))
    ic = moment.ic
    if ic <= 0.0 or not moment.alpha.any():
        return base
    base_prior = EmpiricalPrior(mu_estimator=base.mu_estimator, covariance_estimator=base.covariance_estimator)
    mean = base_prior.fit(frame(moment.returns)).return_distribution_.mu
    reliability = min(ic * ic, 1.0)
    told = mean + moment.alpha / reliability
    return BlackLitterman(
        views=[f"x{k} == {value:.18f}" for k, value in enumerate(told)],
        view_confidences=np.full(len(told), reliability),
        prior_estimator=base,
    )


def _mean_risk(
    objective: str, moment: Moment, portfolio: PortfolioSettings, cost: float | None = None, prior: Any = None
) -> NDArray[np.float64]:
    from skfolio import optimization

    linear = portfolio.risk in LINEAR and objective != "MAXIMIZE_RATIO"
    prior = _prior(moment, portfolio) if prior is None else prior

    def make(limits: Limits, added: Cost | None) -> Any:
        exact = limits.count is not None
        told: dict[str, Any] = {}
        if exact:
            told = {"solver": "SCIPY", "solver_params": {"scipy_options": {"time_limit": MIP_SECONDS}}}
        elif "variance" in portfolio.risk:
            told = {"scale_objective": SCALE}
        made = within("MeanRisk")(
            objective_function=getattr(optimization.ObjectiveFunction, objective),
            risk_measure=_risk(portfolio),
            risk_aversion=portfolio.risk_aversion,
            prior_estimator=prior,
            min_weights=None,
            max_weights=None,
            budget=None,
            # skfolio counts these in the expected return, which is not part of the objective of least risk
            transaction_costs=0.0 if cost is not None else moment.cost,
            previous_weights=limits.held,
            cvar_beta=portfolio.tail,
            cdar_beta=portfolio.tail,
            add_objective=added,
            **told,
        )
        made.limits = limits
        return made

    return solved(make, moment, cost_of(moment, cost or 0.0), exact=linear)


def _hierarchical(name: str, moment: Moment, portfolio: PortfolioSettings) -> NDArray[np.float64]:
    from skfolio import optimization
    from skfolio.cluster import HierarchicalClustering, LinkageMethod
    from skfolio.distance import CovarianceDistance

    if len(moment.symbols) == 1:
        return np.array([portfolio.gross])
    if len(moment.symbols) == 2:  # one fork: both rules weigh its ends by 1 / variance, and skfolio asks for three
        inverse = 1.0 / np.diag(estimates.covariance(moment.returns, portfolio.covariance))
        return np.asarray(portfolio.gross * inverse / inverse.sum())
    model = getattr(optimization, name)(
        prior_estimator=_prior(moment, portfolio),
        distance_estimator=CovarianceDistance(covariance_estimator=estimates.estimator(portfolio.covariance)),
        hierarchical_clustering_estimator=HierarchicalClustering(
            linkage_method=LinkageMethod[portfolio.linkage.upper()]
        ),
    )
    return portfolio.gross * fitted(model, moment)


def _stretched(weights: NDArray[np.float64], limits: Limits) -> NDArray[np.float64]:
    """The largest multiple of weights that obeys the limits; turnover apart, of which nothing is said here."""
    room = [limits.gross / np.abs(weights).sum()] if limits.gross is not None and weights.any() else []
    with np.errstate(divide="ignore", invalid="ignore"):
        for value, low, high in (
            (weights, limits.lower, limits.upper),
            (limits.rows @ weights, limits.low, limits.high),
        ):
            ratio = np.where(value > 0, high / value, np.where(value < 0, low / value, np.inf))
            room += ratio[np.abs(value) > 1e-9].tolist()
    most = min(room, default=1.0)
    return weights if limits.turnover is not None or most <= 1.0 else weights * most


def _risk(portfolio: PortfolioSettings) -> Any:
    from skfolio import RiskMeasure

    return getattr(RiskMeasure, _RISKS[portfolio.risk])


def _prior(moment: Moment, portfolio: PortfolioSettings) -> Any:
    """skfolio's estimate of mean and covariance, with the expected returns that the settings ask for."""
    from skfolio.moments import EquilibriumMu, ShrunkMu
    from skfolio.prior import EmpiricalPrior

    covariance = estimates.estimator(portfolio.covariance)
    if portfolio.expected == "history":
        mean = ShrunkMu(covariance_estimator=estimates.estimator(portfolio.covariance))
    elif portfolio.expected == "equilibrium":
        mean = EquilibriumMu(covariance_estimator=estimates.estimator(portfolio.covariance))
    else:
        mean = given()(moment.alpha)
    return EmpiricalPrior(mu_estimator=mean, covariance_estimator=covariance)
