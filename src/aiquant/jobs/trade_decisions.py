"""What an account decides at a close: by the forecasts of a run, by a strategy, or by a file of weights."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from aiquant import schemas
from aiquant.errors import RefusedError, UsageError
from aiquant.jobs import books, manifest, strategies
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import read
from aiquant.jobs.workspace import Workspace, read_json


class Decisions(Protocol):
    """Where target weights come from, close by close."""

    origin: dict[str, Any]
    """What tells it from others: an account keeps to one."""

    def symbols(self) -> set[str]:
        """Every symbol that has had a weight so far."""
        ...

    def first(self) -> date | None:
        """The first session that decides; None where that is not known before."""
        ...

    def at(self, day: date) -> pa.Table | None:
        """The book that is decided at the close of ``day`` (``date, symbol, weight``); None: what is held stays."""
        ...


class Given:
    """Weights that were decided elsewhere, in a file."""

    def __init__(self, path: Path) -> None:
        from aiquant.sources import files

        self.origin: dict[str, Any] = {"weights": str(path.resolve())}
        self._rows = pl.DataFrame(pl.from_arrow(files.read_weights(path)))

    def symbols(self) -> set[str]:
        return set(self._rows["symbol"])

    def first(self) -> date | None:
        first = self._rows["date"].min()
        assert isinstance(first, date)
        return first

    def at(self, day: date) -> pa.Table | None:
        return _book(self._rows, day)


class OfRun:
    """Weights from the forecasts of a run: those out of sample, and behind them what its final model says.

    What the model says of a session is kept among the forecasts of the lake, so it is asked once. Of sessions that it
    was trained on it is not asked: there, what is held stays.
    """

    def __init__(self, workspace: Workspace, journal: Journal, run_id: str) -> None:
        self._workspace, self._journal, self._run_id = workspace, journal, run_id
        self._manifest = read_json(workspace.run_folder(run_id) / "manifest.json")
        own, told = manifest.settings_of(self._manifest), workspace.settings
        self._held_back = False
        self._settings = own.model_copy(update={"portfolio": told.portfolio, "backtest": told.backtest})
        self.origin: dict[str, Any] = {"run": run_id, "portfolio": told.portfolio.model_dump(mode="json")}
        self._read()

    def symbols(self) -> set[str]:
        return set(self._forecasts["symbol"])

    def first(self) -> date | None:
        first = self._rows["date"].min()
        assert isinstance(first, date)
        return first

    def at(self, day: date) -> pa.Table | None:
        if day not in self._days and day > self._tested:
            from aiquant.jobs import predict

            if self._in_sample(day):
                self._say_once(day)
                return None
            predict.predict(self._workspace, self._journal, self._run_id, day)
            self._read()
        return _book(self._rows, day)

    def _in_sample(self, day: date) -> bool:
        from aiquant.jobs import predict

        return predict.in_sample(day, self._manifest, self._settings)

    def _say_once(self, day: date) -> None:
        if not self._held_back:
            self._journal.note(
                f"run {self._run_id}: its model was trained on what followed {day} and further sessions: nothing is "
                f"decided there (the last forecasts out of sample are of {self._tested})"
            )
        self._held_back = True

    def _read(self) -> None:
        lake = self._workspace.lake
        rows = pl.DataFrame(pl.from_arrow(lake.read(schemas.FORECASTS, where={"run_id": self._run_id})))
        tested = rows.filter(pl.col("fold") >= 0)
        behind = rows.filter((pl.col("fold") < 0) & (pl.col("date") > tested["date"].max()))
        seen = [day for day in behind["date"].unique() if self._in_sample(day)]
        self._forecasts = pl.concat([tested, behind.filter(~pl.col("date").is_in(seen))])
        self._days = set(self._forecasts["date"])
        self._tested: date = max(tested["date"])
        inputs = read(lake, self._settings) if books.needs_past(self._settings) else None
        forecasts = self._forecasts.to_arrow().cast(schemas.FORECASTS.schema)
        told = books.build(self._settings, forecasts, inputs, self._run_id).weights
        self._rows = pl.DataFrame(pl.from_arrow(told)).select("date", "symbol", "weight")


class OfStrategy:
    """The books of a strategy, which is a function of its history alone: each is asked for once.

    It is asked with the data of the lake as they are when a session comes; a session that was asked for is not asked
    again. One that reads the forecasts of a run is refused: it would see those of another one after the next training,
    and none behind the days that were tested.
    """

    def __init__(self, workspace: Workspace, journal: Journal, name: str, params: dict[str, Any]) -> None:
        self._workspace, self._journal = workspace, journal
        self._chosen = strategies.choose(workspace, name, params)
        definition = self._chosen.definition
        self.origin: dict[str, Any] = {
            "strategy": definition.name,
            "params": self._chosen.params,
            "version": definition.version,
        }
        self._asked: set[date] = set()
        self._rows = schemas.TARGET_WEIGHTS.schema.empty_table()

    def symbols(self) -> set[str]:
        return set(self._rows["symbol"].to_pylist())

    def first(self) -> date | None:
        self._ask(None)
        first = pc.min(self._rows["date"]).as_py()
        assert first is None or isinstance(first, date)
        return first

    def at(self, day: date) -> pa.Table | None:
        if day not in self._asked:
            self._ask(day)
        return _book(pl.DataFrame(pl.from_arrow(self._rows)).select("date", "symbol", "weight"), day)

    def _ask(self, first: date | None) -> None:
        """Ask for all sessions from ``first`` on that have bars by now."""
        from aiquant.portfolio.strategies import runner

        feed = strategies.material(self._workspace).tables().feed()
        begin, name = strategies.begin_at(feed, first), self._chosen.definition.name
        asked = runner.decisions(self._chosen.make(), feed, name, first=begin)
        if feed.forecasts_read:
            raise RefusedError(
                f"strategy {name} reads the forecasts of a run, and an account cannot keep to one by a strategy",
                "trade the forecasts themselves: aiquant trade --run RUN; strategies on them: aiquant backtest",
            )
        made = runner.tables_of(asked, feed, name).weights
        if made is None:
            raise UsageError(
                f"strategy {name} orders shares, and an account that trades decides on weights",
                f"give weights from its decide, or backtest its orders: aiquant backtest --strategy {name}",
            )
        days: list[date] = feed.dates[begin:].tolist()
        before = self._rows.filter(pc.less(self._rows["date"], pa.scalar(days[0], pa.date32())))
        self._asked |= set(days)
        self._rows = pa.concat_tables([before, made])


def of(
    workspace: Workspace,
    journal: Journal,
    run_id: str | None = None,
    weights: Path | None = None,
    strategy: str | None = None,
    params: dict[str, Any] | None = None,
) -> Decisions:
    """The decisions that a command names; the newest run where it names none.

    Raises
    ------
    UsageError
        When it names two.
    MissingError
        When there is no such run, or no such file.
    """
    named = {"--run": run_id, "--weights": weights, "--strategy": strategy}
    told = [flag for flag, value in named.items() if value is not None]
    if len(told) > 1:
        raise UsageError(f"{' and '.join(told)} each say what is traded", "name one of them")
    if weights is not None:
        return Given(weights)
    if strategy is not None:
        return OfStrategy(workspace, journal, strategy, params or {})
    return OfRun(workspace, journal, run_id or workspace.latest_run())


def again(workspace: Workspace, journal: Journal, origin: dict[str, Any]) -> Decisions:
    """The decisions that an account was opened with."""
    weights = Path(origin["weights"]) if "weights" in origin else None
    return of(workspace, journal, origin.get("run"), weights, origin.get("strategy"), origin.get("params"))


def _book(rows: pl.DataFrame, day: date) -> pa.Table | None:
    own = rows.filter(pl.col("date") == day)
    return None if own.is_empty() else own.to_arrow()
