"""A sweep is the engine's own account of each set, to the last bit where it can be, and one pass over a plain loop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.backtest import engine, kernel, sweep
from aiquant.backtest.rules import Rules
from aiquant.portfolio.strategies import builtin

PLAIN = Rules(0.001, 0.0005, 0.0, False, False, 20)


def tape_of(fill: Any, close: Any) -> kernel.Tape:
    none = np.zeros(0, dtype=np.int64)
    rows = np.zeros(len(close) + 1, dtype=np.int64)
    return kernel.Tape(fill, close, np.isfinite(close).any(axis=1), rows, none, none, np.zeros(0))


def walk(bars: int, symbols: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0.0002, 0.02, (bars, symbols)), axis=0))
    return np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.004, close.shape)), close


def by_kernel(tape: kernel.Tape, fast: int, slow: int, rules: Rules, capital: float) -> Any:
    """The same book, its averages by NumPy, played by the kernel as any other is."""
    bars, symbols = tape.close.shape
    books, decision, before = [], np.full(bars, -1, dtype=np.int64), np.zeros(symbols, dtype=np.bool_)
    for t in range(bars):
        above = np.zeros(symbols, dtype=np.bool_)
        if t + 1 >= slow:
            window = tape.close[t + 1 - slow : t + 1]
            above = window[-fast:].mean(axis=0) > window.mean(axis=0)
        if (above != before).any():
            decision[t] = len(books)
            books.append(above / np.isfinite(tape.close[t]).sum())
        before = above
    _, journal, _ = kernel.play(tape, np.array(books), decision, rules, capital)
    return journal.book[:, 0], int(journal.counts[0]), int(np.argmax(decision >= 0))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("margin", [False, True])
@pytest.mark.parametrize("symbols", [1, 4])
def test_each_set_is_what_the_kernel_says(symbols: int, margin: bool, whole: bool) -> None:
    fill, close = walk(400, symbols, seed=symbols)
    if symbols > 1:
        close[100:105, 1] = fill[100:105, 1] = np.nan
        close[:50, 2] = fill[:50, 2] = np.nan
    tape, rules = tape_of(fill, close), PLAIN._replace(whole=whole, margin=margin)
    windows = [3, 5, 20, 33]
    pairs = np.array([(0, 2), (1, 2), (1, 3), (0, 1)], dtype=np.int64)
    means = sweep.averages(close, windows)
    done = sweep.crossings(tape, means, pairs, rules, 10_000.0, curves=True)
    for k, (i, j) in enumerate(pairs):
        equity, fills, first = by_kernel(tape, windows[i], windows[j], rules, 10_000.0)
        np.testing.assert_array_equal(done.equity[k], equity)
        assert (done.final[k], done.fills[k], done.first[k]) == (equity[-1], fills, first)
    without = sweep.crossings(tape, means, pairs, rules, 10_000.0)
    np.testing.assert_array_equal(without.final, done.final)
    assert without.equity.shape == (0, 0)


def test_averages_are_those_of_exact_sums() -> None:
    import math

    close = walk(1200, 2, seed=3)[1]
    close[700, 1] = np.nan
    for window, means in zip((1, 7, 300), sweep.averages(close, (1, 7, 300)), strict=True):
        for t in range(0, 1200, 37):
            for j in range(2):
                part = close[max(0, t + 1 - window) : t + 1, j]
                if len(part) < window or np.isnan(part).any():
                    assert np.isnan(means[t, j])
                else:
                    assert means[t, j] == pytest.approx(math.fsum(part) / window, rel=1e-13)


def test_a_constant_price_is_never_above_itself() -> None:
    close = np.full((600, 1), 10.1)
    done = sweep.crossings(tape_of(close, close), sweep.averages(close, (7, 93)), np.array([[0, 1]]), PLAIN, 1e6)
    assert done.final[0] == 1e6 and done.fills[0] == 0 and done.first[0] == 600
    assert sweep.TIE == builtin.TIE, "the strategy and the sweep mean the same by a tie"


def test_rules_beyond_the_plain_ones_are_played_by_the_kernel_itself() -> None:
    fill, close = walk(300, 1, seed=8)
    tape, rules = tape_of(fill, close), PLAIN._replace(minimum=7.0, per_share=0.01, interest=0.0001)
    assert sweep.plain(PLAIN) and not sweep.plain(rules)
    done = sweep.crossings(tape, sweep.averages(close, (3, 20)), np.array([[0, 1]]), rules, 1e4, curves=True)
    np.testing.assert_array_equal(done.equity[0], by_kernel(tape, 3, 20, rules, 1e4)[0])


@pytest.mark.parametrize(("size", "workers"), [(1, 1), (3, 1), (4, 2), (100, 3)])
def test_blocks_and_threads_change_nothing(size: int, workers: int) -> None:
    fill, close = walk(200, 1, seed=4)
    tape, means = tape_of(fill, close), sweep.averages(close, range(2, 30))
    pairs = np.array([(i, j) for i in range(0, 10, 3) for j in range(12, 28, 5)], dtype=np.int64)
    whole = sweep.crossings(tape, means, pairs, PLAIN, 1e5)
    parts = list(
        sweep.in_blocks(
            lambda b, e: sweep.crossings(tape, means, pairs[b:e], PLAIN, 1e5, begin=b), len(pairs), size, workers
        )
    )
    assert [part.begin for part in parts] == list(range(0, len(pairs), size))
    np.testing.assert_array_equal(np.concatenate([part.final for part in parts]), whole.final)


def stopped_by_hand(open_: Any, low: Any, close: Any, fast: int, slow: int, stop: float) -> tuple[list[float], int]:
    """The rules of a stop once more, with Python's own numbers."""
    cash, shares, order, level, held, fills, path = 1e5, 0.0, None, 0.0, False, 0, []
    for t in range(len(close)):
        if order is not None:
            trade, order = order - shares, None
            if trade > 0:
                price = open_[t] * 1.0005
                trade = min(trade, cash / (price * 1.001))
                cash, shares, level = cash - trade * price * 1.001, shares + trade, price * (1 - stop)
                fills += 1
            elif trade < 0:
                cash, shares, fills = cash - trade * open_[t] * 0.9995 * 0.999, shares + trade, fills + 1
        if shares > 1e-9 and low[t] <= level:
            cash, shares, fills = cash + shares * min(open_[t], level) * 0.9995 * 0.999, 0.0, fills + 1
        path.append(cash + shares * close[t])
        above = t + 1 >= slow and close[t + 1 - fast : t + 1].mean() > close[t + 1 - slow : t + 1].mean()
        if above and not held:
            order = path[-1] / close[t]
        elif held and not above and shares > 1e-9:
            order = 0.0
        held = above
    return path, fills


