"""The online store: what is packed is what is read, the newer row stays, and damage is told."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aiquant import schemas
from aiquant.errors import DataError, MissingExtra, Unreachable, UsageError
from aiquant.features import catalogue
from aiquant.features.online import View, open_store
from aiquant.features.online.sqlite import SqliteStore
from aiquant.settings import OnlineSettings

VIEW = View("pair", "0123456789abcdef", ("up", "down"))
T = datetime(2024, 3, 1, 21, tzinfo=UTC)


def rows(*told: tuple[str, datetime, datetime, float, float]) -> pa.Table:
    """``(symbol, event_time, known_from, up, down)``."""
    columns = list(zip(*told, strict=True)) or [()] * 5
    return pa.table(
        {
            "symbol": pa.array(columns[0], pa.string()),
            "date": pa.array([moment.date() for moment in columns[1]], pa.date32()),
            "event_time": pa.array(columns[1], schemas.TIME),
            "known_from": pa.array(columns[2], schemas.TIME),
            "up": pa.array(columns[3], pa.float32()),
            "down": pa.array(columns[4], pa.float32()),
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "online.db")


def test_values_come_back_to_the_bit_in_the_order_asked_for_and_what_is_not_there_is_null(store: SqliteStore) -> None:
    odd = np.float32(0.1)
    told = store.write(VIEW, rows(("B", T, T, odd, float("nan")), ("A", T, T, -0.0, float("inf"))))
    assert (told.rows, told.newest) == (2, T)
    read = store.read(VIEW, ["A", "X", "B", "A"], now=T + timedelta(hours=3))
    assert read.schema.names == ["symbol", "event_time", "known_from", "age", "up", "down"]
    assert read["symbol"].to_pylist() == ["A", "X", "B", "A"]
    assert read["event_time"].to_pylist() == [T, None, T, T]
    assert read["age"].to_pylist() == [timedelta(hours=3), None, timedelta(hours=3), timedelta(hours=3)]
    assert read["up"].type == pa.float32()
    assert read["up"].to_pylist() == [0.0, None, odd, 0.0] and np.signbit(read["up"][0].as_py())
    assert read["down"][0].as_py() == float("inf") and np.isnan(read["down"][2].as_py())
    only = store.read(VIEW, ["B"], ["down", "up"])
    assert only.schema.names[4:] == ["down", "up"] and only["up"][0].as_py() == odd
    assert store.symbols(VIEW) == ["A", "B"]


def test_moments_before_1970_and_far_ahead_keep_their_order(store: SqliteStore) -> None:
    early, late = datetime(1962, 1, 2, 20, 30, 0, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
    store.write(VIEW, rows(("A", late, late, 2, 2)))
    assert store.write(VIEW, rows(("A", early, early, 1, 1))).rows == 0
    store.write(VIEW, rows(("B", early, early, 1, 1)))
    assert store.read(VIEW, ["A", "B"])["event_time"].to_pylist() == [late, early]


def test_older_loses_correction_wins_and_twice_is_once(store: SqliteStore) -> None:
    later = T + timedelta(days=1)
    assert store.write(VIEW, rows(("A", T, T, 1, 1))).rows == 1
    assert store.write(VIEW, rows(("A", T, T, 1, 1))).rows == 0  # the same again
    assert store.write(VIEW, rows(("A", T - timedelta(days=1), later, 9, 9))).rows == 0  # an old day, corrected late
    assert store.write(VIEW, rows(("A", T, later, 2, 2))).rows == 1  # a correction
    assert store.write(VIEW, rows(("A", T, T, 1, 1))).rows == 0  # what it corrected
    assert store.read(VIEW, ["A"])["up"].to_pylist() == [2.0]
    assert store.write(VIEW, rows(("A", later, later, 3, 3), ("A", T, later, 4, 4))).rows == 1  # old one last
    assert store.read(VIEW, ["A"])["up"].to_pylist() == [3.0]


def test_versions_projects_and_sets_are_kept_apart(tmp_path: Path) -> None:
    ours, theirs = (SqliteStore(tmp_path / "online.db", project) for project in ("ours", "theirs"))
    newer = View("pair", "fedcba9876543210", VIEW.features)
    ours.write(VIEW, rows(("A", T, T, 1, 1)))
    ours.write(newer, rows(("A", T, T, 2, 2)))
    theirs.write(VIEW, rows(("A", T, T, 3, 3)))
    assert ours.read(VIEW, ["A"])["up"].to_pylist() == [1.0]
    ours.drop(VIEW)
    assert ours.read(VIEW, ["A"])["up"].to_pylist() == [None]
    assert ours.read(newer, ["A"])["up"].to_pylist() == [2.0]
    assert theirs.read(VIEW, ["A"])["up"].to_pylist() == [3.0]


def test_nothing_there_is_nulls_and_an_empty_batch_is_nothing(store: SqliteStore) -> None:
    assert store.read(VIEW, ["A"])["up"].to_pylist() == [None] and not store.path.exists()
    assert store.read(VIEW, []).num_rows == 0
    told = store.write(VIEW, rows())
    assert (told.rows, told.newest) == (0, None)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda value: value[:45], "damaged"),
        (lambda value: value[:42] + b"\x00" + value[43:], "damaged"),
        (lambda value: b"PK\x03\x04" + value[4:], "not written by aiquant"),
        (lambda value: value[:3] + b"\x07" + value[4:], "layout 7"),
        (lambda value: b"", "not written by aiquant"),
    ],
)
def test_what_was_damaged_or_is_foreign_is_told_with_its_symbol(store: SqliteStore, spoil: Any, why: str) -> None:
    store.write(VIEW, rows(("A", T, T, 0.1, 0.1), ("B", T, T, 0.1, 0.1)))
    with sqlite3.connect(store.path) as connection:
        good = connection.execute("SELECT value FROM aiquant_features WHERE symbol = 'B'").fetchone()[0]
        connection.execute("UPDATE aiquant_features SET value = ? WHERE symbol = 'B'", (spoil(good),))
    with pytest.raises(DataError, match=f"B in set pair is .*{why}"):
        store.read(VIEW, ["A", "B"])
    assert store.read(VIEW, ["A"])["up"].to_pylist() == [np.float32(0.1)]
    store.write(VIEW, rows(("B", T, T, 0.1, 0.1)))  # written anew it is whole again
    assert store.read(VIEW, ["B"])["up"].to_pylist() == [np.float32(0.1)]


def test_a_row_of_another_version_or_order_under_our_key_is_refused(store: SqliteStore) -> None:
    store.write(VIEW, rows(("A", T, T, 1, 2)))
    turned = View("pair", VIEW.version, ("down", "up"))
    with pytest.raises(DataError, match="another order"):
        store.read(turned, ["A"])
    other = View("pair", "f" * 16, VIEW.features)
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE aiquant_features SET version = ?", (other.version,))
    with pytest.raises(DataError, match="of version 0123456789abcdef of the set, not f{16}"):
        store.read(other, ["A"])


def test_missing_columns_and_unknown_names_are_told(store: SqliteStore) -> None:
    with pytest.raises(DataError, match="lack down of feature set pair"):
        store.write(VIEW, rows(("A", T, T, 1, 1)).drop_columns(["down"]))
    with pytest.raises(UsageError, match="no feature sideways"):
        store.read(VIEW, ["A"], ["sideways"])


def test_a_file_that_is_no_store_and_one_that_may_not_be_written(tmp_path: Path) -> None:
    foreign = tmp_path / "notes.db"
    foreign.write_bytes(b"These are notes, not a database. " * 100)
    with pytest.raises(DataError, match="not an online store"):
        SqliteStore(foreign).write(VIEW, rows(("A", T, T, 1, 1)))
    (tmp_path / "wall").write_text("a file where a folder should be")
    with pytest.raises(Unreachable, match="does not answer"):
        SqliteStore(tmp_path / "wall" / "online.db").write(VIEW, rows(("A", T, T, 1, 1)))


def test_a_locked_file_is_unreachable_and_the_same_call_succeeds_later(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "online.db", timeout=0.05)
    store.write(VIEW, rows(("A", T, T, 1, 1)))
    rival = sqlite3.connect(store.path, isolation_level=None)
    rival.execute("BEGIN EXCLUSIVE")
    later = rows(("A", T + timedelta(days=1), T + timedelta(days=1), 2, 2))
    with pytest.raises(Unreachable, match="locked"):
        store.write(VIEW, later)
    rival.execute("ROLLBACK")
    rival.close()
    assert store.write(VIEW, later).rows == 1


def test_writers_at_once_leave_the_newest_of_all(tmp_path: Path) -> None:
    path, moments = tmp_path / "online.db", [T + timedelta(minutes=m) for m in range(60)]

    def write(turn: int) -> None:
        store = SqliteStore(path)
        order = np.random.default_rng(turn).permutation(len(moments))
        for at in order:
            store.write(VIEW, rows(*((s, moments[at], moments[at], at, turn) for s in "ABC")))
        store.close()

    threads = [threading.Thread(target=write, args=(turn,)) for turn in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert SqliteStore(path).read(VIEW, list("ABC"))["up"].to_pylist() == [59.0] * 3


def test_a_set_of_the_catalogue_is_a_view_and_the_store_is_what_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = catalogue.get("core")
    view = View.of(core)
    assert (view.name, view.version) == ("core", core.version) and view.features[0] == core.features[0].name
    store = open_store(OnlineSettings(path="deep/inside.db", project="mine"), tmp_path)
    assert isinstance(store, SqliteStore) and store.path == tmp_path / "deep" / "inside.db" and store.project == "mine"
    monkeypatch.setitem(__import__("sys").modules, "redis", None)
    with pytest.raises(MissingExtra, match=r"aiquant\[feast\]"):
        open_store(OnlineSettings(store="redis"), tmp_path)
