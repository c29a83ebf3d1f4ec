"""Forecasts → books: what was known of the past goes to the portfolio, with what the account costs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from aiquant.jobs.pipeline import Inputs, Pipeline
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.portfolio.history import History
    from aiquant.portfolio.moment import Terms
    from aiquant.portfolio.weights import Built


def check(settings: Settings) -> None:
    """Raise at once where the settings of the portfolio do not fit together.

    Raises
    ------
    UsageError
        When there is no such rule, or a setting does not go with it.
    """
    from aiquant.portfolio import rules

    rules.check(settings.portfolio)


def build(
    settings: Settings,
    forecasts: pa.Table,
    inputs: Inputs | None,
    run_id: str,
    *,
    known: History | None = None,
    held: Mapping[str, float] | None = None,
    since: date | None = None,
) -> Built:
    """Target weights from forecasts, each decision by what was known at its close.

    Parameters
    ----------
    inputs
        None where the settings need no past (:func:`needs_past`), or ``known`` is given.
    known
        As :func:`past` gives it, where it is at hand.
    held, since
        As for :func:`aiquant.portfolio.weights.build`.
    """
    from aiquant.portfolio import weights

    if known is None and inputs is not None:
        known = past(settings, inputs)
    return weights.build(forecasts, settings.portfolio, terms(settings), run_id, known, held, since)


def needs_past(settings: Settings) -> bool:
    """Whether books by the settings ask for past returns, traded values or sectors."""
    from aiquant.portfolio import moment, rules

    portfolio = settings.portfolio
    return moment.needs_history(portfolio, rules.get(portfolio.rule)) or moment.needs_sectors(portfolio)


def past(settings: Settings, inputs: Inputs) -> History | None:
    """Past returns, traded values and sectors; None where the settings ask for none of them."""
    return history(settings, inputs) if needs_past(settings) else None


def history(settings: Settings, inputs: Inputs) -> History:
    """Past returns, traded values and sectors of the bars, each number as it was known at its bar's close."""
    from aiquant.portfolio.history import History

    key = ["symbol", "event_time"]
    returns = pl.DataFrame(Pipeline(settings).past_returns(inputs).select([*key, "date", "past_return"]))
    first = pl.DataFrame(inputs.bars.select([*key, "close", "volume", "known_from"])).sort("known_from")
    first = first.unique(key, keep="first").with_columns(dollar_volume=pl.col("close") * pl.col("volume"))
    joined = returns.join(first.select(*key, "dollar_volume"), on=key, how="left", maintain_order="left")
    return History.of(joined.to_arrow(), inputs.classes)


def terms(settings: Settings) -> Terms:
    """What a decision has to know of the account."""
    from aiquant.portfolio.moment import Terms

    account = settings.backtest
    return Terms(settings.labels.horizon, account.trade_cost_bps / 10_000, account.capital)


def held_by(targets: pa.Table, known: History | None, day: date) -> dict[str, float]:
    """The newest book of a table ``target_weights`` that was decided before ``day``, as it is worth by then.

    Parameters
    ----------
    known
        Past returns; None leaves the weights as they were decided.
    """
    before = pl.DataFrame(pl.from_arrow(targets)).filter(pl.col("date") < day)
    if before.is_empty():
        return {}
    newest = before.filter(pl.col("date") == before["date"].max()).sort("symbol")
    decided = {s: w for s, w in newest.select("symbol", "weight").iter_rows() if w != 0.0}
    if known is None:
        return decided
    from aiquant.portfolio.deciding import drifted

    return drifted(decided, known, newest["date"][0], day)
