"""Least squares over time with errors that allow for unequal variance and for dependence on the past.

References
----------
.. [1] Newey, W. K., West, K. D. (1987). A Simple, Positive Semi-definite, Heteroskedasticity and Autocorrelation
   Consistent Covariance Matrix. Econometrica 55(3), 703–708.
.. [2] Newey, W. K., West, K. D. (1994). Automatic Lag Selection in Covariance Matrix Estimation. Review of Economic
   Studies 61(4), 631–653.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aiquant.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Fit:
    """A regression.

    Attributes
    ----------
    coefficients, errors
        Of each column, float64, shape (k,): estimates and Newey–West standard errors.
    r2
        1 − Σ residual² ÷ Σ (y − ȳ)².
    residuals
        Shape (n,).
    lag
        Lags of the errors.
    """

    coefficients: NDArray[np.float64]
    errors: NDArray[np.float64]
    r2: float
    residuals: NDArray[np.float64]
    lag: int

    @property
    def t(self) -> NDArray[np.float64]:
        """Coefficients ÷ errors."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios: NDArray[np.float64] = self.coefficients / self.errors
        return ratios


def least_squares(y: NDArray[np.float64], x: NDArray[np.float64], lag: int | None = None) -> Fit:
    """Regress y on the columns of x (give a column of ones for a constant).

    The errors are the roots of the diagonal of (X'X)⁻¹ S (X'X)⁻¹ with S = Γ₀ + Σ_{j=1..L} (1 − j/(L+1))(Γ_j + Γ_j')
    and Γ_j = Σ_t e_t e_{t−j} x_t x'_{t−j} [1]_, without a correction for small samples.

    Parameters
    ----------
    y, x
        Finite, shapes (n,) and (n, k), in order of time, n > k.
    lag
        L; default: ⌊4 (n/100)^{2/9}⌋, the rule of thumb of [2]_.

    Raises
    ------
    DataError
        When there are too few rows, or a column follows from the others.
    """
    count, width = x.shape
    if count <= width:
        raise DataError(f"{count} sessions are too few for a regression on {width} columns", "give a longer history")
    if np.linalg.matrix_rank(x) < width:
        raise DataError("a column of the regression follows from the others, or does not vary")
    reach = min(lag if lag is not None else math.floor(4 * (count / 100) ** (2 / 9)), count - 1)
    inverse = np.linalg.inv(x.T @ x)
    coefficients = inverse @ (x.T @ y)
    residuals = y - x @ coefficients
    scores = x * residuals[:, None]
    spread = scores.T @ scores
    for j in range(1, reach + 1):
        gamma = scores[j:].T @ scores[:-j]
        spread += (1 - j / (reach + 1)) * (gamma + gamma.T)
    errors = np.sqrt(np.maximum(np.diag(inverse @ spread @ inverse), 0.0))
    total = float(((y - y.mean()) ** 2).sum())
    r2 = 1.0 - float((residuals**2).sum()) / total if total > 0 else math.nan
    return Fit(coefficients, errors, r2, residuals, reach)
