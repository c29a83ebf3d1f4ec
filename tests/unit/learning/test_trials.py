"""The ledger of trials: each configuration once, its returns on shared sessions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from aiquant.learning import trials
from aiquant.learning.trials import RUNS, Trial
from aiquant.schemas import EQUITY, TRIAL_RETURNS, TRIALS

FIRST = date(2020, 1, 1)


def account(marks: list[float], first: date = FIRST) -> pa.Table:
    days = [first + timedelta(days=i) for i in range(len(marks))]
    row = dict.fromkeys(("cash", "gross_exposure", "net_exposure", "turnover", "costs"), 0.0)
    told = [
        {"run_id": "r", "date": day, "event_time": datetime(day.year, day.month, day.day, 21, tzinfo=UTC), **row}
        | {"equity": mark}
        for day, mark in zip(days, marks, strict=True)
    ]
    return pa.Table.from_pylist(told, schema=EQUITY.schema)


def trial(name: str, configuration: str, study: str = RUNS) -> Trial:
    return Trial(study, name, "ridge", configuration, {"ridge.alpha": 1.0}, objective=0.01)


def ledger(*told: tuple[Trial, pa.Table | None]) -> trials.Tried:
    parts = [trials.returns(equity, t.study, t.trial) for t, equity in told if equity is not None]
    values = pa.concat_tables(parts) if parts else TRIAL_RETURNS.schema.empty_table()
    return trials.gather(trials.rows([t for t, _ in told]), values)


def test_returns_of_an_account_by_hand() -> None:
    found = trials.returns(account([100.0, 110.0, 99.0]), RUNS, "a")
    assert found.schema == TRIAL_RETURNS.schema
    assert found["date"].to_pylist() == [date(2020, 1, 2), date(2020, 1, 3)]
    assert found["net_return"].to_pylist() == pytest.approx([0.1, -0.1])


def test_a_ruined_account_has_no_return_that_is_not_a_number() -> None:
    found = trials.returns(account([100.0, 0.0, 0.0]), RUNS, "a")
    assert found["net_return"].to_pylist() == [-1.0]


def test_a_row_says_what_was_set_and_an_unknown_objective_is_null() -> None:
    told = trials.rows([Trial(RUNS, "a", "zero", "c", {"b": 2, "a": 1}, objective=float("nan"))])
    assert told.schema == TRIALS.schema
    assert told["params"].to_pylist() == ['{"a": 1, "b": 2}']
    assert told["objective"].to_pylist() == [None]


def test_a_configuration_counts_once_with_its_longest_record() -> None:
    tried = ledger(
        (trial("old", "c1"), account([100.0, 101.0])),
        (trial("new", "c1"), account([100.0, 102.0, 103.0])),
        (trial("7", "c1", "study"), account([100.0, 90.0])),
        (trial("other", "c2"), account([100.0, 99.0, 98.0])),
    )
    assert (tried.count, tried.names) == (2, ("c1", "c2"))
    assert tried.matrix[:, 0] == pytest.approx([0.02, 103 / 102 - 1])


def test_what_never_traded_counts_but_has_no_column() -> None:
    tried = ledger((trial("a", "c1"), None), (trial("b", "c2"), account([1.0, 1.0])))
    assert (tried.count, tried.names) == (2, ("c2",))
    assert ledger().count == 0 and ledger().matrix.shape == (0, 0)


def test_only_trials_that_traded_on_the_asked_sessions_are_compared() -> None:
    tried = ledger(
        (trial("a", "c1"), account([1.0] * 11)),
        (trial("b", "c2"), account([1.0] * 10, FIRST + timedelta(days=1))),  # begins a session later
        (trial("c", "c3"), account([1.0] * 5)),
    )
    asked = np.arange("2020-01-02", "2020-01-12", dtype="datetime64[D]")
    shared = tried.on(asked)
    assert shared.names == ("c1", "c2")
    assert shared.dates[0] == np.datetime64("2020-01-03") and len(shared.dates) == 9
    assert np.isfinite(shared.matrix).all()
    assert shared.count == 3
    assert tried.on(asked[:0]).matrix.shape == (0, 0)


def test_a_run_beside_the_others_takes_the_place_of_its_own_record() -> None:
    tried = ledger((trial("a", "c1"), account([100.0, 101.0])), (trial("b", "c2"), account([100.0, 99.0, 98.0])))
    days = np.arange("2020-01-02", "2020-01-05", dtype="datetime64[D]")
    again = tried.beside("c1", days, np.array([0.1, 0.2, 0.3]))
    assert (again.names, again.count) == (("c2", "c1"), 2)
    assert again.matrix[:, 1] == pytest.approx([0.1, 0.2, 0.3])
    assert np.isnan(again.matrix[2, 0])
    new = ledger().beside("c3", days, np.array([0.1, 0.2, 0.3]))
    assert (new.names, new.count, new.matrix.shape) == (("c3",), 1, (3, 1))
