"""Markets for the drill of the gate: prices that hold nothing to be found, or a signal of a known size.

Like the prices of the simulator (``aiquant.sources.simulator.market``): one market whose volatility follows three
regimes, betas, opens with a gap, ranges and volumes. Besides, own moves have fat tails (Student's t with four degrees
of freedom) and a volatility that clusters (an AR(1) in its logarithm).
"""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant import calendars, schemas
from aiquant.sources.simulator.market import REGIMES, STAY

FIRST = date(2012, 1, 3)
_PERSISTENCE = 0.93
"""Of the planted signal from one session to the next: it fades by half in about ten sessions."""


def bars(seed: int, signal: float = 0.0, symbols: int = 30, last: date = date(2019, 12, 31)) -> pa.Table:
    """Daily bars in the schema ``BARS``.

    Parameters
    ----------
    seed
        Of everything; markets of two seeds have nothing in common.
    signal
        Expected own return of the next session, in deviations of the own return, per unit of a signal of variance 1
        that shows in the volume of each session. 0: nothing can be forecast.
    symbols, last
        Size of the market.
    """
    sessions = calendars.sessions("XNYS", FIRST, last)
    n, rng = len(sessions), np.random.default_rng([seed, 77])
    common = rng.normal(0.0003, 1.0, n) * REGIMES[_regimes(rng, n)]
    shown = _persistent(rng, symbols, n, _PERSISTENCE)
    cluster = np.exp(0.35 * _persistent(rng, symbols, n, 0.97) - 0.06)
    tails = rng.standard_t(4, (symbols, n)) / np.sqrt(2.0)
    told = np.concatenate([np.zeros((symbols, 1)), shown[:, :-1]], axis=1)
    own = rng.uniform(0.008, 0.02, (symbols, 1))
    moves = rng.uniform(0.5, 1.5, (symbols, 1)) * common + own * (cluster * tails + signal * told)
    close = rng.uniform(20, 200, (symbols, 1)) * np.exp(np.cumsum(np.clip(moves, -0.5, 0.5), axis=1))
    before = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    opens = before * np.exp(own * 0.3 * rng.normal(size=(symbols, n)))
    reach = np.exp(np.abs(own * 0.4 * rng.normal(size=(2, symbols, n))))
    high, low = np.maximum(opens, close) * reach[0], np.minimum(opens, close) / reach[1]
    volume = np.floor(np.exp(rng.normal(13, 0.3, (symbols, n)) + 0.8 * shown))
    return _table(sessions, opens, high, low, close, volume)


def _regimes(rng: np.random.Generator, n: int) -> np.ndarray:
    regime, draws = np.zeros(n, dtype=np.int64), rng.random(n)
    for t in range(1, n):
        regime[t] = min(np.searchsorted(np.cumsum(STAY[regime[t - 1]]), draws[t]), len(REGIMES) - 1)
    return regime


def _persistent(rng: np.random.Generator, symbols: int, n: int, rho: float) -> np.ndarray:
    """AR(1) of variance 1, one row a symbol."""
    shocks = rng.normal(size=(symbols, n)) * np.sqrt(1.0 - rho**2)
    values = np.empty((symbols, n))
    values[:, 0] = rng.normal(size=symbols)
    for t in range(1, n):
        values[:, t] = rho * values[:, t - 1] + shocks[:, t]
    return values


def _table(
    sessions: calendars.Sessions,
    opens: np.ndarray,
    high: np.ndarray,
    low: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray,
) -> pa.Table:
    symbols, n = close.shape
    dates = pl.Series(np.tile(sessions.dates, symbols)).cast(pl.Date)
    closes = pl.Series(np.tile(sessions.closes, symbols)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    frame = pl.DataFrame(
        {
            "symbol": np.repeat([f"M{i:03d}" for i in range(symbols)], n),
            "interval": "1d",
            "period": dates.dt.year().cast(pl.String),
            "date": dates,
            "event_time": closes,
            "known_from": closes,
            "open": opens.ravel(),
            "high": high.ravel(),
            "low": low.ravel(),
            "close": close.ravel(),
            "volume": volume.ravel(),
            "adjustment": "none",
            "source": "drill",
        }
    )
    return schemas.conform(frame.to_arrow(), schemas.BARS)
