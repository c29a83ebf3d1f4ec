from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aiquant.errors import SettingsError, Unreachable
from aiquant.lake import Lake, rotation
from aiquant.lake.access import AccessLog
from aiquant.lake.ledger import Ledger
from aiquant.lake.sealing import PREFIX, Sealed, Vault, from_settings, key_ids
from aiquant.schemas import DEAD_LETTERS
from aiquant.settings import PrivacySettings

K1, K2 = {"k1": b"1" * 32}, {"k2": b"2" * 32}


def words(*texts: str | None) -> pl.Series:
    return pl.Series("text", texts, pl.String)


def vault(active: str | None = "k1", columns: list[str] | None = None) -> Vault:
    return Vault({**K1, **K2}, active, columns)


@pytest.fixture
def sealed(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", vault=vault(), access=AccessLog(tmp_path / "access.log", why="a test"))


def accesses(lake: Lake) -> list[dict[str, object]]:
    assert lake.access is not None
    return [json.loads(line) for line in lake.access.path.read_text().splitlines()] if lake.access.path.exists() else []


def bytes_on_disk(lake: Lake) -> bytes:
    """Everything below the lake, Parquet columns uncompressed."""
    raw = b""
    for file in Path(lake.root).rglob("*"):
        if file.suffix == ".parquet":
            raw += repr(pl.read_parquet(file, hive_partitioning=False).to_dicts()).encode()
        if file.is_file():
            raw += file.read_bytes()
    return raw


class TestVault:
    def test_there_and_back(self) -> None:
        plain = words("Grüße $AAPL 🚀", "", None, "x" * 100_000)
        stored = vault().seal(plain, "tweets", "text")
        assert stored.to_list()[2] is None
        assert all(value.startswith(f"{PREFIX}k1:") for value in stored.drop_nulls())
        assert vault("k2").open(stored, "tweets", "text").to_list() == plain.to_list()
        assert key_ids(stored).to_list() == ["k1", "k1", None, "k1"]

    def test_it_is_aes_256_gcm_over_table_and_column(self) -> None:
        value = vault().seal(words("hello"), "tweets", "text")[0]
        raw = base64.b64decode(value.removeprefix(f"{PREFIX}k1:"))
        assert AESGCM(b"1" * 32).decrypt(raw[:12], raw[12:], b"tweets.text") == b"hello"

    def test_equal_texts_do_not_look_equal(self) -> None:
        first, second = vault().seal(words("a", "a"), "tweets", "text")
        assert first != second

    def test_an_altered_or_moved_value_is_refused(self) -> None:
        stored = vault().seal(words("hello"), "tweets", "text")
        with pytest.raises(Sealed, match="news.title.*altered"):
            vault().open(stored, "news", "title")
        flipped = words(stored[0][:-6] + ("A" if stored[0][-6] != "A" else "B") + stored[0][-5:])
        with pytest.raises(Sealed, match="altered"):
            vault().open(flipped, "tweets", "text")
        with pytest.raises(Sealed, match="altered"):
            vault().open(words(f"{PREFIX}k1:not base64"), "tweets", "text")

    def test_without_the_key(self) -> None:
        stored = vault().seal(words("hello"), "tweets", "text")
        with pytest.raises(Sealed, match="'k1', which is not among privacy.keys.*AIQUANT_PRIVACY__KEYS"):
            Vault().open(stored, "tweets", "text")

    @pytest.mark.parametrize("active", [None, "k1"])
    def test_text_that_looks_sealed_is_only_text(self, active: str | None) -> None:
        posted = words(f"{PREFIX}k9:AAAA", "plain", None, f"{PREFIX}:x")
        stored = vault(active).seal(posted, "tweets", "text")
        assert vault(active).open(stored, "tweets", "text").to_list() == posted.to_list()

    def test_without_an_active_key_text_stays_plain(self) -> None:
        plain = words("hello", None)
        assert vault(None).seal(plain, "tweets", "text") is plain

    def test_only_the_columns_told(self) -> None:
        told = vault(columns=["tweets.text"])
        assert told.seals("tweets", "text") and not told.seals("news", "title")


class TestSettings:
    def told(self, keys: object, active: str | None = None, **more: object) -> Vault:
        text = keys if isinstance(keys, str) else json.dumps(keys)
        return from_settings(PrivacySettings.model_validate({"keys": text, "active_key": active, **more}))

    def test_keys_of_the_environment(self, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        from aiquant import settings

        monkeypatch.setenv("AIQUANT_PRIVACY__KEYS", json.dumps(keys))
        monkeypatch.setenv("AIQUANT_PRIVACY__ACTIVE_KEY", "k2")
        loaded = settings.load()
        assert from_settings(loaded.privacy).active == "k2"
        assert "privacy.keys" in settings.SECRETS
        assert keys["k1"] not in repr(loaded)
        assert loaded.fingerprint() == settings.Settings.model_construct().fingerprint()

    def test_without_keys_nothing_is_sealed(self) -> None:
        assert from_settings(PrivacySettings()).active is None

    @pytest.mark.parametrize(
        ("keys", "problem"),
        [
            ("no json", "not a JSON object"),
            ('["k1"]', "not a JSON object"),
            ({"k1": "c2hvcnQ="}, "'k1' is not base64 of 32 bytes"),
            ({"k1": "%%%"}, "'k1' is not base64 of 32 bytes"),
            ({"k 1": base64.b64encode(b"1" * 32).decode()}, "'k 1' is no id"),
        ],
    )
    def test_what_is_wrong_is_told_without_the_key(self, keys: object, problem: str) -> None:
        with pytest.raises(SettingsError, match=problem) as told:
            self.told(keys)
        assert "c2hvcnQ=" not in str(told.value)

    def test_an_active_key_that_is_not_there(self, keys: dict[str, str]) -> None:
        with pytest.raises(SettingsError, match="'k3', which is not among.*k1, k2"):
            self.told(keys, "k3")

    def test_a_column_that_cannot_be_encrypted(self, keys: dict[str, str]) -> None:
        with pytest.raises(SettingsError, match="tweets.author cannot be encrypted.*tweets.text"):
            self.told(keys, "k1", encrypted=["tweets.author"])


class TestTables:
    def test_no_text_lies_on_the_disk_and_reads_show_it(self, sealed: Lake, make_posts) -> None:
        sealed.write("tweets", make_posts(("1", "u_a", "the quick brown fox")))
        assert b"quick brown" not in bytes_on_disk(sealed)
        assert sealed.read("tweets")["text"].to_pylist() == ["the quick brown fox"]
        assert sealed.scan("tweets").filter(pl.col("text").str.contains("brown")).collect().height == 1

    def test_an_unchanged_row_is_recognised(self, sealed: Lake, make_posts) -> None:
        rows = make_posts(("1", "u_a", "one"), ("2", "u_b", "two"))
        sealed.write("tweets", rows)
        again = sealed.write("tweets", rows)
        assert (again.version, again.unchanged) == (1, 2)
        later = sealed.write("tweets", make_posts(("1", "u_a", "edited"), known=datetime(2024, 1, 3, tzinfo=UTC)))
        assert later.revised == 1
        assert sealed.read("tweets", where={"post_id": "1"})["text"].to_pylist() == ["edited"]

    def test_a_ledger_seals_and_recognises_too(self, sealed: Lake, make_posts) -> None:
        letters = pa.Table.from_pylist(
            [
                {
                    "letter_id": "l", "table": "tweets", "source": "s", "place": "tweets/0/1", "reason": "r",
                    "payload": "bad words", "ingest_time": datetime(2024, 1, 1, tzinfo=UTC),
                }
            ],
            schema=DEAD_LETTERS.schema,
        )  # fmt: skip
        ledger, rows = Ledger(sealed, "tweets"), make_posts(("1", "u_a", "quick brown"))
        first = ledger.append(rows, letters, {("tweets", 0): 0}, {("tweets", 0): 2})
        again = ledger.append(rows, letters.slice(0, 0), {("tweets", 0): 2}, {("tweets", 0): 3})
        assert (first.inserted, first.letters, again.inserted, again.duplicates) == (1, 1, 0, 1)
        raw = bytes_on_disk(sealed)
        assert b"quick brown" not in raw and b"bad words" not in raw
        assert sealed.read("dead_letters")["payload"].to_pylist() == ["bad words"]

    def test_without_the_key_other_columns_can_be_read(self, sealed: Lake, make_posts) -> None:
        sealed.write("tweets", make_posts(("1", "u_a", "fox")))
        stranger = Lake(sealed.root)
        assert stranger.read("tweets", columns=["post_id"]).num_rows == 1
        with pytest.raises(Sealed, match="^column tweets.text is encrypted under the key 'k1'.*privacy.keys") as told:
            stranger.read("tweets")
        assert "expression" not in str(told.value)
        with pytest.raises(Sealed):
            stranger.write("tweets", make_posts(("1", "u_a", "fox")))
        assert sealed.version("tweets") == 1

    def test_plain_text_of_before_stays_readable(self, sealed: Lake, make_posts) -> None:
        Lake(sealed.root).write("tweets", make_posts(("1", "u_a", "before")))
        sealed.write("tweets", make_posts(("2", "u_a", "after")))
        assert sealed.read("tweets")["text"].to_pylist() == ["before", "after"]


class TestSql:
    def test_text_is_shown_only_when_asked(self, sealed: Lake, make_posts) -> None:
        sealed.write("tweets", make_posts(("1", "u_a", "fox")))
        query = "select text from tweets"
        assert sealed.sql(query).read_all().to_pylist() == [{"text": "[encrypted]"}]
        assert sealed.sql(query, decrypt=True, why="study").read_all().to_pylist() == [{"text": "fox"}]
        where = "select post_id from tweets_versions where text like 'f%'"
        assert sealed.sql(where, decrypt=True).read_all().num_rows == 1
        assert sealed.sql(where).read_all().num_rows == 0
        told = [(a["action"], a["table"], a["columns"], a["why"]) for a in accesses(sealed)]
        assert told[0] == ("read", "tweets", ["author", "text"], "a test")
        assert told[1] == ("decrypt", "tweets", ["author", "text"], "study")

    def test_without_the_key(self, sealed: Lake, make_posts) -> None:
        from aiquant.errors import AiquantError

        sealed.write("tweets", make_posts(("1", "u_a", "fox")))
        with pytest.raises(AiquantError, match="encrypted under the key 'k1'"):
            Lake(sealed.root).sql("select text from tweets", decrypt=True).read_all()

    def test_what_is_stored_cannot_be_named(self, sealed: Lake, make_posts) -> None:
        from aiquant.errors import MissingError

        sealed.write("tweets", make_posts(("1", "u_a", "fox")))
        with pytest.raises(MissingError):
            sealed.sql("select * from tweets_versions_stored").read_all()


class TestAccessLog:
    def test_reads_of_personal_columns_are_told(self, sealed: Lake, make_posts, monkeypatch) -> None:
        monkeypatch.setenv("LOGNAME", "ada")
        sealed.write("tweets", make_posts(("1", "u_a", "fox"), ("2", "u_b", "dog")))
        assert accesses(sealed) == []
        sealed.read("tweets", columns=["post_id", "text"])
        sealed.read("tweets", columns=["post_id"])
        sealed.read("tweets", columns=["post_id"], where={"author": "u_a"})
        sealed.scan("tweets")
        told = accesses(sealed)
        assert [(a["columns"], a["rows"]) for a in told] == [(["text"], 2), (["author"], 1), (["author", "text"], None)]
        assert told[0] | {"time": 0} == {
            "time": 0, "who": "ada", "action": "read", "table": "tweets", "columns": ["text"], "rows": 2,
            "why": "a test",
        }  # fmt: skip
        assert datetime.fromisoformat(str(told[0]["time"])).tzinfo is not None

    def test_other_tables_leave_no_line(self, sealed: Lake, make_trades) -> None:
        sealed.write("ticks", make_trades(3))
        sealed.read("ticks")
        assert accesses(sealed) == []

    def test_a_log_that_cannot_be_written_stops_the_read(self, tmp_path: Path, make_posts) -> None:
        (tmp_path / "file").write_text("")
        lake = Lake(tmp_path / "lake", access=AccessLog(tmp_path / "file" / "access.log"))
        lake.write("tweets", make_posts(("1", "u_a", "fox")))
        with pytest.raises(Unreachable, match="access log cannot be written"):
            lake.read("tweets")

    def test_it_is_for_its_owner_alone_and_only_grows(self, tmp_path: Path) -> None:
        log = AccessLog(tmp_path / "deep" / "access.log")
        for n in range(3):
            log.record("read", "tweets", ["text"], n)
        assert log.path.stat().st_mode & 0o077 == 0
        assert [json.loads(line)["rows"] for line in log.path.read_text().splitlines()] == [0, 1, 2]


class TestRotation:
    def test_all_text_comes_under_the_active_key(self, sealed: Lake, make_posts, tmp_path: Path) -> None:
        Lake(sealed.root).write("tweets", make_posts(("0", "u_a", "plain"), day=1))
        sealed.write("tweets", make_posts(("1", "u_a", "fox"), day=2))
        new = Lake(sealed.root, vault=vault("k2"), access=sealed.access)
        new.write("tweets", make_posts(("2", "u_b", "dog"), day=3))
        done = rotation.rotate(new, "tweets")
        assert (done.partitions, done.rows) == (2, 2)
        only = Lake(sealed.root, vault=Vault(K2, "k2"))
        assert only.read("tweets")["text"].to_pylist() == ["plain", "fox", "dog"]
        assert rotation.rotate(only, "tweets").rows == 0
        assert only.version("tweets") == done.version
        assert accesses(sealed)[-1]["action"] == "rotate-key"

    def test_dead_letters_have_no_partitions(self, sealed: Lake) -> None:
        letter = {
            "letter_id": "l", "table": "tweets", "source": "s", "place": "p", "reason": "r", "payload": "words",
            "ingest_time": datetime(2024, 1, 1, tzinfo=UTC),
        }  # fmt: skip
        sealed.write("dead_letters", pa.Table.from_pylist([letter], schema=DEAD_LETTERS.schema))
        new = Lake(sealed.root, vault=vault("k2"))
        assert rotation.rotate(new, "dead_letters").rows == 1
        assert Lake(sealed.root, vault=Vault(K2)).read("dead_letters")["payload"].to_pylist() == ["words"]

    def test_a_writer_may_go_on(self, sealed: Lake, make_posts, monkeypatch: pytest.MonkeyPatch) -> None:
        sealed.write("tweets", make_posts(("1", "u_a", "fox")))
        new = Lake(sealed.root, vault=vault("k2"))
        from aiquant.lake import delta

        overwrite, rivals = delta.overwrite, [make_posts(("2", "u_b", "dog"))]

        def with_a_rival(*told: object) -> None:
            if rivals:
                sealed.write("tweets", rivals.pop())
            overwrite(*told)  # type: ignore[arg-type]

        monkeypatch.setattr(delta, "overwrite", with_a_rival)
        assert rotation.rotate(new, "tweets").rows == 2
        assert sealed.read("tweets")["text"].to_pylist() == ["fox", "dog"]

    def test_without_an_active_key(self, sealed: Lake) -> None:
        with pytest.raises(SettingsError, match="no active key"):
            rotation.rotate(Lake(sealed.root), "tweets")
