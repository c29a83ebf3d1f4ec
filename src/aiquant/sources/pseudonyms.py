"""Authors get a pseudonym before anything leaves the room: a keyed digest, never the name or id.

HMAC-SHA-256 (RFC 2104) under a key that only the operator has: without it nobody can find out by trial whose pseudonym
it is, which a plain or salted digest of a nine-digit id would allow. The same author has the same pseudonym as long as
the key stays, so that posts of one author can be counted, and erased.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from pydantic import SecretStr

from aiquant.errors import SettingsError

SHORTEST_KEY = 32
_DIGITS = 20  # hex digits: 80 bits, no two of a billion authors collide
_MENTION = re.compile(r"[@＠]([A-Za-z0-9_]{1,50})")
_E_MAIL = re.compile(r"[\w.+-]+[@＠][\w-]+(?:\.[\w-]+)+")
_PROFILE = re.compile(r"(?i)\b((?:mobile\.|www\.)?(?:twitter|x)\.com/)(?!i/|search|hashtag)(?:#!/)?@?([a-z0-9_]{1,50})")
_OURS = re.compile(rf"u_[0-9a-f]{{{_DIGITS}}}")


class Pseudonyms:
    """Pseudonyms under one key.

    Raises
    ------
    SettingsError
        When there is no key, or it is too short to keep anybody from trying all.
    """

    def __init__(self, key: SecretStr | None, setting: str = "x.pseudonym_key") -> None:
        remedy = (
            f"set AIQUANT_{setting.replace('.', '__').upper()} to {SHORTEST_KEY} or more random characters (python -c "
            '"import secrets; print(secrets.token_hex(32))") and keep it: another key makes other pseudonyms'
        )
        if key is None or not key.get_secret_value():
            raise SettingsError(f"setting {setting} is missing: no post is taken in without pseudonyms", remedy)
        if len(key.get_secret_value()) < SHORTEST_KEY:
            raise SettingsError(f"setting {setting} is shorter than {SHORTEST_KEY} characters", remedy)
        self._key = key.get_secret_value().encode()

    def author(self, author_id: str) -> str:
        """Pseudonym of an author's id: ``u_`` and 20 hex digits."""
        return self._digest("id", author_id)

    def name(self, username: str) -> str:
        """Pseudonym of a user's name, upper and lower case alike."""
        return self._digest("name", username.lower())

    def text(self, text: str) -> str:
        """The text with each ``@name`` and profile address under its pseudonym, e-mail addresses masked."""
        text = _E_MAIL.sub("[e-mail]", text)
        text = _PROFILE.sub(lambda found: found[1] + self._again(found[2]), text)
        return _MENTION.sub(lambda found: "@" + self._again(found[1]), text)

    def _again(self, name: str) -> str:
        return name if _OURS.fullmatch(name) else self.name(name)

    def _digest(self, kind: str, value: str) -> str:
        told = hmac.new(self._key, f"{kind}\x1f{value}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()
        return f"u_{told[:_DIGITS]}"
