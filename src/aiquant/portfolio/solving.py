"""Problems handed to skfolio: our limits in them, their weights out of them, and nothing said on the way.

skfolio and CVXPY are imported when a problem is solved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.portfolio.limits import Limits, Unsolved, quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aiquant.portfolio.moment import Moment

Cost = Callable[[Any], Any]
"""Of CVXPY's weights, what is added to the objective."""


def solved(
    make: Callable[[Limits, Cost | None], Any], moment: Moment, cost: Cost | None, exact: bool = False
) -> NDArray[np.float64]:
    """Weights of an estimator that carries the limits; the count of names by the solver where it can."""
    limits = moment.limits
    if limits.count is None:
        return limits.checked(fitted(make(limits, cost), moment))
    if exact:
        try:
            return limits.checked(fitted(make(limits, cost), moment))
        except Unsolved:  # too much for the time it may take
            pass
    free = replace(limits, count=None)
    first = free.checked(fitted(make(free, cost), moment))
    kept = replace(limits.keep_largest(first), count=None)
    return limits.checked(fitted(make(kept, cost), moment))


def cost_of(moment: Moment, cost: float) -> Cost | None:
    """What trading costs, to be added to an objective that is made small."""
    if cost == 0.0:
        return None
    held = moment.held

    def added(w: Any) -> Any:
        import cvxpy as cp

        return cost * cp.norm1(w - held)

    return added


def fitted(model: Any, moment: Moment) -> NDArray[np.float64]:
    """Weights of a model; whatever it says on the way is kept from the user.

    Raises
    ------
    Unsolved
        When the solver failed, the problem has no solution, or the numbers cannot be worked with.
    """
    if not len(moment.symbols):
        raise Unsolved("no symbol has enough past returns")
    try:
        with quiet():
            model.fit(frame(moment.returns))
    except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError) as error:
        raise Unsolved(_first_line(error)) from error
    except Exception as error:
        if type(error).__module__.startswith("cvxpy"):
            raise Unsolved(_first_line(error)) from error
        raise
    weights = np.asarray(model.weights_, dtype=np.float64)
    if not np.isfinite(weights).all():
        raise Unsolved("the solver's weights are no numbers")
    return weights


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).split(". Try another")[0]


@lru_cache(maxsize=8)
def within(name: str) -> Any:
    """skfolio's optimiser of that name, with our limits in its problem.

    ``_get_weight_constraints`` is not of skfolio's public interface; it is the one place that knows the scale of a
    ratio's weights. A test would notice its change, and the version is pinned.
    """
    from skfolio import optimization

    base = getattr(optimization, name)

    def constraints(self: Any, n_assets: int, w: Any, factor: Any, **told: Any) -> list[Any]:
        import cvxpy as cp

        own = base._get_weight_constraints(self, n_assets=n_assets, w=w, factor=factor, **told)
        found = [*own, *self.limits.constraints(w, factor)]
        if self.limits.count is not None:
            chosen = cp.Variable(n_assets, boolean=True)
            found += [
                cp.sum(chosen) <= self.limits.count,
                w <= cp.multiply(np.maximum(self.limits.upper, 0.0), chosen),
                w >= cp.multiply(np.minimum(self.limits.lower, 0.0), chosen),
            ]
        return found

    def parameters(_: type) -> list[str]:
        return sorted(base._get_param_names())

    told = {"_get_weight_constraints": constraints, "_get_param_names": classmethod(parameters)}
    return type(name, (base,), told)


@lru_cache(maxsize=1)
def given() -> Any:
    """The class of expected returns that are given; made when skfolio is there."""
    from skfolio.moments import BaseMu

    class Given(BaseMu):  # type: ignore[misc]
        def __init__(self, mean: NDArray[np.float64]) -> None:
            self.mean = mean

        def fit(self, X: Any, y: Any = None) -> Any:
            self.mu_ = np.asarray(self.mean)
            return self

    return Given


def frame(returns: NDArray[np.float64]) -> Any:
    """With names that mean nothing to skfolio's language of equations, whatever a symbol is called."""
    import pandas as pd

    return pd.DataFrame(returns, columns=[f"x{k}" for k in range(returns.shape[1])])
