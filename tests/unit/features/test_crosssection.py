"""Cross-sections against plain numpy and pandas, date by date."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from aiquant.features import crosssection
from aiquant.features.crosssection import Dates
from aiquant.features.expressions import Expression, apply, field

NAN = np.nan


def of(op: str, *numbers: float) -> Expression:
    series = 2 if op in ("CSResidual", "CSNeutralize", "CSGroupRank", "CSGroupZScore", "CSGroupMean") else 1
    return apply(op, *[field("close")] * series, *numbers)


def panel(seed: int = 3, dates: int = 40, symbols: int = 25) -> pd.DataFrame:
    """Cells by symbol and date: ties, gaps, infinities, dates with one symbol or with equal values."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        [(s, d) for s in range(symbols) for d in range(dates) if rng.random() > 0.1 and not (d == 7 and s)],
        columns=["symbol", "slot"],
    )
    frame["x"] = np.round(rng.normal(100, 3, len(frame)), 0)
    frame["y"] = np.round(rng.normal(0, 2, len(frame)), 1)
    frame["group"] = (frame["symbol"] % 4).astype(float).where(frame["symbol"] % 9 != 5)
    frame.loc[frame["slot"] == 11, "x"] = 0.1
    frame.loc[rng.random(len(frame)) < 0.1, "x"] = NAN
    frame.loc[rng.random(len(frame)) < 0.1, "y"] = NAN
    frame.loc[frame.index[5], "x"] = np.inf
    return frame


def run(node: Expression, frame: pd.DataFrame, *columns: str) -> np.ndarray[Any, Any]:
    return crosssection.compute(node, [frame[c].to_numpy() for c in columns], Dates.of(frame["slot"].to_numpy()))


def zscore(x: pd.Series) -> pd.Series:
    return (x - x.mean()) / (x.std() if x.std() > 1e-9 * x.abs().mean() else NAN)


ONE_SERIES = {
    of("CSRank"): lambda x: x.rank() / x.count(),
    of("CSZScore"): zscore,
    of("CSDemean"): lambda x: x - x.mean(),
    of("CSScale"): lambda x: x / x.abs().sum(),
    of("CSBucket", 5): lambda x: np.ceil(x.rank() * 5 / x.count()),
    of("CSWinsorize", 0.1): lambda x: x.clip(x.quantile(0.1), x.quantile(0.9)),
    of("CSMean"): lambda x: pd.Series(x.mean(), x.index),
    of("CSStd"): lambda x: pd.Series(x.std() if x.std() > 1e-9 else NAN, x.index),
    of("CSSum"): lambda x: pd.Series(x.sum(min_count=1), x.index),
    of("CSCount"): lambda x: pd.Series(float(x.count()), x.index),
    of("CSQuantile", 0.3): lambda x: pd.Series(x.quantile(0.3), x.index),
}


@pytest.mark.parametrize("node", ONE_SERIES, ids=lambda node: node.op)
def test_one_series_against_pandas(node: Expression) -> None:
    frame = panel()
    clean = frame["x"].replace([np.inf, -np.inf], NAN)
    expected = clean.groupby(frame["slot"], group_keys=False).apply(ONE_SERIES[node]).sort_index()
    np.testing.assert_allclose(run(node, frame, "x"), expected, rtol=1e-12, atol=1e-12)


GROUPED = {
    "CSNeutralize": lambda x: x - x.mean(),
    "CSGroupRank": lambda x: x.rank() / x.count(),
    "CSGroupZScore": zscore,
    "CSGroupMean": lambda x: pd.Series(x.mean(), x.index),
}


@pytest.mark.parametrize("op", GROUPED)
def test_groups_against_pandas(op: str) -> None:
    frame = panel()
    there = frame[np.isfinite(frame["x"]) & frame["group"].notna()]
    expected = there.groupby(["slot", "group"], group_keys=False)["x"].apply(GROUPED[op]).reindex(frame.index)
    got = run(of(op), frame, "x", "group")
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    assert np.isnan(got[frame["group"].isna()]).all() and np.isfinite(got).any()


def test_a_residual_is_what_least_squares_leaves() -> None:
    frame = panel()
    got = run(of("CSResidual"), frame, "x", "y")
    for _, date in frame.groupby("slot"):
        there = date[np.isfinite(date["x"]) & date["y"].notna()]
        own = got[there.index]
        if len(there) < 3:
            assert np.isnan(own).all()
            continue
        line = np.polynomial.Polynomial.fit(there["y"], there["x"], 1)
        np.testing.assert_allclose(own, there["x"] - line(there["y"]), atol=1e-9)
        assert np.isnan(got[date.index.difference(there.index)]).all()
    flat = frame.assign(y=4.2)
    assert np.isnan(run(of("CSResidual"), flat, "x", "y")).all()


@pytest.mark.parametrize("node", [*ONE_SERIES, *(of(op) for op in (*GROUPED, "CSResidual"))], ids=lambda n: n.op)
def test_one_date_alone_has_the_bits_of_all_dates(node: Expression) -> None:
    frame = panel()
    columns = ["x", "group" if node.op in GROUPED else "y"][: len(node.args)]
    whole = run(node, frame, *columns)
    for slot in (0, 7, 11, 39):
        date = frame[frame["slot"] == slot]
        alone = run(node, date.reset_index(drop=True), *columns)
        assert alone.tobytes() == whole[date.index].tobytes()


def test_cells_without_a_bar_take_no_part() -> None:
    slot = np.array([0, 1, 0, 1, 2])
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    got = crosssection.compute(of("CSMean"), [values], Dates.of(slot, np.array([0, 2, 3])))
    np.testing.assert_array_equal(got, [2.0, NAN, 2.0, 4.0, NAN])
    none = np.zeros(0)
    assert len(crosssection.compute(of("CSRank"), [none], Dates.of(none.astype(np.int64)))) == 0
