"""Authors' pseudonyms: keyed, stable, everywhere; no key, no posts."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from pydantic import SecretStr

from aiquant.errors import SettingsError
from aiquant.sources.pseudonyms import Pseudonyms

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def pseudonyms() -> Pseudonyms:
    return Pseudonyms(SecretStr(KEY))


def test_a_pseudonym_is_a_keyed_digest(pseudonyms: Pseudonyms) -> None:
    known = hmac.new(KEY.encode(), b"id\x1f42", hashlib.sha256).hexdigest()[:20]
    assert pseudonyms.author("42") == f"u_{known}"
    assert pseudonyms.author("42") == pseudonyms.author("42") != pseudonyms.author("43")
    assert Pseudonyms(SecretStr("x" * 32)).author("42") != pseudonyms.author("42")
    assert pseudonyms.author("42") != pseudonyms.name("42")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("RT @Jane_Doe: buy $AAPL", "RT @{Jane_Doe}: buy $AAPL"),
        (".@a and @b,@c", ".@{a} and @{b},@{c}"),
        ("＠wide", "@{wide}"),
        ("mail jane.doe@mail.example now", "mail [e-mail] now"),
        ("see https://twitter.com/jane/status/1", "see https://twitter.com/{jane}/status/1"),
        ("see x.com/jane", "see x.com/{jane}"),
        ("at 5@10 and a@b", "at 5@{10} and a@{b}"),
        ("x.com/search?q=1", "x.com/search?q=1"),
        ("no names, $5 @ noon", "no names, $5 @ noon"),
    ],
)
def test_names_in_texts(pseudonyms: Pseudonyms, text: str, left: str) -> None:
    expected = left
    for name in ("Jane_Doe", "jane", "wide", "a", "b", "c", "10"):
        expected = expected.replace(f"{{{name}}}", pseudonyms.name(name))
    assert pseudonyms.text(text) == expected
    assert pseudonyms.text(pseudonyms.text(text)) == pseudonyms.text(text)


@pytest.mark.parametrize("key", [None, SecretStr(""), SecretStr("short")])
def test_without_a_key_nothing_goes(key: SecretStr | None) -> None:
    with pytest.raises(SettingsError, match="setting x.pseudonym_key.*AIQUANT_X__PSEUDONYM_KEY") as caught:
        Pseudonyms(key)
    assert "short" not in str(caught.value).replace("shorter", "")
