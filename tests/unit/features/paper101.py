"""The paper's formulas a second time: its own notation, on arrays of numpy, without anything of aiquant.

A :class:`Panel` holds dates × symbols and how many dates it looks back; a cross-section leaves out who has less.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = Any
NAN = np.nan


class Panel:
    """Values, dates × symbols, and the number of earlier dates that each depends on."""

    def __init__(self, values: Array, reach: int, market: Market) -> None:
        self.values, self.reach, self.market = values, reach, market

    def _with(self, other: Any, function: Callable[[Array, Array], Array]) -> Panel:
        theirs = other if isinstance(other, Panel) else Panel(np.full_like(self.values, other), 0, self.market)
        with np.errstate(all="ignore"):
            return Panel(function(self.values, theirs.values), max(self.reach, theirs.reach), self.market)

    def __add__(self, other: Any) -> Panel:
        return self._with(other, np.add)

    def __sub__(self, other: Any) -> Panel:
        return self._with(other, np.subtract)

    def __mul__(self, other: Any) -> Panel:
        return self._with(other, np.multiply)

    def __truediv__(self, other: Any) -> Panel:
        return self._with(other, lambda a, b: np.where(b == 0, NAN, a / b))

    def __pow__(self, other: Any) -> Panel:
        return self._with(other, lambda a, b: finite(np.power(a, b)))

    def __radd__(self, other: float) -> Panel:
        return self + other

    def __rsub__(self, other: float) -> Panel:
        return self * -1 + other

    def __rmul__(self, other: float) -> Panel:
        return self * other

    def __rtruediv__(self, other: float) -> Panel:
        return (self * 0 + other) / self

    def __lt__(self, other: Any) -> Panel:
        return self._with(other, lambda a, b: np.where(np.isnan(a) | np.isnan(b), NAN, a < b))

    def __gt__(self, other: Any) -> Panel:
        return self._with(other, lambda a, b: np.where(np.isnan(a) | np.isnan(b), NAN, a > b))

    def of(self, values: Array, more: int = 0) -> Panel:
        return Panel(values, self.reach + more, self.market)


class Market:
    """Bars: ``there`` says where one is, ``inside`` where a symbol lies between its first and last."""

    def __init__(self, fields: dict[str, Array], groups: dict[str, Array]) -> None:
        self.there = np.isfinite(fields["close"])
        seen = np.cumsum(self.there, axis=0) > 0
        self.inside = seen & (np.cumsum(self.there[::-1], axis=0)[::-1] > 0)
        self.age = np.where(seen, np.cumsum(seen, axis=0) - 1, -1)
        self.fields = {name: Panel(values, 0, self) for name, values in fields.items()}
        self.groups = {name: Panel(values, 0, self) for name, values in groups.items()}

    def compared(self, x: Panel) -> Array:
        """What takes part in a cross-section, NaN for the rest."""
        return np.where(self.there & (self.age >= x.reach) & np.isfinite(x.values), x.values, NAN)

    def result(self, x: Panel) -> Array:
        return np.where(self.there & (self.age >= x.reach), finite(x.values), NAN)


def finite(values: Array) -> Array:
    return np.where(np.isinf(values), NAN, values)


def windows(x: Panel, d: float) -> Array:
    """dates × symbols × slots, the newest last; no value outside of a symbol's history."""
    w = math.floor(d)
    padded = np.concatenate(
        [np.full((w - 1, x.values.shape[1]), NAN), np.where(x.market.inside, finite(x.values), NAN)]
    )
    return sliding_window_view(padded, w, axis=0)


