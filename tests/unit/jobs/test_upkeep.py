from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from aiquant.cli.main import app
from aiquant.errors import DataError, RefusedError, SettingsError, UsageError
from aiquant.jobs import upkeep, workspace
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace
from aiquant.schemas import BARS, TWEETS
from aiquant.sources.pseudonyms import Pseudonyms

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def opened(tmp_path: Path) -> Workspace:
    return workspace.create(tmp_path / "w")


def posts(*authors: str) -> pa.Table:
    at = datetime(2024, 1, 2, 15, tzinfo=UTC)
    rows: list[dict[str, Any]] = [
        {
            "post_id": str(n),
            "date": at.date(),
            "event_time": at,
            "known_from": at,
            "symbols": "AAPL",
            "author": author,
            "text": f"post number {n}",
            "kind": "post",
            "source": "x",
        }
        for n, author in enumerate(authors)
    ]
    return pa.Table.from_pylist(rows, schema=TWEETS.schema)


def run(opened: Workspace, run_id: str, **versions: int) -> None:
    data = {table: {"version": version, "rows": 1, "digest": ""} for table, version in versions.items()}
    workspace.write_json(opened.runs / run_id / "manifest.json", {"run_id": run_id, "data": data})


def aiquant(opened: Workspace, *words: str, **environment: str) -> tuple[int, Any]:
    """A verb as a user runs it: exit code and its JSON."""
    told = CliRunner().invoke(
        app, [*words, "--workspace", str(opened.root), "--json"], env=environment, catch_exceptions=False
    )
    return told.exit_code, json.loads(told.stdout)


class TestVacuum:
    @pytest.fixture
    def two_versions(self, opened: Workspace, make_bars) -> Workspace:
        bars = make_bars(symbols=2, first=date(2019, 1, 2), last=date(2019, 1, 31))
        for part in range(3):
            opened.lake.write("bars", bars.slice(10 * part, 10))
        upkeep.compact(opened, Journal(), ["bars"])
        return opened

    def test_versions_that_manifests_name_are_kept(self, two_versions: Workspace) -> None:
        run(two_versions, "a-1", bars=2)
        run(two_versions, "b-1", bars=2, corporate_actions=0)
        assert upkeep.versions_of_runs(two_versions) == {"bars": {2: ["a-1", "b-1"]}, "corporate_actions": {0: ["b-1"]}}
        with pytest.raises(RefusedError):
            upkeep.vacuum(two_versions, Journal(), keep_days=0)
        from aiquant.lake import maintenance

        done = maintenance.vacuum(
            two_versions.lake, "bars", 0, upkeep.versions_of_runs(two_versions)["bars"], delete=True, force=True
        )
        assert (len(done.paths), done.kept) == (1, (2,))
        assert two_versions.lake.read("bars", version=2).num_rows == 20

    def test_force_drops_them(self, two_versions: Workspace) -> None:
        run(two_versions, "a-1", bars=2)
        told = upkeep.vacuum(two_versions, Journal(), keep_days=0, force=True)
        assert (len(told[0].paths), told[0].deleted) == (3, False)
        assert two_versions.lake.read("bars", version=2).num_rows == 20
        code, done = aiquant(two_versions, "lake", "vacuum", "--keep-days", "0", "--force", "--delete")
        assert code == 0 and len(done["tables"][0]["paths"]) == 3
        with pytest.raises(DataError):
            two_versions.lake.read("bars", version=2)

    def test_a_manifest_that_cannot_be_read_stops_it(self, two_versions: Workspace) -> None:
        run(two_versions, "a-1", bars=2)
        (two_versions.runs / "a-1" / "manifest.json").write_text("{half")
        with pytest.raises(DataError, match="manifest.json: not readable"):
            upkeep.vacuum(two_versions, Journal(), delete=True)


class TestVerify:
    def test_exit_codes(self, opened: Workspace, make_bars) -> None:
        bars = make_bars(symbols=2, first=date(2019, 1, 2), last=date(2019, 1, 31))
        opened.lake.write("bars", bars)
        assert aiquant(opened, "lake", "verify") == (0, {"findings": [], "broken": 0})
        days = pl.DataFrame(bars).filter(pl.col("date") != date(2019, 1, 15)).to_arrow().cast(BARS.schema)
        opened.lake.overwrite("bars", days)
        code, told = aiquant(opened, "lake", "verify", "bars")
        assert code == 1
        assert [(f["kind"], f["count"]) for f in told["findings"] if f["verdict"] == "broken"] == [("empty_session", 1)]


