"""Prices of a market that never was: regimes, splits, halts, delistings; the same for the same seed.

Everything can be asked for at random: a day, a minute, a trade depends on the seed, the symbol and the time alone, not
on what was asked before. Trades add up to minute bars and minute bars to day bars, exactly.

Daily log returns are ``β·market + own``, the market's volatility following a Markov chain of three regimes (Hamilton
1989), and a part of them answers to yesterday's news: the signal that a model may find.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aiquant import calendars

CALENDAR = "XNYS"
FIRST = date(2015, 1, 2)
MINUTE_NS = 60 * 10**9
REGIMES = np.array([0.006, 0.012, 0.03])  # the market's daily volatility
STAY = np.array([[0.985, 0.014, 0.001], [0.02, 0.97, 0.01], [0.005, 0.075, 0.92]])
_SIGNAL = 0.35  # of a day's own volatility, per unit of yesterday's tone
_START = (
    "Vel",
    "Nor",
    "Qua",
    "Ter",
    "Lum",
    "Bri",
    "Cas",
    "Dra",
    "Eon",
    "Fal",
    "Gry",
    "Hex",
    "Ion",
    "Jor",
    "Kel",
    "Zan",
)
_MIDDLE = ("ora", "dex", "vio", "mar", "tec", "lin", "sol", "pha", "rix", "gen", "ton", "bel")
_END = ("Systems", "Energy", "Foods", "Health", "Motors", "Bank", "Retail", "Chips", "Air", "Media")


@dataclass(frozen=True)
class Company:
    """A company of the market."""

    symbol: str
    name: str
    listed: int  # position of its first session
    delisted: int | None  # position of the first session without it


@dataclass(frozen=True)
class Split:
    """``ratio`` new shares for an old one from a session on."""

    symbol: str
    day: date
    ratio: float


@dataclass(frozen=True)
class Minutes:
    """Minute bars of one session, those without trades left out; prices as traded."""

    start_ns: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.int64]
    trades: NDArray[np.int64]


@dataclass(frozen=True)
class Trades:
    """Trades in the order of time."""

    time_ns: NDArray[np.int64]
    price: NDArray[np.float64]
    size: NDArray[np.int64]
    exchange: NDArray[np.int64]
    number: NDArray[np.int64]  # id and sequence within the session


class Market:
    """The market of one seed.

    Parameters
    ----------
    symbols
        Companies, the delisted ones among them.
    trades_a_minute
        On average, at least four.
    last
        The last day that is known.
    """

    def __init__(
        self, seed: int = 7, symbols: int = 20, trades_a_minute: float = 30.0, last: date | None = None
    ) -> None:
        self.seed, self.trades_a_minute = seed, max(4.0, trades_a_minute)
        self.sessions = calendars.sessions(CALENDAR, FIRST, last or date.today() + timedelta(days=30))
        self.opens_ns = self.sessions.opens.astype("datetime64[ns]").astype(np.int64)
        self.closes_ns = self.sessions.closes.astype("datetime64[ns]").astype(np.int64)
        rng = np.random.default_rng([seed, 1])
        self.companies = _companies(rng, symbols, len(self.sessions))
        self.index = {company.symbol: i for i, company in enumerate(self.companies)}
        self._daily(rng)

    def _daily(self, rng: np.random.Generator) -> None:
        n, days = len(self.companies), len(self.sessions)
        regime = np.zeros(days, dtype=np.int64)
        draws = rng.random(days)
        for t in range(1, days):
            regime[t] = np.searchsorted(np.cumsum(STAY[regime[t - 1]]), draws[t])
        regime = np.minimum(regime, 2)
        market = rng.normal(0.0004, 1.0, days) * REGIMES[regime]
        own = rng.uniform(0.008, 0.02, (n, 1))
        # the tone of the day's news, mostly none
        self.tone = rng.choice([-1.0, 0.0, 1.0], (n, days), p=[0.15, 0.7, 0.15])
        signal = np.concatenate([np.zeros((n, 1)), self.tone[:, :-1]], axis=1) * own * _SIGNAL
        move = rng.uniform(0.5, 1.5, (n, 1)) * market + own * rng.normal(0, 1, (n, days)) + signal
        adjusted = rng.uniform(20, 200, (n, 1)) * np.exp(np.cumsum(move - 0.5 * own**2, axis=1))
        gap = own * 0.3 * rng.normal(0, 1, (n, days))
        opens = np.concatenate([adjusted[:, :1], adjusted[:, :-1]], axis=1) * np.exp(gap)
        reach = np.abs(own * 0.4 * rng.normal(0, 1, (2, n, days)))
        self.splits = self._splits(rng, n, days)
        factor = np.ones((n, days))  # as traded ÷ adjusted
        for split in self.splits:
            at = int(np.searchsorted(self.sessions.dates, np.datetime64(split.day)))
            factor[self.index[split.symbol], :at] *= split.ratio
        self.open = np.round(opens * factor, 2)
        self.close = np.round(adjusted * factor, 2)
        top, bottom = np.maximum(self.open, self.close), np.minimum(self.open, self.close)
        self.high, self.low = np.round(top * np.exp(reach[0]), 2), np.round(bottom * np.exp(-reach[1]), 2)
        for prices in (self.open, self.close, self.high, self.low):
            np.maximum(prices, 0.01, out=prices)
        self.factor = factor
        self.volume = rng.lognormal(13, 0.6, (n, days)).astype(np.int64) + 10_000

    def _splits(self, rng: np.random.Generator, n: int, days: int) -> list[Split]:
        made = []
        for i in range(n):
            for at in np.sort(rng.choice(np.arange(50, days - 50), rng.integers(0, 3), replace=False)):
                ratio = float(rng.choice([2.0, 3.0, 4.0, 0.1]))
                made.append(Split(self.companies[i].symbol, self.sessions.dates[at].item(), ratio))
        return made

    def trading(self, symbol: str, at: int) -> bool:
        """Whether a symbol trades in the session at that position."""
        company = self.companies[self.index[symbol]]
        return company.listed <= at < (len(self.sessions) if company.delisted is None else company.delisted)

    @lru_cache(maxsize=4096)  # noqa: B019 - a market lives as long as its process
    def minutes(self, symbol: str, at: int) -> Minutes:
        """Minute bars of the session at that position."""
        i = self.index[symbol]
        rng = np.random.default_rng([self.seed, 2, i, at])
        count = int((self.closes_ns[at] - self.opens_ns[at]) // MINUTE_NS)
        here = np.ones(count, dtype=bool)
        if rng.random() < 0.02:  # a halt
            begin = int(rng.integers(1, count - 40))
            here[begin : begin + int(rng.integers(5, 31))] = False
        here[1:-1] &= rng.random(count - 2) > 0.01  # minutes in which nobody traded
        slots = np.flatnonzero(here)
        m = len(slots)
        bounds = self.low[i, at], self.high[i, at]
        path = _bridge(rng, self.open[i, at], self.close[i, at], m)
        path = np.clip(path, *bounds).round(2)
        path[0], path[-1] = self.open[i, at], self.close[i, at]
        opens, closes = path[:-1], path[1:]
        wiggle = np.abs(rng.normal(0, 0.0005, (2, m)))
        high = np.round(np.minimum(np.maximum(opens, closes) * (1 + wiggle[0]), bounds[1]), 2)
        low = np.round(np.maximum(np.minimum(opens, closes) * (1 - wiggle[1]), bounds[0]), 2)
        high[int(np.argmax(high))], low[int(np.argmin(low))] = bounds[1], bounds[0]
        share = 1.0 + 2.0 * (2.0 * np.arange(m) / m - 1.0) ** 2  # more at the open and the close
        volume = 100 + rng.multinomial(int(self.volume[i, at]), share / share.sum())
        trades = np.minimum(4 + rng.poisson(self.trades_a_minute - 4, m), volume)
        start = self.opens_ns[at] + slots * MINUTE_NS
        return Minutes(start, opens.copy(), high, low, closes.copy(), volume, trades)

    @lru_cache(maxsize=512)  # noqa: B019
    def day_trades(self, symbol: str, at: int) -> Trades:
        """All trades of a session."""
        bars = self.minutes(symbol, at)
        rng = np.random.default_rng([self.seed, 3, self.index[symbol], at])
        n = bars.trades
        total = int(n.sum())
        minute = np.repeat(np.arange(len(n)), n)
        first = np.concatenate([[0], np.cumsum(n)[:-1]])
        last = first + n - 1
        time = bars.start_ns[minute] + rng.integers(0, MINUTE_NS, total)
        time = time[np.lexsort((time, minute))]
        price = np.round(rng.uniform(bars.low[minute], bars.high[minute]), 2)
        price[first], price[last] = bars.open, bars.close
        price[first + 1], price[first + 2] = bars.high, bars.low
        size = np.ones(total, dtype=np.int64)
        size += _spread(rng, bars.volume - n, n)
        return Trades(time, price, size, rng.choice([4, 8, 10, 12, 15, 19], total), np.arange(total))

    def trades(self, symbol: str, from_ns: int, before_ns: int, most: int | None = None) -> tuple[int, Trades]:
        """Trades from a moment on and before another one, of one session: its position, and what was found there.

        The first session with any counts; position −1 when there is none.
        """
        at = int(np.searchsorted(self.closes_ns, from_ns, side="right"))
        while at < len(self.sessions) and self.opens_ns[at] < before_ns:
            if self.trading(symbol, at):
                whole = self.day_trades(symbol, at)
                begin, end = np.searchsorted(whole.time_ns, [from_ns, before_ns])
                end = min(end, begin + most) if most is not None else end
                if end > begin:
                    cut = slice(begin, end)
                    return at, Trades(*(getattr(whole, name)[cut] for name in Trades.__dataclass_fields__))
            at += 1
        empty = np.empty(0, dtype=np.int64)
        return -1, Trades(empty, empty.astype(float), empty, empty, empty)


def _companies(rng: np.random.Generator, count: int, days: int) -> list[Company]:
    stems = [a + b for a in _START for b in _MIDDLE]
    made: list[Company] = []
    used: set[str] = set()
    for stem in (stems[i] for i in rng.permutation(len(stems))):
        for end in rng.permutation(len(_END)):
            name = f"{stem} {_END[end]}"
            symbol = next(
                (s for s in (stem[:4].upper(), (stem[:3] + _END[end][0]).upper(), stem[:5].upper()) if s not in used),
                "",
            )
            if not symbol or len(made) == count:
                break
            used.add(symbol)
            fate, listed = rng.random(), 0
            if fate < 0.1 and made:
                listed = int(rng.integers(200, days // 2))
            gone = int(rng.integers(days // 2, days - 60)) if fate > 0.9 and made else None
            made.append(Company(symbol, name, listed, gone))
            if count <= len(stems):  # one company a stem while they last
                break
    return made


def _bridge(rng: np.random.Generator, start: float, end: float, steps: int) -> NDArray[np.float64]:
    """A path of ``steps`` + 1 prices from start to end."""
    walk = np.concatenate([[0.0], np.cumsum(rng.normal(0, 0.01 / np.sqrt(steps), steps))])
    walk -= np.linspace(0, walk[-1], steps + 1)
    straight = np.linspace(np.log(start), np.log(end), steps + 1)
    path: NDArray[np.float64] = np.exp(straight + walk)
    return path


def _spread(rng: np.random.Generator, rest: NDArray[np.int64], n: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rest of each minute's volume, spread over its trades by chance; sums are kept."""
    weight = rng.exponential(1.0, int(n.sum()))
    minute = np.repeat(np.arange(len(n)), n)
    share = weight / np.bincount(minute, weight)[minute]
    part = np.floor(share * rest[minute]).astype(np.int64)
    left = rest - np.bincount(minute, part).astype(np.int64)
    first = np.concatenate([[0], np.cumsum(n)[:-1]])
    part[first] += left
    return part
