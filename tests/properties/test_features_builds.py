"""However bars, corrections and actions came in: a table that was brought up step by step is one built whole."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiquant import calendars
from aiquant.jobs import feature_plan, feature_rows, features, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.pipeline import Pipeline, read
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS, CORPORATE_ACTIONS, conform

SESSIONS = calendars.sessions("XNYS", date(2019, 12, 2), date(2020, 2, 28))
SYMBOLS = ("A", "B", "C")
SETS = {
    "alone": ["$close/Ref($close, 3)-1", "Std($close, 5)", "IdxMax($close, 6)", "$volume/Mean($volume, 4)"],
    "compared": ["CSRank($close/Ref($close, 2))", "Mean(CSZScore($close), 3)", "Corr($close, CSRank($volume), 5)"],
}


def bars(symbol: str, at: list[int], seed: int, known: timedelta = timedelta(0)) -> pa.Table:
    rng = np.random.default_rng(seed)
    moment = pl.Series(SESSIONS.closes[at]).dt.replace_time_zone("UTC")
    close = np.round(20 * np.exp(rng.normal(0, 0.05, len(at))), 2)
    frame = pl.DataFrame(
        {
            "symbol": symbol,
            "interval": "1d",
            "period": [str(SESSIONS.dates[k].item().year) for k in at],
            "date": SESSIONS.dates[at],
            "event_time": moment,
            "known_from": moment + known,
            "close": close,
            "volume": np.round(rng.uniform(1, 9, len(at))),
            "adjustment": "none",
            "source": "t",
        }
    )
    return conform(frame.to_arrow(), BARS)


def split(symbol: str, at: int) -> pa.Table:
    day = SESSIONS.dates[at].item()
    known = datetime(day.year, day.month, day.day, 14, 30, tzinfo=UTC)
    row = {"symbol": symbol, "kind": "split", "date": day, "event_time": known, "known_from": known, "ratio": 2.0}
    return pa.Table.from_pylist([{**row, "source": "t"}], schema=CORPORATE_ACTIONS.schema)


STEPS = st.one_of(
    st.tuples(st.just("bars"), st.sampled_from(SYMBOLS), st.integers(0, 50), st.integers(1, 12)),
    st.tuples(st.just("correction"), st.sampled_from(SYMBOLS), st.integers(0, 50), st.integers(1, 30)),
    st.tuples(st.just("split"), st.sampled_from(SYMBOLS), st.integers(0, 50), st.just(0)),
)


def take(home: Workspace, step: tuple[str, str, int, int], number: int) -> None:
    kind, symbol, at, more = step
    if kind == "bars":
        home.lake.write(BARS, bars(symbol, list(range(at, min(at + more, len(SESSIONS)))), number))
    elif kind == "correction":
        home.lake.write(BARS, bars(symbol, [at], number, timedelta(days=more)))
    else:
        home.lake.write(CORPORATE_ACTIONS, split(symbol, at))


@pytest.mark.parametrize("name", list(SETS))
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=5), small=st.booleans(), seed=st.integers(0, 99))
def test_step_by_step_is_whole(name: str, steps: list[tuple[str, str, int, int]], small: bool, seed: int) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(feature_plan, "READ_ROWS", 20)
            patch.setattr(feature_rows, "VALUES", 40)
        formulas = "\n".join(f"[features.f{k}]\nformula = '{text}'" for k, text in enumerate(SETS[name]))
        Path(place, f"{name}.toml").write_text(formulas)
        made = workspace.create(Path(place, "home"))
        home = Workspace(made.root, {"features.set": str(Path(place, f"{name}.toml"))})
        home.lake.write(BARS, bars("A", list(range(20)), seed))
        features.build(home, Journal())
        for number, step in enumerate(steps):
            take(home, step, 100 * seed + number)
            assert features.build(home, Journal()).whole is None
            found = pl.DataFrame(home.lake.read(f"features_{name}", history=True))
            inputs = read(home.lake, home.settings)
            wanted = pl.DataFrame(Pipeline(home.settings).features(inputs)).sort("symbol", "event_time")
            assert found.columns == wanted.columns and found.equals(wanted)