def test_a_stop_is_what_its_rules_say_by_hand() -> None:
    fill, close = walk(3000, 1, seed=6)
    open_, close = fill[:, 0], close[:, 0]
    low = np.minimum(open_, close) * (1 - np.abs(np.random.default_rng(1).normal(0, 0.01, len(close))))
    done = sweep.stopped_crossing(open_, low, close, 5, 30, 0.03, PLAIN, 1e5, curves=True)
    path, fills = stopped_by_hand(open_, low, close, 5, 30, 0.03)
    np.testing.assert_allclose(done.equity[0], path, rtol=1e-9)
    assert done.fills[0] == fills
    calm = sweep.stopped_crossing(open_, low, close, 5, 30, 0.0, PLAIN, 1e5)
    assert calm.final[0] != done.final[0], "no stop was hit: the test shows nothing"


def test_a_stop_is_what_the_engine_says(make_bars: Callable[..., pa.Table]) -> None:
    from aiquant import calendars
    from aiquant.settings import BacktestSettings

    bars = make_bars(symbols=1, first=date(2016, 1, 4), last=date(2019, 12, 31))
    frame = pl.DataFrame(bars).sort("date")
    open_, low, close = (frame[name].to_numpy() for name in ("open", "low", "close"))
    above = np.array(
        [t >= 19 and close[t - 4 : t + 1].mean() > close[t - 19 : t + 1].mean() for t in range(len(close))]
    )
    changed = np.flatnonzero(above != np.concatenate([[False], above[:-1]]))
    weights = pa.table({"date": frame["date"].gather(changed).to_arrow(), "weight": above[changed].astype(float)})
    weights = weights.append_column("symbol", pa.array([frame["symbol"][0]] * len(changed)))
    sessions = calendars.sessions("XNYS", date(2016, 1, 4), date(2019, 12, 31))
    settings = BacktestSettings(commission_bps=10.0, slippage_bps=5.0, stop_loss=0.04)
    told = engine.run(weights, bars, sessions, settings)
    done = sweep.stopped_crossing(open_, low, close, 5, 20, 0.04, PLAIN, settings.capital, curves=True)
    np.testing.assert_allclose(done.equity[0, changed[0] :], told.equity["equity"].to_numpy(), rtol=1e-12)
    assert any("stop" in reason for reason in told.fills["reason"].to_pylist())