class TestErase:
    def test_by_the_id_of_the_vendor(self, opened: Workspace) -> None:
        from pydantic import SecretStr

        author = Pseudonyms(SecretStr(KEY)).author("2244994945")
        opened.lake.write("tweets", posts(author, "u_" + "b" * 20))
        words = ("lake", "erase", "--author", "2244994945", "--why", "request 17")
        code, told = aiquant(opened, *words, AIQUANT_X__PSEUDONYM_KEY=KEY)
        assert (code, told["posts"], told["pseudonyms"]) == (0, 1, [author])
        again = aiquant(opened, *words, AIQUANT_X__PSEUDONYM_KEY=KEY)[1]
        assert (again["posts"], again["files"]) == (0, 0)
        lines = [json.loads(line) for line in (opened.state / "access.log").read_text().splitlines()]
        assert [(x["action"], x["rows"], x["why"]) for x in lines] == [
            ("erase", 1, "request 17"),
            ("erase", 0, "request 17"),
        ]
        assert "2244994945" not in (opened.state / "access.log").read_text()

    def test_a_name_is_told_that_posts_carry_the_id(self, opened: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIQUANT_X__PSEUDONYM_KEY", KEY)
        opened.lake.write("tweets", posts("u_" + "b" * 20))
        journal = Journal()
        assert upkeep.erase(opened, journal, author="@ada").posts == 0
        assert "numeric id" in journal.notes[0]

    def test_wrong_use(self, opened: Workspace) -> None:
        with pytest.raises(UsageError, match="--author or by --pseudonym"):
            upkeep.erase(opened, Journal())
        with pytest.raises(UsageError, match="no pseudonym"):
            upkeep.erase(opened, Journal(), pseudonym="ada")
        with pytest.raises(SettingsError, match="pseudonym_key is missing"):
            upkeep.erase(opened, Journal(), author="17")


class TestKeys:
    def test_from_plain_to_one_key_and_to_the_next(self, opened: Workspace) -> None:
        keys = {name: base64.b64encode(name.encode() * 16).decode() for name in ("k1", "k2")}
        opened.lake.write("tweets", posts("u_a", "u_b"))
        told = {"AIQUANT_PRIVACY__KEYS": json.dumps(keys), "AIQUANT_PRIVACY__ACTIVE_KEY": "k1"}
        code, done = aiquant(opened, "lake", "rotate-key", **told)
        assert code == 0 and [(t["table"], t["rows"]) for t in done["tables"]] == [("tweets", 2)]
        query = "select text from tweets order by post_id"
        shown = aiquant(opened, "lake", "sql", query)[1]["rows"]
        assert shown == [{"text": "[encrypted]"}, {"text": "[encrypted]"}]
        clear = aiquant(opened, "lake", "sql", query, "--decrypt", "--why", "audit", **told)[1]["rows"]
        assert clear == [{"text": "post number 0"}, {"text": "post number 1"}]
        told["AIQUANT_PRIVACY__ACTIVE_KEY"] = "k2"
        assert aiquant(opened, "lake", "rotate-key", "tweets", **told)[1]["tables"][0]["rows"] == 2
        only = {**told, "AIQUANT_PRIVACY__KEYS": json.dumps({"k2": keys["k2"]})}
        assert aiquant(opened, "lake", "sql", query, "--decrypt", **only)[1]["rows"] == clear
        lines = [json.loads(line) for line in (opened.state / "access.log").read_text().splitlines()]
        actions = [line["action"] for line in lines]
        assert actions == ["rotate-key", "read", "decrypt", "rotate-key", "decrypt"]
        assert lines[2]["why"] == "audit"

    def test_without_a_key_and_a_table_without_text(self, opened: Workspace) -> None:
        opened.lake.write("tweets", posts("u_a"))
        with pytest.raises(SettingsError, match="no active key"):
            upkeep.rotate_key(opened, Journal())
        with pytest.raises(UsageError, match="no text that is encrypted"):
            upkeep.rotate_key(opened, Journal(), ["ticks"])


def test_history_and_compact_on_the_command_line(opened: Workspace) -> None:
    for n in range(3):
        opened.lake.write("tweets", posts("u_a").set_column(0, "post_id", pa.array([str(n)])).cast(TWEETS.schema))
    code, done = aiquant(opened, "lake", "compact", "tweets")
    assert code == 0 and (done["tables"][0]["files_before"], done["tables"][0]["files_after"]) == (3, 1)
    versions = aiquant(opened, "lake", "history", "tweets", "--limit", "2")[1]["versions"]
    assert [(v["version"], v["operation"]) for v in versions] == [(4, "OPTIMIZE"), (3, "WRITE")]
    told = CliRunner().invoke(app, ["lake", "history", "tweets", "--workspace", str(opened.root)])
    assert "rows added" in told.stdout and "OPTIMIZE" in told.stdout