def rolling(x: Panel, d: float, function: Callable[[Array], Array], fewest: int = 1) -> Panel:
    w = math.floor(d)
    seen = windows(x, d)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        values = function(seen)
    enough = np.isfinite(seen).sum(axis=2) >= max((w + 1) // 2, fewest)
    return x.of(np.where(enough, values, NAN), w - 1)


def total(x: Panel, d: float) -> Panel:
    return rolling(x, d, lambda v: np.nansum(v, axis=2))


def mean(x: Panel, d: float) -> Panel:
    return rolling(x, d, lambda v: np.nanmean(v, axis=2))


def stddev(x: Panel, d: float) -> Panel:
    return rolling(x, d, lambda v: np.nanstd(v, axis=2, ddof=1), 2)


def product(x: Panel, d: float) -> Panel:
    return rolling(x, d, lambda v: np.nanprod(v, axis=2))


def ts_min(x: Panel, d: float) -> Panel:
    return rolling(x, d, lambda v: np.nanmin(v, axis=2))


def ts_max(x: Panel, d: float) -> Panel:
    return rolling(x, d, lambda v: np.nanmax(v, axis=2))


def ts_argmax(x: Panel, d: float) -> Panel:
    return rolling(x, d, lambda v: np.argmax(np.where(np.isnan(v), -np.inf, v), axis=2) + 1.0)


def ts_argmin(x: Panel, d: float) -> Panel:
    return rolling(x, d, lambda v: np.argmin(np.where(np.isnan(v), np.inf, v), axis=2) + 1.0)


def ts_rank(x: Panel, d: float) -> Panel:
    def place(v: Array) -> Array:
        today = v[:, :, -1:]
        below, same = (v < today).sum(axis=2), (v == today).sum(axis=2)
        return np.where(np.isnan(today[:, :, 0]), NAN, (below + (same + 1) / 2) / np.isfinite(v).sum(axis=2))

    return rolling(x, d, place)


def decay_linear(x: Panel, d: float) -> Panel:
    weight = np.arange(1.0, math.floor(d) + 1)
    return rolling(x, d, lambda v: np.nansum(v * weight, axis=2) / np.sum(np.isfinite(v) * weight, axis=2))


def correlation(x: Panel, y: Panel, d: float, covariance: bool = False) -> Panel:
    w = math.floor(d)
    a, b = windows(x, d), windows(y, d)
    both = np.isfinite(a) & np.isfinite(b)
    n = both.sum(axis=2)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        a, b = np.where(both, a, NAN), np.where(both, b, NAN)
        p, q = a - np.nanmean(a, axis=2)[:, :, None], b - np.nanmean(b, axis=2)[:, :, None]
        shared = np.nansum(p * q, axis=2)
        flat = np.zeros(n.shape, dtype=bool)
        for v, c in ((a, p), (b, q)):
            flat |= np.nansum(c * c, axis=2) <= 1e-18 * np.nansum(v * v, axis=2)
        own = np.sqrt(np.nansum(p * p, axis=2) * np.nansum(q * q, axis=2))
        values = shared / (n - 1) if covariance else np.where(flat, NAN, shared / own)
    values = np.where(n >= max((w + 1) // 2, 2), values, NAN)
    return Panel(values, max(x.reach, y.reach) + w - 1, x.market)


def delay(x: Panel, d: float) -> Panel:
    by = math.floor(d)
    moved = np.full_like(x.values, NAN)
    moved[by:] = np.where(x.market.inside, x.values, NAN)[:-by]
    return x.of(moved, by)


def delta(x: Panel, d: float) -> Panel:
    return x - delay(x, d)


def rank(x: Panel) -> Panel:
    v = x.market.compared(x)
    below = (v[:, None, :] < v[:, :, None]).sum(axis=2)
    same = (v[:, None, :] == v[:, :, None]).sum(axis=2)
    with np.errstate(all="ignore"):
        return x.of(np.where(np.isnan(v), NAN, (below + (same + 1) / 2) / np.isfinite(v).sum(axis=1)[:, None]))


def scale(x: Panel) -> Panel:
    v = x.market.compared(x)
    size = np.nansum(np.abs(v), axis=1)[:, None]
    return x.of(v / np.where(size > 0, size, NAN))


def indneutralize(x: Panel, level: str) -> Panel:
    v, group = x.market.compared(x), x.market.groups[level].values
    out = np.full_like(v, NAN)
    for code in np.unique(group[np.isfinite(group)]):
        own = np.where(group == code, v, NAN)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = np.where(np.isfinite(own), own - np.nanmean(own, axis=1)[:, None], out)
    return x.of(out)


def log(x: Panel) -> Panel:
    with np.errstate(all="ignore"):
        return x.of(finite(np.log(x.values)))


def sign(x: Panel) -> Panel:
    return x.of(np.sign(x.values))


def absolute(x: Panel) -> Panel:
    return x.of(np.abs(x.values))


def larger(x: Panel, y: Panel) -> Panel:
    return x._with(y, np.maximum)


def smaller(x: Panel, y: Panel) -> Panel:
    return x._with(y, np.minimum)


def where(condition: Panel, a: Any, b: Any) -> Panel:
    yes = condition * 0 + a
    no = condition * 0 + b
    values = np.where(condition.values != 0, yes.values, no.values)
    return Panel(np.where(np.isnan(condition.values), NAN, values), max(yes.reach, no.reach), condition.market)


def formulas(m: Market) -> dict[int, Panel]:
    """All alphas by number."""
    f = m.fields
    open_, high, low, close, volume, vwap = (f[n] for n in ("open", "high", "low", "close", "volume", "vwap"))
    returns = close / delay(close, 1) - 1
    dollars = close * volume

    def adv(d: int) -> Panel:
        return mean(dollars, d)

    def mix(x: Panel, y: Panel, c: float) -> Panel:
        return (x * c) + (y * (1 - c))

    def bend() -> Panel:
        return ((delay(close, 20) - delay(close, 10)) / 10) - ((delay(close, 10) - close) / 10)

    def place() -> Panel:
        return ((close - low) - (high - close)) / (high - low)

    def two_ways(d: int) -> Panel:
        move = delta(close, 1)
        return where(0 < ts_min(move, d), move, where(ts_max(move, d) < 0, move, -1 * move))

    middle = (high + low) / 2
    busy = dollars / adv(20)
    trend = delta(total(close, 100) / 100, 100) / delay(close, 100)
    earned = total(open_, 5) * total(returns, 5)
    spread = (high - low) / (total(close, 5) / 5)
    open_low = mix(open_, low, 0.147155)
    return {
        1: rank(ts_argmax(where(returns < 0, stddev(returns, 20), close) ** 2.0, 5)) - 0.5,
        2: -1 * correlation(rank(delta(log(volume), 2)), rank((close - open_) / open_), 6),
        3: -1 * correlation(rank(open_), rank(volume), 10),
        4: -1 * ts_rank(rank(low), 9),
        5: rank(open_ - (total(vwap, 10) / 10)) * (-1 * absolute(rank(close - vwap))),
        6: -1 * correlation(open_, volume, 10),
        7: where(adv(20) < dollars, (-1 * ts_rank(absolute(delta(close, 7)), 60)) * sign(delta(close, 7)), -1.0),
        8: -1 * rank(earned - delay(earned, 10)),
        9: two_ways(5),
        10: rank(two_ways(4)),
        11: (rank(ts_max(vwap - close, 3)) + rank(ts_min(vwap - close, 3))) * rank(delta(volume, 3)),
        12: sign(delta(volume, 1)) * (-1 * delta(close, 1)),
        13: -1 * rank(correlation(rank(close), rank(volume), 5, covariance=True)),
        14: (-1 * rank(delta(returns, 3))) * correlation(open_, volume, 10),
        15: -1 * total(rank(correlation(rank(high), rank(volume), 3)), 3),
        16: -1 * rank(correlation(rank(high), rank(volume), 5, covariance=True)),
        17: ((-1 * rank(ts_rank(close, 10))) * rank(delta(delta(close, 1), 1))) * rank(ts_rank(busy, 5)),
        18: -1 * rank((stddev(absolute(close - open_), 5) + (close - open_)) + correlation(close, open_, 10)),
        19: (-1 * sign((close - delay(close, 7)) + delta(close, 7))) * (1 + rank(1 + total(returns, 250))),
        20: ((-1 * rank(open_ - delay(high, 1))) * rank(open_ - delay(close, 1))) * rank(open_ - delay(low, 1)),
        21: where(
            ((total(close, 8) / 8) + stddev(close, 8)) < (total(close, 2) / 2),
            -1.0,
            where(
                (total(close, 2) / 2) < ((total(close, 8) / 8) - stddev(close, 8)),
                1.0,
                where((1 - busy) > 0, -1.0, 1.0),  # 1 where volume ÷ adv20 is 1 or more
            ),
        ),
        22: -1 * (delta(correlation(high, volume, 5), 5) * rank(stddev(close, 20))),
        23: where((total(high, 20) / 20) < high, -1 * delta(high, 2), 0.0),
        24: where(trend > 0.05, -1 * delta(close, 3), -1 * (close - ts_min(close, 100))),
        25: rank((((-1 * returns) * adv(20)) * vwap) * (high - close)),
        26: -1 * ts_max(correlation(ts_rank(volume, 5), ts_rank(high, 5), 5), 3),
        27: where(0.5 < rank(total(correlation(rank(volume), rank(vwap), 6), 2) / 2.0), -1.0, 1.0),
        28: scale((correlation(adv(20), low, 5) + ((high + low) / 2)) - close),
        29: ts_min(
            product(rank(rank(scale(log(total(ts_min(rank(rank(-1 * rank(delta(close - 1, 5)))), 2), 1))))), 1), 5
        )
        + ts_rank(delay(-1 * returns, 6), 5),
        30: (
            (
                1.0
                - rank(
                    (sign(close - delay(close, 1)) + sign(delay(close, 1) - delay(close, 2)))
                    + sign(delay(close, 2) - delay(close, 3))
                )
            )
            * total(volume, 5)
        )
        / total(volume, 20),
        31: (rank(rank(rank(decay_linear(-1 * rank(rank(delta(close, 10))), 10)))) + rank(-1 * delta(close, 3)))
        + sign(scale(correlation(adv(20), low, 12))),
        32: scale((total(close, 7) / 7) - close) + (20 * scale(correlation(vwap, delay(close, 5), 230))),
        33: rank(-1 * ((1 - (open_ / close)) ** 1)),
        34: rank((1 - rank(stddev(returns, 2) / stddev(returns, 5))) + (1 - rank(delta(close, 1)))),
        35: (ts_rank(volume, 32) * (1 - ts_rank((close + high) - low, 16))) * (1 - ts_rank(returns, 32)),
        36: (
            (
                (2.21 * rank(correlation(close - open_, delay(volume, 1), 15)) + 0.7 * rank(open_ - close))
                + 0.73 * rank(ts_rank(delay(-1 * returns, 6), 5))
            )
            + rank(absolute(correlation(vwap, adv(20), 6)))
        )
        + 0.6 * rank(((total(close, 200) / 200) - open_) * (close - open_)),
        37: rank(correlation(delay(open_ - close, 1), close, 200)) + rank(open_ - close),
        38: (-1 * rank(ts_rank(close, 10))) * rank(close / open_),
        39: (-1 * rank(delta(close, 7) * (1 - rank(decay_linear(busy, 9))))) * (1 + rank(total(returns, 250))),
        40: (-1 * rank(stddev(high, 10))) * correlation(high, volume, 10),
        41: ((high * low) ** 0.5) - vwap,
        42: rank(vwap - close) / rank(vwap + close),
        43: ts_rank(busy, 20) * ts_rank(-1 * delta(close, 7), 8),
        44: -1 * correlation(high, rank(volume), 5),
        45: -1
        * (
            (rank(total(delay(close, 5), 20) / 20) * correlation(close, volume, 2))
            * rank(correlation(total(close, 5), total(close, 20), 2))
        ),
        46: where(0.25 < bend(), -1.0, where(bend() < 0, 1.0, -1 * (close - delay(close, 1)))),
        47: (((rank(1 / close) * dollars) / adv(20)) * ((high * rank(high - close)) / (total(high, 5) / 5)))
        - rank(vwap - delay(vwap, 5)),
        48: indneutralize(
            (correlation(delta(close, 1), delta(delay(close, 1), 1), 250) * delta(close, 1)) / close, "subindustry"
        )
        / total((delta(close, 1) / delay(close, 1)) ** 2, 250),
        49: where(bend() < -0.1, 1.0, -1 * (close - delay(close, 1))),
        50: -1 * ts_max(rank(correlation(rank(volume), rank(vwap), 5)), 5),
        51: where(bend() < -0.05, 1.0, -1 * (close - delay(close, 1))),
        52: (
            ((-1 * ts_min(low, 5)) + delay(ts_min(low, 5), 5)) * rank((total(returns, 240) - total(returns, 20)) / 220)
        )
        * ts_rank(volume, 5),
        53: -1 * delta(((close - low) - (high - close)) / (close - low), 9),
        54: (-1 * ((low - close) * (open_**5))) / ((low - high) * (close**5)),
        55: -1 * correlation(rank((close - ts_min(low, 12)) / (ts_max(high, 12) - ts_min(low, 12))), rank(volume), 6),
        56: 0 - (1 * (rank(total(returns, 10) / total(total(returns, 2), 3)) * rank(returns * f["cap"]))),
        57: 0 - (1 * ((close - vwap) / decay_linear(rank(ts_argmax(close, 30)), 2))),
        58: -1 * ts_rank(decay_linear(correlation(indneutralize(vwap, "sector"), volume, 3.92795), 7.89291), 5.50322),
        59: -1
        * ts_rank(
            decay_linear(correlation(indneutralize(mix(vwap, vwap, 0.728317), "industry"), volume, 4.25197), 16.2289),
            8.19648,
        ),
        60: 0 - (1 * ((2 * scale(rank(place() * volume))) - scale(rank(ts_argmax(close, 10))))),
        61: rank(vwap - ts_min(vwap, 16.1219)) < rank(correlation(vwap, adv(180), 17.9282)),
        62: (
            rank(correlation(vwap, total(adv(20), 22.4101), 9.91009))
            < rank((rank(open_) + rank(open_)) < (rank((high + low) / 2) + rank(high)))
        )
        * -1,
        63: (
            rank(decay_linear(delta(indneutralize(close, "industry"), 2.25164), 8.22237))
            - rank(decay_linear(correlation(mix(vwap, open_, 0.318108), total(adv(180), 37.2467), 13.557), 12.2883))
        )
        * -1,
        64: (
            rank(correlation(total(mix(open_, low, 0.178404), 12.7054), total(adv(120), 12.7054), 16.6208))
            < rank(delta(mix(middle, vwap, 0.178404), 3.69741))
        )
        * -1,
        65: (
            rank(correlation(mix(open_, vwap, 0.00817205), total(adv(60), 8.6911), 6.40374))
            < rank(open_ - ts_min(open_, 13.635))
        )
        * -1,
        66: (
            rank(decay_linear(delta(vwap, 3.51013), 7.23052))
            + ts_rank(decay_linear((mix(low, low, 0.96633) - vwap) / (open_ - middle), 11.4157), 6.72611)
        )
        * -1,
        67: (
            rank(high - ts_min(high, 2.14593))
            ** rank(correlation(indneutralize(vwap, "sector"), indneutralize(adv(20), "subindustry"), 6.02936))
        )
        * -1,
        68: (
            ts_rank(correlation(rank(high), rank(adv(15)), 8.91644), 13.9333)
            < rank(delta(mix(close, low, 0.518371), 1.06157))
        )
        * -1,
        69: (
            rank(ts_max(delta(indneutralize(vwap, "industry"), 2.72412), 4.79344))
            ** ts_rank(correlation(mix(close, vwap, 0.490655), adv(20), 4.92416), 9.0615)
        )
        * -1,
        70: (
            rank(delta(vwap, 1.29456))
            ** ts_rank(correlation(indneutralize(close, "industry"), adv(50), 17.8256), 17.9171)
        )
        * -1,
        71: larger(
            ts_rank(
                decay_linear(correlation(ts_rank(close, 3.43976), ts_rank(adv(180), 12.0647), 18.0175), 4.20501),
                15.6948,
            ),
            ts_rank(decay_linear(rank((low + open_) - (vwap + vwap)) ** 2, 16.4662), 4.4388),
        ),
        72: rank(decay_linear(correlation(middle, adv(40), 8.93345), 10.1519))
        / rank(decay_linear(correlation(ts_rank(vwap, 3.72469), ts_rank(volume, 18.5188), 6.86671), 2.95011)),
        73: larger(
            rank(decay_linear(delta(vwap, 4.72775), 2.91864)),
            ts_rank(decay_linear((delta(open_low, 2.03608) / open_low) * -1, 3.33829), 16.7411),
        )
        * -1,
        74: (
            rank(correlation(close, total(adv(30), 37.4843), 15.1365))
            < rank(correlation(rank(mix(high, vwap, 0.0261661)), rank(volume), 11.4791))
        )
        * -1,
        75: rank(correlation(vwap, volume, 4.24304)) < rank(correlation(rank(low), rank(adv(50)), 12.4413)),
        76: larger(
            rank(decay_linear(delta(vwap, 1.24383), 11.8259)),
            ts_rank(
                decay_linear(ts_rank(correlation(indneutralize(low, "sector"), adv(81), 8.14941), 19.569), 17.1543),
                19.383,
            ),
        )
        * -1,
        77: smaller(
            rank(decay_linear((middle + high) - (vwap + high), 20.0451)),
            rank(decay_linear(correlation(middle, adv(40), 3.1614), 5.64125)),
        ),
        78: rank(correlation(total(mix(low, vwap, 0.352233), 19.7428), total(adv(40), 19.7428), 6.83313))
        ** rank(correlation(rank(vwap), rank(volume), 5.77492)),
        79: rank(delta(indneutralize(mix(close, open_, 0.60733), "sector"), 1.23438))
        < rank(correlation(ts_rank(vwap, 3.60973), ts_rank(adv(150), 9.18637), 14.6644)),
        80: (
            rank(sign(delta(indneutralize(mix(open_, high, 0.868128), "industry"), 4.04545)))
            ** ts_rank(correlation(high, adv(10), 5.11456), 5.53756)
        )
        * -1,
        81: (
            rank(log(product(rank(rank(correlation(vwap, total(adv(10), 49.6054), 8.47743)) ** 4), 14.9655)))
            < rank(correlation(rank(vwap), rank(volume), 5.07914))
        )
        * -1,
        82: smaller(
            rank(decay_linear(delta(open_, 1.46063), 14.8717)),
            ts_rank(
                decay_linear(
                    correlation(indneutralize(volume, "sector"), mix(open_, open_, 0.634196), 17.4842), 6.92131
                ),
                13.4283,
            ),
        )
        * -1,
        83: (rank(delay(spread, 2)) * rank(rank(volume))) / (spread / (vwap - close)),
        84: ts_rank(vwap - ts_max(vwap, 15.3217), 20.7127) ** delta(close, 4.96796),
        85: rank(correlation(mix(high, close, 0.876703), adv(30), 9.61331))
        ** rank(correlation(ts_rank(middle, 3.70596), ts_rank(volume, 10.1595), 7.11408)),
        86: (
            ts_rank(correlation(close, total(adv(20), 14.7444), 6.00049), 20.4195)
            < rank((open_ + close) - (vwap + open_))
        )
        * -1,
        87: larger(
            rank(decay_linear(delta(mix(close, vwap, 0.369701), 1.91233), 2.65461)),
            ts_rank(
                decay_linear(absolute(correlation(indneutralize(adv(81), "industry"), close, 13.4132)), 4.89768),
                14.4535,
            ),
        )
        * -1,
        88: smaller(
            rank(decay_linear((rank(open_) + rank(low)) - (rank(high) + rank(close)), 8.06882)),
            ts_rank(
                decay_linear(correlation(ts_rank(close, 8.44728), ts_rank(adv(60), 20.6966), 8.01266), 6.65053), 2.61957
            ),
        ),
        89: ts_rank(decay_linear(correlation(mix(low, low, 0.967285), adv(10), 6.94279), 5.51607), 3.79744)
        - ts_rank(decay_linear(delta(indneutralize(vwap, "industry"), 3.48158), 10.1466), 15.3012),
        90: (
            rank(close - ts_max(close, 4.66719))
            ** ts_rank(correlation(indneutralize(adv(40), "subindustry"), low, 5.38375), 3.21856)
        )
        * -1,
        91: (
            ts_rank(
                decay_linear(
                    decay_linear(correlation(indneutralize(close, "industry"), volume, 9.74928), 16.398), 3.83219
                ),
                4.8667,
            )
            - rank(decay_linear(correlation(vwap, adv(30), 4.01303), 2.6809))
        )
        * -1,
        92: smaller(
            ts_rank(decay_linear((middle + close) < (low + open_), 14.7221), 18.8683),
            ts_rank(decay_linear(correlation(rank(low), rank(adv(30)), 7.58555), 6.94024), 6.80584),
        ),
        93: ts_rank(decay_linear(correlation(indneutralize(vwap, "industry"), adv(81), 17.4193), 19.848), 7.54455)
        / rank(decay_linear(delta(mix(close, vwap, 0.524434), 2.77377), 16.2664)),
        94: (
            rank(vwap - ts_min(vwap, 11.5783))
            ** ts_rank(correlation(ts_rank(vwap, 19.6462), ts_rank(adv(60), 4.02992), 18.0926), 2.70756)
        )
        * -1,
        95: rank(open_ - ts_min(open_, 12.4105))
        < ts_rank(rank(correlation(total(middle, 19.1351), total(adv(40), 19.1351), 12.8742)) ** 5, 11.7584),
        96: larger(
            ts_rank(decay_linear(correlation(rank(vwap), rank(volume), 3.83878), 4.16783), 8.38151),
            ts_rank(
                decay_linear(
                    ts_argmax(correlation(ts_rank(close, 7.45404), ts_rank(adv(60), 4.13242), 3.65459), 12.6556),
                    14.0365,
                ),
                13.4143,
            ),
        )
        * -1,
        97: (
            rank(decay_linear(delta(indneutralize(mix(low, vwap, 0.721001), "industry"), 3.3705), 20.4523))
            - ts_rank(
                decay_linear(
                    ts_rank(correlation(ts_rank(low, 7.87871), ts_rank(adv(60), 17.255), 4.97547), 18.5925), 15.7152
                ),
                6.71659,
            )
        )
        * -1,
        98: rank(decay_linear(correlation(vwap, total(adv(5), 26.4719), 4.58418), 7.18088))
        - rank(
            decay_linear(
                ts_rank(ts_argmin(correlation(rank(open_), rank(adv(15)), 20.8187), 8.62571), 6.95668), 8.07206
            )
        ),
        99: (
            rank(correlation(total(middle, 19.8975), total(adv(60), 19.8975), 8.8136))
            < rank(correlation(low, volume, 6.28259))
        )
        * -1,
        100: 0
        - (
            1
            * (
                (
                    (1.5 * scale(indneutralize(indneutralize(rank(place() * volume), "subindustry"), "subindustry")))
                    - scale(
                        indneutralize(correlation(close, rank(adv(20)), 5) - rank(ts_argmin(close, 30)), "subindustry")
                    )
                )
                * busy
            )
        ),
        101: (close - open_) / ((high - low) + 0.001),
    }
