"""The panel: joined by key, sorted by time and symbol, targets by date, members as they were known."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from aiquant.errors import DataError
from aiquant.learning import panel
from aiquant.schemas import LABELS, TIME, UNIVERSE

DAYS = [date(2020, 1, 2), date(2020, 1, 3), date(2020, 1, 6)]


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 21, tzinfo=UTC)


def features(rows: Sequence[tuple[str, date, float]]) -> pa.Table:
    return pa.table(
        {
            "symbol": [symbol for symbol, _, _ in rows],
            "date": pa.array([day for _, day, _ in rows], pa.date32()),
            "event_time": pa.array([at(day) for _, day, _ in rows], TIME),
            "known_from": pa.array([at(day) for _, day, _ in rows], TIME),
            "x": pa.array([value for _, _, value in rows], pa.float32()),
        }
    )


def labels(rows: Sequence[tuple[str, date, float]], horizon: int = 1) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "symbol": symbol,
                "date": day,
                "event_time": at(day),
                "horizon": horizon,
                "label_start": at(date(2020, 2, 3)),
                "label_end": at(date(2020, 2, 4)),
                "forward_return": value,
            }
            for symbol, day, value in rows
        ],
        schema=LABELS.schema,
    )


def members(*rows: dict[str, object]) -> pa.Table:
    full = [{"universe": "u", "member_to": None, "source": "s"} | row for row in rows]
    return pa.Table.from_pylist(full, schema=UNIVERSE.schema)


def test_rows_are_sorted_by_time_and_symbol_and_joined_with_their_labels() -> None:
    built = panel.build(
        features([("B", DAYS[1], 4), ("A", DAYS[0], 1), ("B", DAYS[0], 2), ("A", DAYS[1], 3)]),
        labels([("B", DAYS[0], 0.2), ("A", DAYS[0], 0.1)]),
        target="return",
    )
    assert built.X.tolist() == [[1], [2], [3], [4]]
    assert built.X.dtype == np.float32 and built.X.flags.c_contiguous
    assert [built.symbol_names[code] for code in built.symbols] == ["A", "B", "A", "B"]
    assert built.dates.astype(str).tolist() == ["2020-01-02"] * 2 + ["2020-01-03"] * 2
    assert built.event_time[0] == np.datetime64("2020-01-02T21:00:00")
    np.testing.assert_array_equal(built.y, np.array([0.1, 0.2, np.nan, np.nan], dtype=np.float32))
    assert built.labelled.tolist() == [True, True, False, False]
    assert np.isnat(built.label_end).tolist() == [False, False, True, True]
    assert (built.features, built.horizon, len(built)) == (("x",), 1, 4)


def test_ranks_run_from_minus_a_half_to_a_half_and_ties_share_theirs() -> None:
    rows = [(name, DAYS[0], 0.0) for name in "ABCDE"]
    returns = [0.05, -0.02, 0.01, 0.01, 0.30]
    built = panel.build(features(rows), labels([(n, d, r) for (n, d, _), r in zip(rows, returns, strict=True)]))
    # ranks 4, 1, 2.5, 2.5, 5 of 5, scaled by (rank − 1) / 4 − 0.5
    assert built.y.tolist() == [0.25, -0.5, -0.125, -0.125, 0.5]


def test_ranks_count_only_symbols_with_a_label() -> None:
    rows = [(name, DAYS[0], 0.0) for name in "ABC"]
    built = panel.build(features(rows), labels([("A", DAYS[0], 0.3), ("C", DAYS[0], 0.1)]))
    np.testing.assert_array_equal(built.y, np.array([0.5, np.nan, -0.5], dtype=np.float32))


def test_excess_is_the_return_less_the_mean_of_the_date() -> None:
    rows = [("A", DAYS[0], 0.0), ("B", DAYS[0], 0.0), ("A", DAYS[1], 0.0), ("B", DAYS[1], 0.0)]
    returns = [("A", DAYS[0], 0.25), ("B", DAYS[0], -0.25), ("A", DAYS[1], 0.5), ("B", DAYS[1], 0.25)]
    built = panel.build(features(rows), labels(returns), target="excess")
    assert built.y.tolist() == [0.25, -0.25, 0.125, -0.125]
    assert built.forward_return.tolist() == [0.25, -0.25, 0.5, 0.25]


@pytest.mark.parametrize(("target", "expected"), [("rank", False), ("excess", False), ("return", True)])
def test_a_date_with_one_label_is_not_trained_on_where_the_target_is_relative(
    target: panel.Target, expected: bool
) -> None:
    built = panel.build(features([("A", DAYS[0], 1)]), labels([("A", DAYS[0], 0.1)]), target=target)
    assert built.labelled.tolist() == [expected]


def test_infinite_and_missing_features_become_nan() -> None:
    table = features([("A", DAYS[0], float("inf")), ("B", DAYS[0], float("nan")), ("C", DAYS[0], 1)])
    column = pa.array([None, -1, 2], pa.int64())
    built = panel.build(table.append_column("count", column), labels([("A", DAYS[0], 0.1)]))
    np.testing.assert_array_equal(built.X, np.array([[np.nan, np.nan], [np.nan, -1], [1, 2]], dtype=np.float32))


def test_members_count_from_their_first_to_their_last_day() -> None:
    rows = [(name, day, 0.0) for name in "AB" for day in DAYS]
    table = members(
        {"symbol": "A", "member_from": DAYS[1], "event_time": at(DAYS[0]), "known_from": at(DAYS[0])},
        {
            "symbol": "B",
            "member_from": DAYS[0],
            "member_to": DAYS[1],
            "event_time": at(DAYS[0]),
            "known_from": at(DAYS[0]),
        },
    )
    built = panel.build(features(rows), labels([("A", DAYS[1], 0.1)]), universe=table)
    kept = [(built.symbol_names[code], str(day)) for code, day in zip(built.symbols, built.dates, strict=True)]
    assert kept == [("B", "2020-01-02"), ("A", "2020-01-03"), ("B", "2020-01-03"), ("A", "2020-01-06")]


def test_a_membership_counts_only_once_it_was_known() -> None:
    rows = [("A", day, 0.0) for day in DAYS]
    table = members({"symbol": "A", "member_from": DAYS[0], "event_time": at(DAYS[1]), "known_from": at(DAYS[1])})
    built = panel.build(features(rows), labels([("A", DAYS[1], 0.1)]), universe=table)
    assert built.dates.astype(str).tolist() == ["2020-01-03", "2020-01-06"]


def test_a_correction_of_a_membership_does_not_reach_back_before_it_was_known() -> None:
    first = {"symbol": "A", "member_from": DAYS[0], "event_time": at(DAYS[0])}
    table = members(
        first | {"known_from": at(DAYS[0])},
        first | {"known_from": at(DAYS[2]), "member_to": DAYS[0]},  # on the 6th: it had left on the 2nd
    )
    built = panel.build(features([("A", day, 0.0) for day in DAYS]), labels([("A", DAYS[1], 0.1)]), universe=table)
    assert built.dates.astype(str).tolist() == ["2020-01-02", "2020-01-03"]


def test_several_universes_at_once_are_refused() -> None:
    one = {"symbol": "A", "member_from": DAYS[0], "event_time": at(DAYS[0]), "known_from": at(DAYS[0])}
    with pytest.raises(DataError, match="several universes: u, v"):
        panel.build(features([("A", DAYS[0], 1)]), labels([]), universe=members(one, one | {"universe": "v"}))


def test_without_labels_a_horizon_must_be_told() -> None:
    table = features([("A", DAYS[0], 1)])
    with pytest.raises(DataError, match="shorter than the label's window"):
        panel.build(table, labels([]))
    built = panel.build(table, labels([]), horizon=5)
    assert built.horizon == 5 and not built.labelled.any()


def test_labels_of_another_horizon_are_refused() -> None:
    table = features([("A", DAYS[0], 1)])
    with pytest.raises(DataError, match="horizon 1 where 5 was asked for"):
        panel.build(table, labels([("A", DAYS[0], 0.1)]), horizon=5)
    mixed = pa.concat_tables([labels([("A", DAYS[0], 0.1)]), labels([("A", DAYS[0], 0.1)], horizon=2)])
    with pytest.raises(DataError, match="horizon 1, 2"):
        panel.build(table, mixed)


def test_a_key_that_stands_twice_is_named() -> None:
    with pytest.raises(DataError, match="hold A at 2020-01-02 21:00:00.*more than once"):
        panel.build(features([("A", DAYS[0], 1), ("A", DAYS[0], 2)]), labels([("A", DAYS[0], 0.1)]))


def test_tables_that_are_no_features_are_refused() -> None:
    table, known = features([("A", DAYS[0], 1)]), labels([("A", DAYS[0], 0.1)])
    with pytest.raises(DataError, match="no feature column"):
        panel.build(table.drop_columns("x"), known)
    with pytest.raises(DataError, match="lacks the column.s. date"):
        panel.build(table.drop_columns("date"), known)
    with pytest.raises(DataError, match="feature sector is of type string"):
        panel.build(table.append_column("sector", pa.array(["tech"])), known)
    with pytest.raises(DataError, match="no feature row is left"):
        panel.build(table.slice(0, 0), known)


class Portions:
    """A table in pieces that looks whether the piece before was let go of."""

    def __init__(self, *tables: pa.Table) -> None:
        self.tables = tables

    def keys(self) -> pa.Table:
        return pa.concat_tables([table.select(["symbol", "date", "event_time"]) for table in self.tables])

    def __iter__(self) -> Iterator[pa.Table]:
        before: weakref.ref[pa.Table] | None = None
        for table in self.tables:
            piece = table.slice(0)
            assert before is None or before() is None, "two portions are in memory"
            before = weakref.ref(piece)
            yield piece
            del piece


def test_portions_in_any_order_make_the_same_panel_and_one_is_held_at_a_time() -> None:
    rng = np.random.default_rng(4)
    rows = [(symbol, day, float(rng.normal())) for symbol in "DBCA" for day in DAYS if (symbol, day) != ("B", DAYS[0])]
    whole, told = features(rows), labels([(symbol, day, 0.1) for symbol, day, _ in rows])
    order = rng.permutation(len(rows))
    pieces = [features([rows[i] for i in part]) for part in np.array_split(order, 4)]
    expected, built = panel.build(whole, told), panel.build(Portions(*pieces), told)
    np.testing.assert_array_equal(built.X, expected.X)
    np.testing.assert_array_equal(built.symbols, expected.symbols)
    assert built.features == ("x",) and len(built) == len(rows)
    inside = members({"symbol": "A", "member_from": DAYS[1], "event_time": at(DAYS[0]), "known_from": at(DAYS[0])})
    one = panel.build(Portions(*pieces), told, universe=inside)
    np.testing.assert_array_equal(one.X, panel.build(whole, told, universe=inside).X)
    assert len(one) == 2


def test_portions_that_do_not_fit_are_refused() -> None:
    one, other = features([("A", DAYS[0], 1)]), features([("B", DAYS[0], 2)])
    with pytest.raises(DataError, match="do not have the same columns"):
        panel.build(Portions(one, other.rename_columns([*other.column_names[:-1], "z"])), labels([("A", DAYS[0], 0.1)]))
    twice = Portions(one, other)
    twice.keys = lambda: pa.concat_tables([one, other, features([("C", DAYS[0], 3)])])  # type: ignore[method-assign]
    with pytest.raises(DataError, match="hold 2 of 3 rows"):
        panel.build(twice, labels([("A", DAYS[0], 0.1)]))


def test_on_disk_it_is_the_same_panel(market: Callable[..., tuple[pa.Table, pa.Table]]) -> None:
    days = [date(2020, 1, 1) + timedelta(days=i) for i in range(60)]
    features, labels = market(days, symbols=4, features=3)
    memory, disk = panel.build(features, labels), panel.build(features, labels, on_disk=True)
    assert isinstance(disk.X, np.memmap) and not isinstance(memory.X, np.memmap)
    np.testing.assert_array_equal(memory.X, disk.X)
