from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from aiquant.errors import UsageError
from aiquant.lake import Lake, erasing, maintenance
from aiquant.lake.access import AccessLog
from aiquant.lake.ledger import Ledger
from aiquant.lake.sealing import Vault
from aiquant.schemas import DEAD_LETTERS, TWEETS

A, B = "u_" + "a" * 20, "u_" + "b" * 20


@pytest.fixture(params=["plain", "sealed"])
def lake(tmp_path: Path, request: pytest.FixtureRequest) -> Lake:
    vault = Vault({"k1": b"1" * 32}, "k1") if request.param == "sealed" else None
    return Lake(tmp_path / "lake", vault=vault, access=AccessLog(tmp_path / "access.log", why="a test"))


def everything(lake: Lake) -> bytes:
    """All bytes below the lake, Parquet files decoded besides."""
    raw = b""
    for file in Path(lake.root).rglob("*"):
        if file.is_file():
            raw += file.read_bytes()
        if file.suffix == ".parquet":
            raw += repr(pl.read_parquet(file, hive_partitioning=False).to_dicts()).encode()
    return raw


def letter(number: str, payload: str, table: str = "tweets") -> pa.Table:
    told = {
        "letter_id": number, "table": table, "source": "x", "place": "p", "reason": "r", "payload": payload,
        "ingest_time": datetime(2024, 1, 1, tzinfo=UTC),
    }  # fmt: skip
    return pa.Table.from_pylist([told], schema=DEAD_LETTERS.schema)


@pytest.fixture
def filled(lake: Lake, make_posts) -> Lake:
    """Posts of two authors over two days and four versions, compacted, and dead letters."""
    lake.write("tweets", make_posts(("1", A, "alpha words"), ("2", B, "beta words"), day=2))
    lake.write("tweets", make_posts(("3", A, "alpha again"), day=3))
    lake.write("tweets", make_posts(("4", B, "beta again"), day=4))
    later = datetime(2024, 1, 9, tzinfo=UTC)
    lake.write("tweets", make_posts(("1", A, "alpha edited"), day=2, known=later))
    maintenance.compact(lake, "tweets")
    lake.write("dead_letters", letter("1", json.dumps({"author": A, "text": "alpha bad"})))
    lake.write("dead_letters", letter("2", json.dumps({"author": B, "text": "beta bad"})))
    lake.write("dead_letters", letter("3", json.dumps({"note": A}), "ticks"))
    return lake


def test_every_byte_of_the_author_is_gone(filled: Lake) -> None:
    done = erasing.erase(filled, [A])
    assert (done.posts, done.letters, done.pending) == (3, 1, 0)
    assert filled.read("tweets")["post_id"].to_pylist() == ["2", "4"]
    assert filled.read("tweets")["text"].to_pylist() == ["beta words", "beta again"]
    assert filled.read("dead_letters")["letter_id"].to_pylist() == ["2", "3"]
    raw = everything(filled).replace(json.dumps({"note": A}).encode(), b"")
    assert b"alpha" not in raw
    for file in (Path(filled.place("tweets"))).rglob("*"):
        if file.is_file():
            assert A.encode() not in file.read_bytes()
            if file.suffix == ".parquet":
                assert A not in pl.read_parquet(file, hive_partitioning=False)["author"].to_list()


def test_older_versions_end_where_it_says(filled: Lake) -> None:
    done = erasing.erase(filled, [A])
    latest = filled.version("tweets")
    assert done.oldest["tweets"] == latest
    for version in range(latest or 0):
        if version:
            with pytest.raises(UsageError, match=f"versions {latest} to {latest} can be read"):
                filled.read("tweets", version=version)


def test_twice_is_once(filled: Lake) -> None:
    erasing.erase(filled, [A])
    before, version = everything(filled), filled.version("tweets")
    again = erasing.erase(filled, [A])
    assert (again.posts, again.letters, again.files, again.pending) == (0, 0, 0, 0)
    assert (filled.version("tweets"), everything(filled)) == (version, before)


