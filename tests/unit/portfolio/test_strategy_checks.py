"""The checks of strategies find what they are there to find, and what is no strategy is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from aiquant import plugins
from aiquant.errors import MissingError, UsageError
from aiquant.portfolio.strategies import leakage, loading, recursion, runner, template
from aiquant.portfolio.strategies.contract import market
from aiquant.portfolio.strategies.feed import Tables
from aiquant.settings import Settings

HEAD = """
from __future__ import annotations
import datetime, random, time
from pathlib import Path
import numpy as np
import polars as pl
SEEN = []

class Mine:
    def __init__(self, window: int = 20, scale: float = 1.0):
        self.window, self.scale, self.calls = window, scale, 0
        self.memory = None
    def book(self, history, held=True):
        return np.where(history.tradable, float(held) / history.tradable.sum(), 0.0)
    def decide(self, history):
"""


@pytest.fixture(scope="module")
def told() -> Tables:
    return market()


@pytest.fixture
def mine(tmp_path: Path) -> Callable[[str], loading.Definition]:
    """A strategy ``mine`` whose ``decide`` does what is said."""

    def write(body: str) -> loading.Definition:
        folder = tmp_path / "strategies"
        folder.mkdir(exist_ok=True)
        lines = "\n".join(f"        {line}" for line in body.splitlines())
        (folder / "mine.py").write_text(f"{HEAD}{lines}\n")
        return loading.find("mine", tmp_path)

    return write


def leaks(definition: loading.Definition, tables: Tables, **params: Any) -> dict[str, str]:
    found = leakage.examine(lambda: definition.fresh(params, Settings()), tables, definition.name, cuts=2, seed=1)
    return {f.what: f.example or "" for f in found if f.differing}


CHEATS = {
    "remembers in itself": "self.calls += 1\nreturn self.book(history) if self.calls % 5 == 0 else None",
    "remembers in its module": "SEEN.append(1)\nreturn self.book(history, len(SEEN) % 5 > 2)",
    "asks chance": "return {random.choice(history.symbols): 1.0}",
    "asks NumPy's chance": "return {history.symbols[np.random.default_rng().integers(len(history.symbols))]: 1.0}",
    "asks the clock": "return self.book(history, datetime.datetime.now().year > 2000)",
    "asks another clock": "return self.book(history, time.time() > 0)",
    "reads a file": "Path(__file__).read_text()\nreturn self.book(history)",
    "reads a table": "pl.read_csv(__file__, separator='\\0', has_header=False)\nreturn self.book(history)",
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_strategy_that_looks_elsewhere_is_found(name: str, mine: Any, told: Tables) -> None:
    found = leaks(mine(CHEATS[name]), told)
    assert found, "nothing was found"
    if "asks" in name or "reads" in name:
        assert "looks elsewhere" in found or "same history" in found
    if "clock" in name or "file" in name:
        assert "line" in found["looks elsewhere"]


def test_a_future_that_the_arrays_would_hold_is_found(mine: Any, told: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner that wrote bars ahead of their time would be found out: the check does not rest on the runner alone."""
    from aiquant.portfolio.strategies.feed import Board

    write = Board.write

    def ahead(self: Board, at: int) -> None:
        write(self, at)
        row = self._feed.row == at + 1
        self.raw[:, at, self._feed.column[row]] = self._feed.values[:, row]
        self.adjusted[:, at, self._feed.column[row]] = self._feed.values[:, row]

    monkeypatch.setattr(Board, "write", ahead)
    found = leaks(mine("c = history.closes(2)\nreturn self.book(history, bool(np.nansum(c[-1] - c[0]) > 0))"), told)
    assert {"future cut", "other future"} & set(found)


def test_a_correction_that_is_used_too_early_is_found(mine: Any, told: Tables) -> None:
    known = pl.DataFrame(told.bars).with_columns(known_from=pl.col("event_time")).to_arrow().cast(told.bars.schema)
    definition = mine("return self.book(history)")
    assert leaks(definition, Tables(known)) == {}, "a function of its history passes"
    early = pl.DataFrame(leakage.with_other_future(told, _time(told, 100), np.random.default_rng(0)).bars)
    assert early.filter(pl.col("known_from") > _time(told, 100)).height > early.height / 2


