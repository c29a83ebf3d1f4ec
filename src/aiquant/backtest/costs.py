"""What a trade costs: compiled functions of plain numbers, for the account's kernel and for sweeps over parameters.

Market impact is the square-root law: a trade of Q shares moves the price by Y·σ·sqrt(Q ÷ V), σ the volatility and V the
mean volume of a bar (Y about 1; Tóth et al. 2011, "Anomalous price impact and the critical nature of liquidity").
It does not depend on the length of the bars: over k of them σ grows by sqrt(k), and V by k.
"""

from __future__ import annotations

import math

from aiquant.backtest import rules as house
from aiquant.backtest.ledger import inlined
from aiquant.backtest.rules import Rules

_MOST = house.MOST_SLIPPAGE


@inlined
def slippage_with_impact(base: float, impact: float, size: float) -> float:
    """Fraction of the price lost by a trade of ``size`` shares: ``base``, and ``impact`` times their square root."""
    return min(base + impact * math.sqrt(size), _MOST)


@inlined
def slipped(raw: float, trade: float, slippage: float) -> float:
    """The price that a trade gets: a buy (> 0) pays more, a sale less."""
    return raw * (1.0 + slippage) if trade > 0.0 else raw * (1.0 - slippage)


@inlined
def commission_without_minimum(rules: Rules, size: float, notional: float) -> float:
    """Commission by shares and by cash."""
    commission = notional * rules.commission
    if rules.per_share > 0.0:
        commission += size * rules.per_share
    return commission


@inlined
def commission_of(rules: Rules, size: float, notional: float) -> float:
    """Commission on what was executed: ``size`` shares for ``notional`` cash."""
    return max(float(commission_without_minimum(rules, size, notional)), rules.minimum)
