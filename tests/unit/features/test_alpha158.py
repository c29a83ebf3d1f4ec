"""alpha158 against its text, read by pandas: an oracle that shares no code with the engine."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from aiquant.calendars import Sessions
from aiquant.features import catalogue, engine
from aiquant.features.sets.alpha158 import DEFINITIONS

FLAT = 2e-5


def per_window(series: pd.Series, window: int, function: Any) -> pd.Series:
    values = series.to_numpy(dtype=float)
    values = np.where(np.isfinite(values), values, np.nan)
    out = [function(values[max(0, j + 1 - window) : j + 1]) for j in range(len(values))]
    return pd.Series(out, index=series.index, dtype=float)


def line(y: np.ndarray) -> tuple[float, float, float]:
    """Slope, R² and today's residual; x is the place in the window, NaN is skipped together with its x."""
    x = np.arange(len(y), dtype=float)
    ok = np.isfinite(y)
    if ok.sum() < 2:
        return np.nan, np.nan, np.nan
    slope, level = np.polyfit(x[ok] - x[-1], y[ok], 1)
    spread = np.sqrt(np.var(x[ok]) * np.var(y[ok]))
    r = np.cov(x[ok], y[ok], ddof=0)[0, 1] / spread if spread > 0 else np.nan
    return slope, r * r, y[-1] - level


def place(largest: bool, qlib: bool) -> Any:
    def function(y: np.ndarray) -> float:
        if np.isnan(y).all():
            return np.nan
        if qlib:
            return float((y.argmax() if largest else y.argmin()) + 1)
        return float((np.nanargmax(y) if largest else np.nanargmin(y)) + 1)

    return function


def corr(x: pd.Series, y: pd.Series, n: int, qlib: bool) -> pd.Series:
    x, y = (s.replace([np.inf, -np.inf], np.nan).astype(float) for s in (x, y))
    both = x.notna() & y.notna()
    out = []
    for j in range(len(x)):
        part = slice(max(0, j + 1 - n), j + 1)
        a, b = x[part][both[part]].to_numpy(), y[part][both[part]].to_numpy()
        # exactly flat as far as float64 can tell
        dull = len(a) < 2 or np.ptp(a) <= 1e-12 * abs(a).max() or np.ptp(b) <= 1e-12 * abs(b).max()
        out.append(np.nan if dull else np.corrcoef(a, b)[0, 1])
    result = pd.Series(out, index=x.index)
    if qlib:
        for s in (x, y):
            result[np.isclose(s.rolling(n, min_periods=1).std(), 0, atol=FLAT)] = np.nan
    return result


def rsquare(s: pd.Series, n: int, qlib: bool) -> pd.Series:
    result = per_window(s, n, lambda y: line(y)[1])
    if qlib:
        result[np.isclose(s.rolling(n, min_periods=1).std(), 0, atol=FLAT)] = np.nan
    return result


def functions(qlib: bool) -> dict[str, Any]:
    return {
        "Ref": lambda s, n: s.shift(n),
        "Mean": lambda s, n: s.rolling(n, min_periods=1).mean(),
        "Sum": lambda s, n: s.rolling(n, min_periods=1).sum(),
        "Std": lambda s, n: per_window(s, n, lambda y: pd.Series(y).std()),
        "Max": lambda s, n: s.rolling(n, min_periods=1).max(),
        "Min": lambda s, n: s.rolling(n, min_periods=1).min(),
        "Slope": lambda s, n: per_window(s, n, lambda y: line(y)[0]),
        "Resi": lambda s, n: per_window(s, n, lambda y: line(y)[2]),
        "Rsquare": lambda s, n: rsquare(s, n, qlib),
        "Quantile": lambda s, n, q: s.rolling(n, min_periods=1).quantile(q),
        "Rank": lambda s, n: s.rolling(n, min_periods=1).rank(pct=True),
        "IdxMax": lambda s, n: per_window(s, n, place(True, qlib)),
        "IdxMin": lambda s, n: per_window(s, n, place(False, qlib)),
        "Corr": lambda x, y, n: corr(x, y, n, qlib),
        "Greater": np.maximum,
        "Less": np.minimum,
        "Abs": np.abs,
        "Log": np.log,
    }


