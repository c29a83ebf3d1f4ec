"""The lake in an object store: MinIO, really running; writers that race lose nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest

from aiquant import calendars
from aiquant.errors import AiquantError, Unreachable
from aiquant.lake import Lake, erasing, maintenance, verification
from aiquant.lake.ledger import Ledger
from aiquant.schemas import DEAD_LETTERS, TICKS, TWEETS

WRITERS, COMMITS, ROWS = 4, 15, 20
NO_LETTERS = DEAD_LETTERS.schema.empty_table()


@pytest.fixture(scope="session")
def minio(scripts: Callable[[str], ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real MinIO on a free port; in CI a missing one is a failure."""
    module = scripts("minio")
    try:
        store = module.Store(tmp_path_factory.mktemp("minio"))
        store.start()
    except module.Missing as error:
        if os.environ.get("CI"):
            pytest.fail(f"no MinIO: {error}")
        pytest.skip(f"no MinIO: {error}")
    yield store
    store.stop()


@pytest.fixture
def lake(minio: Any, request: pytest.FixtureRequest) -> Lake:
    bucket = minio.make_bucket("".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:50].strip("-"))
    return Lake(f"{bucket}/some prefix", storage_options=minio.options)


def trades(first: int, number: int) -> pa.Table:
    at = datetime(2024, 1, 2, 15, tzinfo=UTC)
    rows = [
        {
            "symbol": "AB"[i % 2],
            "date": date(2024, 1, 2),
            "event_time": at + timedelta(milliseconds=i),
            "event_ns": int((at + timedelta(milliseconds=i)).timestamp() * 1e9),
            "price": 10.0,
            "size": 1.0,
            "exchange": "4",
            "trade_id": str(i),
            "ingest_time": at,
            "source": "test",
        }
        for i in range(first, first + number)
    ]
    return pa.Table.from_pylist(rows, schema=TICKS.schema)


def test_written_read_listed_and_asked(lake: Lake) -> None:
    assert lake.names() == [] and lake.version("ticks") is None
    lake.write("ticks", trades(0, 10))
    assert lake.write("ticks", trades(5, 10)).inserted == 5
    assert lake.write("ticks", trades(0, 15)).unchanged == 15
    assert lake.names() == ["ticks"]
    assert (lake.tables()[0].rows, lake.tables()[0].version) == (15, 2)
    assert lake.read("ticks").num_rows == 15
    assert lake.read("ticks", version=1).num_rows == 10
    assert lake.sql("select count(*) as n from ticks").read_all().to_pylist() == [{"n": 15}]


