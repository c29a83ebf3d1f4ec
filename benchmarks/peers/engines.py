"""Runs in the environment of the peers: vectorbt, bt and backtesting.py on the market of ``benchmarks/engines.py``.

Usage: ``python engines.py MARKET.npz RESULTS.npz``. For each case the equity at every close, and for those whose sizing
is not ours the positions held after the fills of each session.
"""

import sys
import warnings

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
data = np.load(sys.argv[1])
dates = pd.DatetimeIndex(data["dates"])
opens, closes = (pd.DataFrame(data[name], index=dates) for name in ("open", "close"))
CAPITAL, FEE, SLIPPAGE = (float(data[name]) for name in ("capital", "fee", "slippage"))
decided = data["decided"]
found = {}


def vectorbt(weights, *, shift=1, fill=opens, sized_on_close=True, whole=False, order="auto", fee=FEE, slip=SLIPPAGE):
    import vectorbt as vbt

    size = np.full(closes.shape, np.nan)
    size[decided + shift] = weights
    extra = {"val_price": closes.shift(1)} if sized_on_close and shift else {}
    return vbt.Portfolio.from_orders(
        closes,
        size=pd.DataFrame(size, index=dates),
        size_type="targetpercent",
        price=fill,
        fees=fee,
        slippage=slip,
        init_cash=CAPITAL,
        size_granularity=1.0 if whole else np.nan,
        group_by=True,
        cash_sharing=True,
        call_seq=order,
        freq="1D",
        **extra,
    )


def bt(weights, *, fee, whole=False):
    import bt as engine

    frame = pd.DataFrame(weights, index=dates[decided], columns=[str(i) for i in range(weights.shape[1])])
    prices = closes.rename(columns=str)
    algos = [engine.algos.SelectAll(), engine.algos.WeighTarget(frame), engine.algos.Rebalance()]
    test = engine.Backtest(
        engine.Strategy("s", algos),
        prices,
        initial_capital=CAPITAL,
        commissions=lambda quantity, price: abs(quantity) * price * fee,
        integer_positions=whole,
        progress_bar=False,
    )
    engine.run(test)
    held = test.positions.reindex(index=dates, columns=prices.columns).fillna(0.0)
    return test.strategy.values.reindex(dates).to_numpy(), held.to_numpy()


def backtesting(column, wanted, *, on_close=False):
    from backtesting import Backtest, Strategy

    frame = pd.DataFrame({"Open": opens[column], "Close": closes[column]})
    frame["High"], frame["Low"], frame["Volume"] = frame.max(axis=1), frame.min(axis=1), 1.0

    class Follow(Strategy):
        def init(self):
            pass

        def next(self):
            want = wanted[len(self.data) - 1]
            if want and not self.position:
                self.buy(size=0.9)
            elif not want and self.position:
                self.position.close()

    told = Backtest(frame, Follow, cash=CAPITAL, commission=FEE, trade_on_close=on_close).run()
    held = np.zeros(len(frame))
    trades = [(t.entry_bar, t.exit_bar, t.size) for t in (*told["_strategy"].trades, *told["_strategy"].closed_trades)]
    for begin, end, size in trades:
        held[begin : end if end is not None else len(held)] += size
    return told["_equity_curve"]["Equity"].to_numpy(), held


cases = {
    "next open": {},
    "next open, whole shares": {"whole": True},
    "same close": {"shift": 0, "fill": closes, "sized_on_close": False},
    "sized on the open": {"sized_on_close": False},
}
for name, how in cases.items():
    found[f"vectorbt, {name}"] = vectorbt(data["longs"], **how).value().to_numpy()
found["vectorbt, next open, long-short"] = vectorbt(data["shorts"]).value().to_numpy()
full = data["longs"] / data["longs"].sum(axis=1, keepdims=True)
for order in ("auto", "default"):
    portfolio = vectorbt(full, order=order)
    found[f"vectorbt, fully invested, {order}"] = portfolio.value().to_numpy()
found["vectorbt, sharpe"] = np.array([vectorbt(data["longs"]).sharpe_ratio()])
found["bt, free"], _ = bt(data["longs"], fee=0.0)
found["bt, fees"], found["bt, fees, held"] = bt(data["longs"], fee=FEE)
found["bt, whole"], found["bt, whole, held"] = bt(data["longs"], fee=0.0, whole=True)
for column in range(int(data["singles"])):
    name = f"backtesting {column}"
    found[name], found[f"{name}, held"] = backtesting(column, data["wanted"][:, column])
np.savez(sys.argv[2], **found)
