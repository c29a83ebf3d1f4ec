"""What is learnt from returns, by hand."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from aiquant.errors import DataError
from aiquant.learning import targets

ROWS = pl.DataFrame(
    {
        "event_time": [1, 1, 1, 1, 2, 2],
        "forward_return": [0.02, 0.06, -0.02, None, 0.01, math.nan],
        "volatility": [0.01, 0.05, 0.01, 0.02, 0.01, 0.01],
        "beta": [1.0, 2.0, 0.5, 1.0, 1.0, math.nan],
    }
)
NAN = math.nan


def test_each_target() -> None:
    def of(target: targets.Target, scaled: bool = False) -> list[float]:
        return targets.learnt(ROWS, target, 4, scaled).tolist()

    assert of("return") == pytest.approx([0.02, 0.06, -0.02, NAN, 0.01, NAN], nan_ok=True)
    assert of("excess") == pytest.approx([0, 0.04, -0.04, NAN, NAN, NAN], nan_ok=True)  # the mean is 0.02
    assert of("beta-neutral") == pytest.approx([0, 0.02, -0.03, NAN, NAN, NAN], nan_ok=True)
    assert of("rank") == pytest.approx([0, 0.5, -0.5, NAN, NAN, NAN], nan_ok=True)
    # Over 4 bars the deviations are 0.02, 0.1 and 0.02.
    assert of("return", scaled=True) == pytest.approx([1, 0.6, -1, NAN, 0.5, NAN], nan_ok=True)
    assert of("rank", scaled=True) == pytest.approx([0.5, 0, -0.5, NAN, NAN, NAN], nan_ok=True)
    assert of("beta-neutral", scaled=True) == pytest.approx([0, 0.2, -1.5, NAN, NAN, NAN], nan_ok=True)


def test_a_condition_that_is_not_known_leaves_no_target() -> None:
    rows = ROWS.with_columns(
        volatility=pl.Series([NAN, 0.05, 0.0, 0.02, 0.01, 0.01]), beta=pl.Series([1.0, NAN, 0.5, 1, 1, 1])
    )
    assert targets.learnt(rows, "return", 4, scaled=True).tolist() == pytest.approx(
        [NAN, 0.6, NAN, NAN, 0.5, NAN], nan_ok=True
    )
    # The market is the mean of all of the date, whether their own beta is known or not.
    assert targets.learnt(rows, "beta-neutral", 4).tolist() == pytest.approx(
        [0, NAN, -0.03, NAN, NAN, NAN], nan_ok=True
    )


def test_float32_and_what_is_missing() -> None:
    assert targets.learnt(ROWS, "rank", 1).dtype == np.float32
    with pytest.raises(DataError, match="needs the volatility and beta of each label"):
        targets.learnt(ROWS.drop("volatility", "beta"), "beta-neutral", 1, scaled=True)
    nothing = ROWS.select("event_time", pl.lit(None, pl.Float64).alias("forward_return"))
    assert np.isnan(targets.learnt(nothing, "beta-neutral", 1, scaled=True)).all()