def test_what_a_stopped_erasure_left_is_finished(filled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_remove_files", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        erasing.erase(filled, [A])
    monkeypatch.undo()
    done = erasing.erase(filled, [A])
    assert done.posts == 0 and done.files >= 3
    assert not any(
        A in pl.read_parquet(f, hive_partitioning=False)["author"].to_list()
        for f in Path(filled.place("tweets")).rglob("*.parquet")
        if "_delta_log" not in str(f)
    )


def test_others_keep_their_files(lake: Lake, make_posts) -> None:
    """A version that never needed a file with the author's rows can still be read."""
    lake.write("tweets", make_posts(("1", A, "alpha"), day=2))
    lake.write("tweets", make_posts(("2", B, "beta"), day=3))
    kept = [f for f in Path(lake.place("tweets")).rglob("*.parquet") if "2024-01-03" in str(f)]
    done = erasing.erase(lake, [A])
    assert done.files == 1
    assert all(f.exists() for f in kept)


def test_a_file_of_a_write_under_way_is_reported_and_then_erased(filled: Lake, make_posts) -> None:
    folder = Path(filled.place("tweets")) / "date=2024-01-02"
    orphan = folder / "part-orphan.parquet"
    pl.DataFrame(make_posts(("9", A, "alpha orphan"))).drop("date").write_parquet(orphan)
    assert erasing.erase(filled, [A]).pending == 1
    assert orphan.exists()
    os.utime(orphan, (time.time() - 7200,) * 2)
    done = erasing.erase(filled, [A])
    assert (done.pending, done.files, orphan.exists()) == (0, 1, False)


def test_a_table_from_before_loses_values_in_its_log_and_checkpoints(lake: Lake, make_posts) -> None:
    place = lake.place("tweets")
    DeltaTable.create(place, TWEETS.schema, partition_by=["date"])
    write_deltalake(place, make_posts(("1", A, "alpha"), ("2", B, "beta")), mode="append")
    DeltaTable(place).create_checkpoint()
    assert A.encode() in (Path(place) / "_delta_log" / f"{1:020}.json").read_bytes()
    erasing.erase(lake, [A])
    raw = everything(lake)
    assert A.encode() not in raw and b"alpha" not in raw
    assert lake.read("tweets")["text"].to_pylist() == ["beta"]
    lake.write("tweets", make_posts(("3", B, "gamma")))
    newest = (Path(place) / "_delta_log" / f"{lake.version('tweets'):020}.json").read_text()
    assert B not in newest and "gamma" not in newest
    assert Lake(lake.root, vault=lake.vault).read("tweets").num_rows == 2


def test_a_ledger_goes_on(lake: Lake, make_posts) -> None:
    none = DEAD_LETTERS.schema.empty_table()
    ledger = Ledger(lake, "tweets")
    ledger.append(make_posts(("1", A, "alpha"), ("2", B, "beta")), none, {("tweets", 0): 0}, {("tweets", 0): 2})
    erasing.erase(lake, [A])
    told = ledger.append(make_posts(("3", B, "gamma")), none, {("tweets", 0): 2}, {("tweets", 0): 3})
    assert told.inserted == 1
    assert lake.read("tweets")["post_id"].to_pylist() == ["2", "3"]
    assert Ledger(lake, "tweets").positions([("tweets", 0)]) == {("tweets", 0): 3}


def test_it_is_logged(filled: Lake) -> None:
    erasing.erase(filled, [A], why="request of 3 May")
    assert filled.access is not None
    told = [json.loads(line) for line in filled.access.path.read_text().splitlines()]
    erased = [(t["table"], t["rows"], t["why"]) for t in told if t["action"] == "erase"]
    assert erased == [("tweets", 3, "request of 3 May"), ("dead_letters", 1, "request of 3 May")]
    assert A not in filled.access.path.read_text()


def test_an_empty_lake_and_no_name(lake: Lake) -> None:
    assert erasing.erase(lake, [A]).posts == 0
    with pytest.raises(UsageError):
        erasing.erase(lake, [])


def test_a_vacuum_afterwards_keeps_what_runs_can_still_read(filled: Lake) -> None:
    before = filled.version("tweets") or 0
    erasing.erase(filled, [A])
    done = maintenance.vacuum(filled, "tweets", 0, keep_versions=[1, before], delete=True, force=True)
    assert done.kept == ()
    assert filled.read("tweets")["post_id"].to_pylist() == ["2", "4"]