WRITER = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_lake_s3 import write_many
print(write_many(sys.argv[2], json.loads(sys.stdin.read()), int(sys.argv[3])))
"""


def write_many(root: str, options: dict[str, str], writer: int) -> int:
    """What one of the racing processes does; how many rows it was told are stored."""
    lake = Lake(root, commit_retries=200, storage_options=options)
    batches = [trades((writer * COMMITS + n) * ROWS, ROWS) for n in range(COMMITS)]
    return sum(lake.write("ticks", batch).inserted for batch in batches)


@pytest.mark.slow
def test_writers_that_race_lose_nothing(lake: Lake, minio: Any) -> None:
    lake.write("ticks", trades(0, 1))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(Path(__file__).parent), str(lake.root), str(writer)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for writer in range(WRITERS)
    ]
    try:
        for each in running:
            assert each.stdin is not None
            each.stdin.write(json.dumps(minio.options))
            each.stdin.close()
            each.stdin = None
        told = [int(each.communicate(timeout=200)[0]) for each in running]
    finally:
        for each in running:
            each.kill()
    assert sum(told) == WRITERS * COMMITS * ROWS - 1  # one was there
    stored = sorted(int(i) for i in lake.read("ticks")["trade_id"].to_pylist())
    assert stored == list(range(WRITERS * COMMITS * ROWS))
    assert lake.version("ticks") == WRITERS * COMMITS + 1


def test_a_ledger_is_fenced_and_goes_on(lake: Lake) -> None:
    ledger = Ledger(lake, "ticks")
    ledger.append(trades(0, 5), NO_LETTERS, {("ticks", 0): 0}, {("ticks", 0): 5})
    assert Ledger(lake, "ticks").positions([("ticks", 0)]) == {("ticks", 0): 5}
    maintenance.compact(lake, "ticks")
    told = ledger.append(trades(3, 5), NO_LETTERS, {("ticks", 0): 5}, {("ticks", 0): 10})
    assert (told.inserted, told.duplicates) == (3, 2)


def test_upkeep(lake: Lake) -> None:
    for n in range(3):
        lake.write("ticks", trades(n * 5, 5))
    assert len(maintenance.history(lake, "ticks")) == 4
    assert maintenance.compact(lake, "ticks").files_after == 1
    found = verification.verify(lake, "ticks", lambda a, b: calendars.sessions("XNYS", a, b))
    assert [(f.kind, f.count) for f in found] == [("old_file", 3)]
    done = maintenance.vacuum(lake, "ticks", 0, keep_versions=[1], delete=True, force=True)
    assert (len(done.paths), done.kept) == (2, (1,))
    assert lake.read("ticks", version=1).num_rows == 5
    with pytest.raises(AiquantError, match="versions 4 to 4 can be read"):
        lake.read("ticks", version=3)


def test_an_author_is_erased(lake: Lake, minio: Any) -> None:
    at = datetime(2024, 1, 2, tzinfo=UTC)
    author = "u_" + "a" * 20
    for n, who in enumerate((author, "u_other")):
        told = {
            "post_id": str(n), "date": at.date(), "event_time": at, "known_from": at, "symbols": "", "author": who,
            "text": f"words of {who}", "kind": "post", "source": "test",
        }  # fmt: skip
        lake.write("tweets", pa.Table.from_pylist([told], schema=TWEETS.schema))
    maintenance.compact(lake, "tweets")
    done = erasing.erase(lake, [author])
    assert (done.posts, done.pending) == (1, 0)
    assert lake.read("tweets")["author"].to_pylist() == ["u_other"]
    left = [f for f in (Path(minio.folder) / "data").rglob("*") if f.is_file() and "tweets" in str(f)]
    assert left and not any(author.encode() in f.read_bytes() for f in left)


def test_wrong_credentials_and_no_answer(lake: Lake, minio: Any) -> None:
    wrong = {**minio.options, "AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    with pytest.raises(Unreachable, match="refuses these credentials") as told:
        Lake(lake.root, storage_options=wrong).read("ticks")
    assert "not-the-secret" not in str(told.value)
    with pytest.raises(Unreachable, match="no such bucket"):
        Lake("s3://no-such-bucket/x", storage_options=minio.options).write("ticks", trades(0, 1))


def test_a_workspace_with_a_bucket(minio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aiquant.jobs import workspace

    bucket = minio.make_bucket("a-workspace")
    monkeypatch.setenv("AIQUANT_LAKE__S3_ACCESS_KEY", minio.options["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("AIQUANT_LAKE__S3_SECRET_KEY", minio.options["AWS_SECRET_ACCESS_KEY"])
    workspace.create(tmp_path)
    told = {"lake.root": f"{bucket}/lake", "lake.s3_endpoint": minio.address, "lake.s3_region": "us-east-1"}
    opened = workspace.open_(tmp_path, told)
    assert opened.lake.write("ticks", trades(0, 3)).inserted == 3
    assert str(opened.lake.place("ticks")) == f"{bucket}/lake/ticks"
    from aiquant.jobs import manifest

    assert "aiquant-test-secret" not in json.dumps(manifest.plain(opened.settings))


def test_credentials_of_the_environment(lake: Lake, minio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in minio.options.items():
        monkeypatch.setenv(name, value)
    bare = Lake(lake.root)
    assert bare.write("ticks", trades(0, 7)).inserted == 7
    assert bare.write("ticks", trades(0, 7)).unchanged == 7
    assert bare.read("ticks", where={"symbol": "A"}).num_rows == 4
    assert bare.sql("select count(*) as n from ticks").read_all().to_pylist() == [{"n": 7}]
    assert bare.names() == ["ticks"]
