"""One book, now: from a run's forecasts, a file of expected returns, or past prices alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from aiquant import schemas
from aiquant.errors import DataError, UsageError
from aiquant.jobs import backtest, books, tables
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Inputs, read
from aiquant.jobs.workspace import Workspace
from aiquant.settings import Settings

if TYPE_CHECKING:
    from aiquant.portfolio.history import History
    from aiquant.portfolio.weights import Built

PLAIN = "prices alone"


@dataclass(frozen=True)
class Optimised:
    """A book and what is expected of it.

    Attributes
    ----------
    rule, used
        The rule asked for, and what made the book: the rule, its fallback, or ``previous``.
    failure
        Why the rule did not; empty where it did.
    source
        Where expected returns came from.
    weights
        By symbol, the largest first.
    risk
        ``volatility`` (a year), ``cvar`` (a bar), ``beta``, and the ``shares`` of symbols in the variance; empty where
        nothing is known.
    expected_return
        A year, above the mean of all symbols where it follows from ranks; None where nothing is expected.
    ic
        Information coefficient that forecasts were believed with.
    turnover
        Half the sum of the changes of weights.
    binding
        Limits that hold the weights where they are.
    """

    date: date
    rule: str
    used: str
    failure: str
    source: str
    weights: list[tuple[str, float]]
    risk: dict[str, Any]
    expected_return: float | None
    ic: float
    turnover: float
    binding: list[str]
    notes: list[str] = field(default_factory=list)
    out: Path | None = None


def optimise(
    settings: Settings,
    journal: Journal,
    workspace: Workspace | None,
    *,
    run_id: str | None = None,
    expected: Path | None = None,
    bars: Path | None = None,
    held: Path | None = None,
    day: date | None = None,
    out: Path | None = None,
) -> Optimised:
    """Make the book of one day by the rule of the settings; nothing but ``out`` is written.

    Parameters
    ----------
    workspace
        Whose bars and forecasts are used; None where a file of bars stands for them.
    run_id
        Run whose forecasts are used.
    expected
        File with ``symbol`` and ``expected_return`` (a year, fractions).
    bars
        File with bars; default: those of the workspace.
    held
        File with ``symbol`` and ``weight``: the present book; default: the run's newest target weights, or cash.
    day
        At whose close it is decided; default: the newest of the forecasts, or of the bars.

    Raises
    ------
    UsageError
        When settings do not fit together, or the rule needs forecasts and there are none.
    DataError
        When there is no bar on the day, or a file is not what it has to be.
    MissingError
        When there are no bars.
    """
    if out is not None:
        tables.writer_of(out)
    books.check(settings)
    with journal.station("read") as station:
        inputs = _inputs(settings, journal, workspace, bars)
        station.rows = inputs.bars.num_rows
    with journal.station("past returns") as station:
        known = books.history(settings, inputs)
        station.rows = int(known.returns.size)
    forecasts, source = _forecasts(settings, workspace, inputs, known, run_id, expected, day)
    decided: date = day or forecasts["date"].to_numpy().max().astype("datetime64[D]").item()
    own = {} if held is None and run_id is None else _held(workspace, known, held, run_id, decided)
    with journal.station(settings.portfolio.rule) as station:
        made = books.build(settings, forecasts, inputs, "optimise", known=known, held=own, since=decided)
        done = _told(settings, inputs, known, made, source, given=expected is not None)
        station.rows = len(done.weights)
        station.note = done.used if done.used != done.rule else ""
    if out is not None:
        rows = [{"date": done.date, "symbol": symbol, "weight": weight} for symbol, weight in sorted(done.weights)]
        kinds = [("date", pa.date32()), ("symbol", pa.string()), ("weight", pa.float64())]
        tables.write(pa.Table.from_pylist(rows, schema=pa.schema(kinds)), out)
    return done


def _inputs(settings: Settings, journal: Journal, workspace: Workspace | None, bars: Path | None) -> Inputs:
    if bars is None and workspace is not None:
        return read(workspace.lake, settings)
    rows, sessions, actions = backtest.bars_of(settings, journal, bars, workspace)
    return Inputs(rows, actions, None, sessions, {})


def _forecasts(
    settings: Settings,
    workspace: Workspace | None,
    inputs: Inputs,
    known: History,
    run_id: str | None,
    expected: Path | None,
    day: date | None,
) -> tuple[pa.Table, str]:
    """Forecasts up to the day, and where they came from."""
    if run_id is not None and workspace is not None:
        told = pl.DataFrame(pl.from_arrow(backtest.forecasts_of(workspace, run_id)))
        told = told.filter(pl.col("date") <= day) if day is not None else told
        if told.is_empty() or (day is not None and told["date"].max() != day):
            raise DataError(
                f"run {run_id} has no forecasts out of sample of {day}",
                "leave --date out, or forecast it with: aiquant predict",
            )
        return told.to_arrow().cast(schemas.FORECASTS.schema), f"run {run_id}"
    newest = day or known.dates[-1].item()
    there = pl.DataFrame(inputs.newest.select(["symbol", "date", "event_time"])).filter(pl.col("date") == newest)
    if there.is_empty():
        first, last = known.dates[0], known.dates[-1]
        raise DataError(f"no symbol has a bar on {newest}", f"the bars reach from {first} to {last}")
    if expected is None:
        _demand_no_forecasts(settings)
        return _rows(settings, there.with_columns(forecast=pl.lit(0.0))), PLAIN
    views = _pairs(expected, "expected_return")
    joined = there.join(views, on="symbol", how="inner")
    if joined.is_empty():
        raise DataError(
            f"{expected}: none of its symbols has a bar on {newest}", "correct its symbols, or name a --date"
        )
    by_bar = pl.col("expected_return") / inputs.sessions.per_year
    return _rows(settings, joined.with_columns(forecast=pl.col("expected_return"), expected=by_bar)), str(expected)


def _demand_no_forecasts(settings: Settings) -> None:
    from aiquant.portfolio import rules

    portfolio = settings.portfolio
    if rules.get(portfolio.rule).forecasts and portfolio.expected == "forecast":
        raise UsageError(
            f"the rule {portfolio.rule} needs forecasts",
            "name a run, or a file with --expected; or choose a rule that needs none, such as --rule min-variance",
        )


def _rows(settings: Settings, frame: pl.DataFrame) -> pa.Table:
    told = frame.with_columns(
        pl.lit("optimise").alias("run_id"),
        pl.lit("told").alias("model"),
        pl.lit(settings.labels.horizon, pl.Int32).alias("horizon"),
        pl.lit(-1, pl.Int32).alias("fold"),
    )
    rows = schemas.conform(told.select(schemas.FORECASTS.schema.names).to_arrow(), schemas.FORECASTS)
    if "expected" in told.columns:
        rows = rows.append_column("expected", told["expected"].to_arrow())
    return rows


def _held(
    workspace: Workspace | None, known: History, held: Path | None, run_id: str | None, day: date
) -> dict[str, float]:
    if held is not None:
        return dict(_pairs(held, "weight").iter_rows())
    if workspace is None:
        return {}
    targets = workspace.lake.read(schemas.TARGET_WEIGHTS, where={"run_id": run_id}, missing_ok=True)
    return books.held_by(targets, known, day)


def _pairs(path: Path, column: str) -> pl.DataFrame:
    """``symbol`` and a number a symbol, of a file.

    Raises
    ------
    DataError
        When a column is missing, a symbol stands twice, or a number is not finite.
    """
    told = tables.read(path)
    missing = [name for name in ("symbol", column) if name not in told.columns]
    if missing:
        raise DataError(f"{path}: lacks the column(s) {', '.join(missing)}", f"give symbol and {column}")
    try:
        told = told.select(pl.col("symbol").cast(pl.String).str.to_uppercase(), pl.col(column).cast(pl.Float64))
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path}: {column} is not a number in each row", "correct the file") from error
    twice = told.filter(pl.col("symbol").is_duplicated())
    if len(twice):
        raise DataError(f"{path}: {twice['symbol'][0]} stands in more than one row", "give each symbol once")
    bad = told.filter(~pl.col(column).is_finite().fill_null(False) | pl.col("symbol").is_null())
    if len(bad):
        raise DataError(f"{path}: the {column} of {bad['symbol'][0]} is not a finite number", "correct the file")
    return told


def _told(settings: Settings, inputs: Inputs, known: History, made: Built, source: str, given: bool) -> Optimised:
    from aiquant.portfolio import risk

    last, portfolio, per_year = made.last, settings.portfolio, inputs.sessions.per_year
    assert last is not None  # there is one date with forecasts at least
    book = last.held if last.weights is None else last.weights
    found = risk.of(book, known, last.moment.day, portfolio, per_year)
    alpha = dict(zip(last.moment.symbols, last.moment.alpha.tolist(), strict=True))
    change = {s: book.get(s, 0.0) - last.held.get(s, 0.0) for s in {*book, *last.held}}
    notes = list(made.notes)
    if found is not None and found.unknown:
        notes.append(f"of {', '.join(found.unknown)} too little is known: without them the risk is reckoned")
    return Optimised(
        date=last.moment.day,
        rule=portfolio.rule,
        used=last.used,
        failure=last.failure,
        source=source,
        weights=sorted(book.items(), key=lambda pair: (-abs(pair[1]), pair[0])),
        risk={} if found is None else {n: v for n, v in vars(found).items() if n != "unknown"},
        expected_return=(
            sum(w * alpha.get(s, 0.0) for s, w in sorted(book.items())) * per_year if any(alpha.values()) else None
        ),
        ic=0.0 if given else last.moment.ic,
        turnover=0.5 * sum(abs(change[s]) for s in sorted(change)),
        binding=list(last.binding),
        notes=notes,
    )
