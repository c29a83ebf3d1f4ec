"""Any text that is sealed comes back, and nothing of it can be read without the key."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiquant.lake.sealing import PREFIX, Sealed, Vault, key_ids

KEYS = {"k1": b"1" * 32, "k2": b"2" * 32}
TEXT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=200),
    st.builds(
        "".join, st.tuples(st.sampled_from([PREFIX, PREFIX + "k1:", PREFIX + ":"]), st.text("Ak1:=", max_size=20))
    ),
)
COLUMN = st.lists(st.none() | TEXT, max_size=20).map(lambda told: pl.Series("text", told, pl.String))


@given(COLUMN, st.sampled_from([None, "k1", "k2"]))
def test_there_and_back(values: pl.Series, active: str | None) -> None:
    stored = Vault(KEYS, active).seal(values, "tweets", "text")
    assert Vault(KEYS).open(stored, "tweets", "text").to_list() == values.to_list()


@given(COLUMN)
def test_what_is_sealed_names_its_key_and_nothing_else(values: pl.Series) -> None:
    stored = Vault(KEYS, "k2").seal(values, "tweets", "text")
    assert key_ids(stored.drop_nulls()).to_list() == ["k2"] * (len(values) - values.null_count())
    told = [v for v in values.drop_nulls() if len(v) > 20 and not v.startswith(PREFIX)]
    assert not any(text in held for text in told for held in stored.drop_nulls())
    if values.null_count() < len(values):
        with pytest.raises(Sealed):
            Vault({"k1": KEYS["k1"]}).open(stored, "tweets", "text")


@given(COLUMN)
def test_plain_text_needs_no_key(values: pl.Series) -> None:
    stored = Vault().seal(values, "tweets", "text")
    assert Vault().open(stored, "tweets", "text").to_list() == values.to_list()