def oracle(formula: str, fields: pd.DataFrame, qlib: bool) -> pd.Series:
    """The formula, read by Python itself with pandas' operators."""
    text = re.sub(r"\$(\w+)", r"F['\1']", formula)
    if not qlib:
        # Corrected: a comparison with an unknown value is unknown, a volume of nothing gives no quotient.
        text = re.sub(
            r"F\['close'\]([<>])Ref\(F\['close'\], 1\)", r"COMPARE('\1', F['close'], Ref(F['close'], 1))", text
        )
        text = text.replace("(F['volume']+1e-12)", "NONZERO(F['volume'])")
    names = functions(qlib) | {
        "F": fields.astype(np.float32 if qlib else np.float64),
        "COMPARE": lambda sign, a, b: ((a > b) if sign == ">" else (a < b)).astype(float).where(a.notna() & b.notna()),
        "NONZERO": lambda s: s.where(s != 0),
    }
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        result = eval(text, {"__builtins__": {}}, names)  # noqa: S307 the oracle alone; the product parses
        if not qlib:
            result = result.replace([np.inf, -np.inf], np.nan)
    return result.astype(np.float32)


@pytest.fixture(scope="module")
def on_calendar(panel: pa.Table, sessions: Sessions) -> dict[str, pd.DataFrame]:
    frames = {}
    for (symbol,), part in pl.DataFrame(pl.from_arrow(panel)).group_by(["symbol"]):
        own = part.sort("date").to_pandas().set_index("date")
        own.index = pd.to_datetime(own.index)
        days = pd.DatetimeIndex(sessions.dates)
        days = days[(days >= own.index[0]) & (days <= own.index[-1])]
        frames[symbol] = own[["open", "high", "low", "close", "volume", "vwap"]].reindex(days)
    return frames


@pytest.fixture(scope="module", params=[True, False], ids=["qlib", "corrected"])
def computed(request: pytest.FixtureRequest, panel: pa.Table, sessions: Sessions) -> tuple[bool, pd.DataFrame]:
    table = engine.compute(catalogue.get("alpha158"), panel, sessions, qlib_compat=request.param)
    frame = pl.DataFrame(pl.from_arrow(table)).to_pandas()
    frame["date"] = pd.to_datetime(frame["date"])
    return request.param, frame.set_index(["symbol", "date"])


def test_158_names_of_qlib() -> None:
    names = [name for name, *_ in DEFINITIONS]
    assert len(names) == len(set(names)) == 158
    assert names[:13] == "KMID KLEN KMID2 KUP KUP2 KLOW KLOW2 KSFT KSFT2 OPEN0 HIGH0 LOW0 VWAP0".split()
    assert names[13:18] == ["ROC5", "ROC10", "ROC20", "ROC30", "ROC60"]
    assert names[-1] == "VSUMD60"


@pytest.mark.parametrize("name, formula", [(name, formula) for name, formula, *_ in DEFINITIONS])
def test_equals_its_text(
    name: str, formula: str, computed: tuple[bool, pd.DataFrame], on_calendar: dict[str, pd.DataFrame]
) -> None:
    qlib, frame = computed
    loose = name.startswith(("RSQR", "CORR", "CORD"))
    for symbol, fields in on_calendar.items():
        ours = frame.loc[symbol][name]
        theirs = oracle(formula, fields, qlib).reindex(ours.index)
        assert (ours.isna() == theirs.isna()).all(), (symbol, ours[ours.isna() != theirs.isna()], theirs)
        np.testing.assert_array_equal(np.isinf(ours), np.isinf(theirs), err_msg=symbol)
        finite = np.isfinite(theirs)
        np.testing.assert_allclose(
            ours[finite], theirs[finite], rtol=2e-5 if loose else 2e-6, atol=2e-5 if loose else 1e-6, err_msg=symbol
        )