def _time(tables: Tables, at: int) -> Any:
    return pl.DataFrame(tables.bars)["event_time"].unique().sort()[at]


@pytest.mark.parametrize(
    ("body", "warm_up"),
    [
        ("return self.book(history)", 1),
        ("c = history.closes(20)\nreturn self.book(history, len(c) == 20 and np.nansum(c[-1] - c[0]) > 0)", 20),
        ("return self.book(history) if len(history) >= 37 else None", 37),
    ],
)
def test_the_warm_up_is_found_to_the_session(body: str, warm_up: int, mine: Any, told: Tables) -> None:
    definition = mine(body)
    found = recursion.examine(lambda: definition.fresh({}, Settings()), told, "mine")
    assert found.warm_up == warm_up and found.passed
    assert found.lengths[-1].moved == 0 and set(found.symbols.values()) <= {warm_up, *range(1, warm_up + 1)}


def test_a_decision_that_hangs_on_where_history_begins_never_settles(mine: Any, told: Tables) -> None:
    definition = mine("return self.book(history, len(history) % 2 == 0)")
    found = recursion.examine(lambda: definition.fresh({}, Settings()), told, "mine")
    assert found.warm_up is None and not found.passed and "where it begins" in found.sentence()


def test_a_strategy_that_says_too_little_of_its_look_back_fails(mine: Any, told: Tables) -> None:
    definition = mine("return self.book(history, len(history.closes(30)) == 30)")
    definition.made_by.lookback = 10
    found = recursion.examine(lambda: definition.make({}, Settings()), told, "mine")
    assert (found.warm_up, found.lookback, found.passed) == (30, 10, False)


def test_an_exponential_average_settles_by_its_tolerance(mine: Any, told: Tables) -> None:
    body = (
        "mean = np.zeros(len(history.symbols))\n"
        "for row in np.nan_to_num(history.closes(), nan=50.0):\n    mean += 0.3 * (row - mean)\n"
        "return {'S06': 0.001 * mean[history.symbols.index('S06')]} if 'S06' in history.symbols else None"
    )
    definition = mine(body)
    rough, fine = (
        recursion.examine(lambda: definition.fresh({}, Settings()), told, "mine", tolerance=t) for t in (1e-3, 1e-9)
    )
    assert rough.warm_up is not None and fine.warm_up is not None
    assert 5 < rough.warm_up < fine.warm_up < 100


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("w = self.book(history)\nw[1] = np.nan\nreturn w", "the weight of S02 is nan"),
        ("return {'S00': float('inf')}", "the weight of S00 is inf"),
        ("return {'S00': None}", "the weight of S00 is nan"),
        ("return {'NONE': 0.5}", "holds 'NONE', which has had no bar"),
        ("return {'S01': 0.5}", "holds 'S01', which has had no bar"),
        ("return np.ones(3)", "no weight for each of 11 symbols"),
        ("return 0.5", "it gave float, which is no book"),
        ("return pl.DataFrame({'symbol': ['S00']})", r"lacks the column\(s\) weight"),
        ("return pl.DataFrame({'symbol': ['S00', None], 'weight': [0.1, 0.2]})", "a row of its table has no symbol"),
        ("return pl.DataFrame({'symbol': ['S00', 'S00'], 'weight': [0.1, 0.2]})", "S00 stands twice"),
        ("return {'S00': 'much'}", "no numbers"),
    ],
)
def test_what_is_no_book_is_refused_with_file_line_and_date(body: str, problem: str, mine: Any, told: Tables) -> None:
    definition = mine(body)
    with pytest.raises(UsageError, match=problem) as caught:
        runner.decisions(definition.make({}, Settings()), told.feed(), "mine")
    line = HEAD.count("\n")
    assert f"strategies/mine.py:{line}, on 2020-01-01" in caught.value.problem


def test_what_it_raises_is_told_with_the_line_and_the_date(mine: Any, told: Tables) -> None:
    definition = mine("if history.date.year > 2020:\n    raise KeyError('lost')\nreturn None")
    with pytest.raises(UsageError) as caught:
        runner.decisions(definition.make({}, Settings()), told.feed(), "mine")
    assert f"strategies/mine.py:{HEAD.count(chr(10)) + 2}, on 2021-01-01: KeyError" in caught.value.problem


