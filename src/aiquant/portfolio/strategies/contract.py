"""What every strategy has to keep: a suite that the author of one runs on it.

Derive a class, say how the strategy is made, and let pytest collect it::

    from aiquant.portfolio.strategies.contract import StrategyContract

    class TestBreakout(StrategyContract):
        def strategy(self):
            return Breakout(window=20)

The market of the suite has twelve symbols and 320 sessions: one symbol comes late, one stops, one lacks bars, some bars
are corrected later, and one symbol splits.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa

from aiquant.portfolio.strategies import leakage, recursion, runner
from aiquant.portfolio.strategies.base import Strategy
from aiquant.portfolio.strategies.feed import Tables
from aiquant.schemas import BARS, CORPORATE_ACTIONS, FORECASTS, conform

SYMBOLS, SESSIONS = 12, 320


class StrategyContract:
    """For a :class:`~aiquant.portfolio.strategies.base.Strategy`."""

    name = "of the contract"

    def strategy(self) -> Strategy:
        """A new instance."""
        raise NotImplementedError

    def tables(self) -> Tables:
        """The market on which it is asked; derive it where the strategy needs more than this one holds."""
        return market()

    def test_it_decides_a_book_at_least_once(self) -> None:
        made = runner.decisions(self.strategy(), self.tables().feed(), self.name)
        assert any(decision.columns is not None for decision in made), "it never decided anything in 320 sessions"

    def test_the_first_decision_times_are_no_reason_to_stop(self) -> None:
        runner.decisions(self.strategy(), self.tables().feed(), self.name, until=3)

    def test_it_knows_no_future_keeps_nothing_and_looks_at_nothing_else(self) -> None:
        for finding in leakage.examine(self.strategy, self.tables(), self.name, cuts=3, seed=7):
            assert not finding.differing, f"{finding.what}: {finding.example}"

    def test_it_needs_no_more_history_than_it_says(self) -> None:
        found = recursion.examine(self.strategy, self.tables(), self.name)
        assert found.passed, found.sentence()


def market(seed: int = 5) -> Tables:
    """The market of the suite."""
    rng = np.random.default_rng(seed)
    days = np.arange("2020-01-01", "2022-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)][:SESSIONS]
    close = 50.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.02, (SYMBOLS, SESSIONS)), axis=1))
    open_ = np.roll(close, 1, axis=1) * np.exp(rng.normal(0, 0.003, close.shape))
    open_[:, 0] = close[:, 0]
    close[0, 200:] /= 2.0  # the split below
    open_[0, 200:] /= 2.0
    there = np.ones(close.shape, dtype=np.bool_)
    there[1, :120], there[2, 250:], there[3, 100:110] = False, False, False
    moments = pl.Series(np.tile(days.astype("datetime64[us]"), SYMBOLS)).dt.replace_time_zone("UTC").dt.offset_by("21h")
    frame = pl.DataFrame(
        {
            "symbol": np.repeat([f"S{i:02d}" for i in range(SYMBOLS)], SESSIONS),
            "interval": "1d",
            "period": np.tile(days, SYMBOLS).astype("datetime64[Y]").astype(str),
            "date": np.tile(days, SYMBOLS),
            "event_time": moments,
            "known_from": moments,
            "open": open_.ravel(),
            "high": np.maximum(open_, close).ravel() * 1.002,
            "low": np.minimum(open_, close).ravel() * 0.998,
            "close": close.ravel(),
            "volume": np.floor(rng.lognormal(12, 0.5, close.size)),
            "adjustment": "none",
            "source": "contract",
        }
    ).filter(pl.Series(there.ravel()))
    corrected = frame.filter(pl.col("symbol") == "S04").gather_every(40, 20)
    corrected = corrected.with_columns(pl.col("close", "high") * 1.05, pl.col("known_from").dt.offset_by("5d"))
    bars = conform(pl.concat([frame, corrected]).to_arrow(), BARS)
    return Tables(bars, _split(days[200]), _forecasts(frame, rng))


def _split(day: np.datetime64) -> pa.Table:
    opened: datetime = day.astype("datetime64[us]").item() + timedelta(hours=14)
    rows = pa.table(
        {
            "symbol": ["S00"],
            "kind": ["split"],
            "date": pa.array([opened.date()]),
            "event_time": pa.array([opened], pa.timestamp("us", "UTC")),
            "known_from": pa.array([opened], pa.timestamp("us", "UTC")),
            "ratio": [2.0],
            "source": ["contract"],
        }
    )
    return conform(rows, CORPORATE_ACTIONS)


def _forecasts(bars: pl.DataFrame, rng: np.random.Generator) -> pa.Table:
    rows = bars.select(
        pl.lit("contract").alias("run_id"),
        pl.lit("noise").alias("model"),
        "symbol",
        "date",
        "event_time",
        pl.lit(5, pl.Int32).alias("horizon"),
        forecast=pl.Series(rng.normal(size=bars.height)),
        fold=pl.lit(0, pl.Int32),
    )
    return conform(rows.to_arrow(), FORECASTS)
