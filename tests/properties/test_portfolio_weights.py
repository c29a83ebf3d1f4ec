"""What must hold for the weights of any forecasts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiquant.portfolio import weights
from aiquant.schemas import FORECASTS, conform
from aiquant.settings import PortfolioSettings

FIRST = datetime(2024, 1, 1, 21, tzinfo=UTC)
checked = settings(max_examples=80, deadline=None)


@st.composite
def forecasts(draw: st.DrawFn) -> pl.DataFrame:
    """A few dates with differing symbols and many equal values."""
    values = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
    days = draw(st.lists(st.dictionaries(st.sampled_from("ABCDEFGHIJKL"), values, min_size=1), min_size=1, max_size=8))
    rows = [(s, FIRST + timedelta(days=i), v) for i, day in enumerate(days) for s, v in day.items()]
    frame = pl.DataFrame(rows, schema=["symbol", "event_time", "forecast"], orient="row")
    return frame.with_columns(
        pl.col("event_time").dt.date().alias("date"),
        pl.lit("r").alias("run_id"),
        pl.lit("m").alias("model"),
        pl.lit(5, pl.Int32).alias("horizon"),
        pl.lit(0, pl.Int32).alias("fold"),
    )


def decide(frame: pl.DataFrame, portfolio: PortfolioSettings) -> pl.DataFrame:
    table: pa.Table = weights.from_forecasts(conform(frame.to_arrow(), FORECASTS), portfolio, 1, "r")
    return pl.DataFrame(pl.from_arrow(table))


portfolios = st.builds(
    PortfolioSettings,
    rule=st.sampled_from(["long-short", "long-only"]),
    quantile=st.sampled_from([0.05, 0.2, 0.34, 0.5]),
    gross=st.sampled_from([0.5, 1.0, 2.0]),
    rebalance=st.sampled_from([None, 2]),
)


@checked
@given(forecasts(), portfolios)
def test_each_book_is_empty_or_has_the_gross_exposure_and_the_sides_of_its_rule(
    frame: pl.DataFrame, portfolio: PortfolioSettings
) -> None:
    decided = decide(frame, portfolio)
    days = sorted(set(frame["date"]))
    assert sorted(set(decided["date"])) == days[:: portfolio.rebalance or 1]
    for (day,), book in decided.group_by("date"):
        values = frame.filter(pl.col("date") == day)["forecast"]
        if values.n_unique() < 2:
            assert (book["weight"] == 0).all()
            continue
        assert book["weight"].abs().sum() == pytest.approx(portfolio.gross)
        assert book["weight"].sum() == pytest.approx(0.0 if portfolio.rule == "long-short" else portfolio.gross)
        assert book["weight"].abs().n_unique() == 1


@checked
@given(forecasts(), portfolios)
def test_nothing_is_bought_that_is_forecast_below_something_that_is_not(
    frame: pl.DataFrame, portfolio: PortfolioSettings
) -> None:
    joined = frame.join(decide(frame, portfolio), on=["symbol", "date"], how="inner")
    for (day,), book in joined.group_by("date"):
        bought, sold = (
            book.filter(sign)["forecast"].to_list() for sign in (pl.col("weight") > 0, pl.col("weight") < 0)
        )
        others = frame.filter((pl.col("date") == day) & ~pl.col("symbol").is_in(book["symbol"].implode()))["forecast"]
        assert min(bought, default=np.inf) >= max([*others, *sold], default=-np.inf)
        assert max(sold, default=-np.inf) <= min([*others, *bought], default=np.inf)


@checked
@given(forecasts(), portfolios, st.integers(0, 2**32 - 1))
def test_the_order_of_rows_and_other_dates_change_nothing(
    frame: pl.DataFrame, portfolio: PortfolioSettings, seed: int
) -> None:
    plain = decide(frame, portfolio)
    assert decide(frame.sample(fraction=1, shuffle=True, seed=seed), portfolio).equals(plain)
    half = frame.filter(pl.col("date") <= sorted(set(frame["date"]))[len(set(frame["date"])) // 2])
    assert decide(half, portfolio).equals(plain.filter(pl.col("date") <= half["date"].max()))
