"""Operators of one's own: from a file, from a package, what they may do and what is refused."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from aiquant.calendars import Sessions
from aiquant.errors import AiquantError, DataError, UsageError
from aiquant.features import catalogue, engine, own
from aiquant.features.expressions import apply, field
from aiquant.features.live import LiveSet
from aiquant.features.own import operator
from aiquant.features.own_contract import OperatorContract

SOURCE = """
import numpy as np
from aiquant.features.own import operator

@operator(smallest=2, meaning="share of slots above the slot before")
def UpShare(window):
    up = 0
    for k in range(1, window.size):
        if window[k] > window[k - 1]:
            up += 1
    return up / (window.size - 1)

@operator(series=2, numbers=("power",), meaning="mean of a weighted by a power of b")
def WeightedMean(a, b, power):
    return np.nansum(a * b ** power) / np.nansum(b ** power)
"""


@operator(series=2, numbers=("power",), meaning="mean of a weighted by a power of |b|")
def Weighted(a, b, power):  # type: ignore[no-untyped-def]
    total = weight = 0.0
    for k in range(a.size):
        if not (np.isnan(a[k]) or np.isnan(b[k])):
            total += a[k] * abs(b[k]) ** power
            weight += abs(b[k]) ** power
    return total / weight if weight > 0 else np.nan


@operator(smallest=3, meaning="largest fall from a high within the window")
def Fall(window):  # type: ignore[no-untyped-def]
    high, fall = -np.inf, 0.0
    for value in window:
        if value > high:
            high = value
        if value - high < fall:
            fall = value - high
    return fall


class TestWeighted(OperatorContract):
    operator = Weighted
    numbers = (1.5,)


class TestFall(OperatorContract):
    operator = Fall


_calls = np.zeros(1)


@operator(meaning="not what it says")
def Restless(window):  # type: ignore[no-untyped-def]
    return np.random.random()


def test_the_contract_finds_what_is_no_function_of_the_window() -> None:
    class Bad(OperatorContract):
        operator = Restless

    with pytest.raises(AssertionError, match="depends on something else"):
        Bad().test_the_same_window_gives_the_same_value()


def write(folder: Path, source: str, formula: str, more: str = "") -> str:
    (folder / "mine.py").write_text(source, encoding="utf-8")
    file = folder / "set.toml"
    file.write_text(f'operators = "mine.py"\n{more}[features.f]\nformula = "{formula}"\n', encoding="utf-8")
    return str(file)


def test_a_file_of_operators_against_polars(tmp_path: Path, panel: pa.Table, sessions: Sessions) -> None:
    chosen = catalogue.get(write(tmp_path, SOURCE, "UpShare($close, 5) + 0*WeightedMean($close, $volume, 9, 2)"))
    assert chosen.lookback == 8
    got = pl.DataFrame(pl.from_arrow(engine.compute(chosen, panel, sessions))).filter(pl.col("symbol") == "CCC")
    close = pl.DataFrame(pl.from_arrow(panel)).filter(pl.col("symbol") == "CCC")["close"].to_numpy()
    up = np.convolve(np.diff(close) > 0, np.ones(4), "valid") / 4
    known = got["f"].is_finite().to_numpy()
    np.testing.assert_allclose(got["f"].to_numpy()[known], up[-known.sum() :], rtol=1e-6)
    assert known.sum() == len(close) - 8


@pytest.mark.parametrize("partial", ["true", "false"])
def test_batch_and_bar_by_bar_agree(partial: str, tmp_path: Path, panel: pa.Table, sessions: Sessions) -> None:
    told = f"partial_windows = {partial}\n"
    chosen = catalogue.get(write(tmp_path, SOURCE, "Mean(UpShare(Ref($close, 2), 5), 3)*CSRank($close)", told))
    whole = engine.compute(chosen, panel, sessions)
    live = LiveSet(chosen, sessions, "1d")
    parts = pl.DataFrame(pl.from_arrow(panel)).partition_by("event_time", maintain_order=False)
    rows = [live.push(part.to_arrow().cast(panel.schema)) for part in sorted(parts, key=lambda p: p["event_time"][0])]
    got = pl.DataFrame(pl.from_arrow(pa.concat_tables(rows))).sort("symbol", "event_time")
    assert got["f"].to_numpy().tobytes() == np.asarray(whole["f"]).tobytes()


def test_a_set_with_operators_of_its_own_can_be_sent_to_another_process(
    tmp_path: Path, panel: pa.Table, sessions: Sessions
) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    chosen = catalogue.get(write(tmp_path, SOURCE, "UpShare($close, 5)"))
    here = engine.compute(chosen, panel, sessions)
    there = cloudpickle.loads(cloudpickle.dumps(chosen))
    assert there.version == chosen.version
    assert np.asarray(engine.compute(there, panel, sessions)["f"]).tobytes() == np.asarray(here["f"]).tobytes()


def test_the_version_follows_the_source(tmp_path: Path) -> None:
    first = catalogue.get(write(tmp_path, SOURCE, "UpShare($close, 5)")).version
    assert catalogue.get(write(tmp_path, SOURCE, "UpShare($close, 5)")).version == first
    assert catalogue.get(write(tmp_path, SOURCE + "\n# changed\n", "UpShare($close, 5)")).version != first


@pytest.mark.parametrize(
    "source, formula, words",
    [
        (SOURCE, "UpShare($close, 1)", "at least 2"),
        (SOURCE, "UpShare($close, -5)", "cannot look ahead"),
        (SOURCE, "UpShare($close)", "takes 2 argument"),
        (SOURCE, "UpShrae($close, 5)", "did you mean 'UpShare'"),
        (SOURCE.replace("UpShare", "Mean"), "$close", "'Mean': that comes with aiquant"),
        (SOURCE.replace("series=2", "series=4"), "$close", "1 to 3 series"),
        ("x = 1", "$close", "defines none"),
        ("x = (", "$close", "cannot be run: SyntaxError"),
        ("1/0", "$close", "cannot be run: ZeroDivisionError"),
    ],
)
def test_what_is_refused_at_once(source: str, formula: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        catalogue.get(write(tmp_path, source, formula))


@pytest.mark.parametrize(
    "body, kind, words",
    [
        ("return 'high'", UsageError, "operator Odd: numba cannot compile it"),
        ("return nothing_here", UsageError, "operator Odd: numba cannot compile it.*nothing_here"),
        ("return 1 / (window.size - window.size)", DataError, "Odd raised ZeroDivisionError on a window of 4 slots"),
        ("return window[window.size]", DataError, "Odd raised IndexError"),
        ("if window[0] > 0: raise ValueError('no')\n    return 1.0", DataError, "Odd raised ValueError.*no"),
    ],
)
def test_what_fails_says_which_operator(
    body: str, kind: type[AiquantError], words: str, tmp_path: Path, panel: pa.Table, sessions: Sessions
) -> None:
    source = f"from aiquant.features.own import operator\n@operator()\ndef Odd(window):\n    {body}\n"
    with pytest.raises(kind, match=words):
        engine.compute(catalogue.get(write(tmp_path, source, "Odd($close, 4)")), panel, sessions)


def test_an_infinite_result_is_no_value(tmp_path: Path, panel: pa.Table, sessions: Sessions) -> None:
    source = "from aiquant.features.own import operator\n@operator()\ndef Odd(window):\n    return float('inf')\n"
    table = engine.compute(catalogue.get(write(tmp_path, source, "Odd($close, 4)")), panel, sessions)
    assert np.isnan(np.asarray(table["f"])).all()


def test_a_function_cannot_change_what_others_read(panel: pa.Table, sessions: Sessions, tmp_path: Path) -> None:
    source = (
        "from aiquant.features.own import operator\n@operator()\ndef Odd(window):\n"
        "    window[:] = 0.0\n    return 1.0\n"
    )
    chosen = catalogue.get(write(tmp_path, source, "Odd($close, 4)*0 + $close"))
    table = engine.compute(chosen, panel, sessions)
    close = pl.DataFrame(pl.from_arrow(panel)).sort("symbol", "event_time")["close"].to_numpy()
    got = np.asarray(table["f"])
    np.testing.assert_array_equal(got[np.isfinite(got)], close[np.isfinite(got)].astype(np.float32))


def test_an_installed_package_offers_operators_to_all_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("fall", f"{__name__}:Fall", own.ENTRY_POINTS)]
    monkeypatch.setattr(own, "entry_points", lambda group: points if group == own.ENTRY_POINTS else [])
    own.installed.cache_clear()
    try:
        (feature,) = catalogue.define([("f", "Fall($close, 5)/$close", "", "")])
        assert feature.expression.digest == (apply(Fall, field("close"), 5) / field("close")).digest
        points.append(EntryPoint("wrong", f"{__name__}:SOURCE", own.ENTRY_POINTS))
        own.installed.cache_clear()
        with pytest.raises(UsageError, match="plug-in wrong: .* is no operator"):
            own.installed()
    finally:
        own.installed.cache_clear()