def test_books_may_be_arrays_tables_and_mappings(mine: Any, told: Tables) -> None:
    feed, rows = told.feed(), []
    for body in (
        "w = np.zeros(len(history.symbols))\nw[0] = 0.25\nreturn w",
        "return {'S00': 0.25}",
        "return pl.DataFrame({'symbol': ['S00', 'S02'], 'weight': [0.25, 0]})",
        "return pl.DataFrame({'symbol': ['S00'], 'weight': [0.25]}).to_arrow()",
    ):
        made = runner.decisions(mine(body).make({}, Settings()), feed, "mine", until=9)
        rows.append(runner.tables_of(made, feed, "x").rows)
    assert rows[0].num_rows == 10 and all(other.equals(rows[0]) for other in rows)


def test_an_empty_book_sells_everything_and_none_decides_nothing(mine: Any, told: Tables) -> None:
    feed = told.feed()
    body = "return [{'S00': 1.0}, {}, None][len(history) - 1]"
    made = runner.tables_of(runner.decisions(mine(body).make({}, Settings()), feed, "mine", until=2), feed, "x")
    assert [(r["date"].day, r["symbol"], r["weight"]) for r in made.rows.to_pylist()] == [
        (1, "S00", 1),
        (2, "S00", 0),
    ]
    assert (made.asked, made.decided) == (3, 2)


def test_parameters_are_read_as_their_types(mine: Any) -> None:
    definition = mine("return None")
    assert definition.read({"window": "30", "scale": "0.5"}) == {"window": 30, "scale": 0.5}
    for params, problem in (({"windows": "3"}, "no parameter 'windows'"), ({"window": "x"}, "window = 'x'")):
        with pytest.raises(UsageError, match=problem):
            definition.read(params)
    with pytest.raises(UsageError, match="slow = 5"):
        loading.find("sma-cross").make({"slow": "5"}, Settings())


def test_files_that_are_no_strategy_are_refused_with_their_line(tmp_path: Path) -> None:
    folder = tmp_path / "strategies"
    folder.mkdir()
    file = folder / "mine.py"
    for text, problem in (
        ("x = 1\n", "defines no classes with a method decide"),
        ("x = 1\ny = (\n", "mine.py:2"),
        ("x = 1\n\n1 / 0\n", "mine.py:3: ZeroDivisionError"),
        ("class A:\n    def decide(self, h): ...\nclass B(A):\n    pass\n", "defines 2 classes"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=problem):
            loading.find("mine", tmp_path)
    with pytest.raises(UsageError, match="did you mean 'momentum'"):
        loading.find("momentun", tmp_path)


def test_a_strategy_of_a_package_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    points = [
        EntryPoint("theirs", "aiquant.portfolio.strategies.builtin:EqualWeight", loading.ENTRY_POINTS),
        EntryPoint("broken", "no.such.module:Class", loading.ENTRY_POINTS),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group, name=None: [p for p in points if name in (None, p.name)])
    assert {"theirs", "broken"} < set(loading.names())
    assert loading.find("theirs").origin == "package"
    with pytest.raises(MissingError, match="broken.*cannot be loaded"):
        loading.find("broken")


@pytest.mark.parametrize("name", ["my-idea", "a", "rsi2"])
def test_the_template_is_a_whole_strategy(name: str, tmp_path: Path, told: Tables) -> None:
    (tmp_path / "strategies").mkdir()
    (tmp_path / "strategies" / f"{name}.py").write_text(template.render(name))
    definition = loading.find(name, tmp_path)
    assert leaks(definition, told) == {}
    assert recursion.examine(lambda: definition.fresh({}, Settings()), told, name).passed


@pytest.mark.parametrize("name", ["My", "my_idea", "-x", "x--y", "1a", "", "../x", "a b"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a strategy"):
        template.render(name)


def test_a_strategy_that_ends_the_program_is_refused(mine: Any, told: Tables) -> None:
    definition = mine("raise SystemExit(0)")
    with pytest.raises(UsageError, match="SystemExit: 0"):
        runner.decisions(definition.make({}, Settings()), told.feed(), "mine")


def test_what_a_strategy_prints_is_no_answer(mine: Any, told: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    runner.decisions(mine("print('looked')\nreturn None").make({}, Settings()), told.feed(), "mine")
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("looked\n")
