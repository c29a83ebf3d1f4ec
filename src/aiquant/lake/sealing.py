"""Personal and licensed text can lie in the files encrypted, value by value, under keys that change.

AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce a value; the table's and column's names are authenticated with
it, so that a value cannot be moved to another column. A sealed value is text again, so that the schema stays as it is::

    aiquant:sealed:1:<key id>:<base64 of nonce + ciphertext + tag>

Values that were stored before encryption was switched on stay readable. A plain value that happens to begin like a
sealed one is stored behind an empty key id, so that nobody can post something that reads as one.

One key seals at most 2³² values (the bound of random nonces): change it long before, with ``aiquant lake rotate-key``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import polars as pl

from aiquant.errors import DataError, SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from aiquant.settings import PrivacySettings

PROTECTED: Mapping[str, tuple[str, ...]] = {
    "tweets": ("text",),
    "news": ("title", "description"),
    "dead_letters": ("payload",),
}
"""Columns with personal or licensed text, by table: those that can be sealed."""

PERSONAL: Mapping[str, tuple[str, ...]] = {**PROTECTED, "tweets": ("author", "text")}
"""Columns whose reading goes into the access log; authors are pseudonyms already, and stay readable as such."""

PREFIX = "aiquant:sealed:1:"
PLACEHOLDER = "[encrypted]"
"""What a reader without leave sees."""

_KEY_ID = re.compile(r"[A-Za-z0-9_\-]{1,32}")
_NONCE = 12


class Sealed(DataError):
    """A value is encrypted and cannot be opened here."""


class Vault:
    """Keys, and the columns that are sealed with the active one.

    Parameters
    ----------
    keys
        32 bytes each, by their id.
    active
        Id of the key that seals; None seals nothing, and still opens.
    columns
        Columns to seal, as ``table.column``: all of :data:`PROTECTED` by default.
    """

    def __init__(
        self, keys: Mapping[str, bytes] | None = None, active: str | None = None, columns: Sequence[str] | None = None
    ) -> None:
        self._keys = dict(keys or {})
        self._ciphers: dict[str, AESGCM] = {}
        if active is not None and active not in self._keys:
            raise SettingsError(
                f"setting privacy.active_key names {active!r}, which is not among privacy.keys",
                f"the keys there are: {', '.join(sorted(self._keys)) or 'none'}",
            )
        self.active = active
        known = [f"{table}.{column}" for table, names in PROTECTED.items() for column in names]
        unknown = sorted(set(columns or ()) - set(known))
        if unknown:
            raise SettingsError(
                f"setting privacy.encrypted: {', '.join(unknown)} cannot be encrypted", f"columns: {', '.join(known)}"
            )
        self._columns = frozenset(known if columns is None else columns)

    def seals(self, table: str, column: str) -> bool:
        """Whether new values of a column are encrypted."""
        return self.active is not None and f"{table}.{column}" in self._columns

    def knows(self, key_id: str) -> bool:
        """Whether a key is here."""
        return key_id in self._keys

    def seal(self, values: pl.Series, table: str, column: str) -> pl.Series:
        """Values as they are stored: encrypted, or plain where this column is not."""
        if self.active is None or not self.seals(table, column):
            told = values.str.starts_with(PREFIX).fill_null(False)
            return _behind_no_key(values, told) if told.any() else values
        cipher, about, head = self._cipher(self.active), _about(table, column), f"{PREFIX}{self.active}:"
        sealed = [None if value is None else head + _encrypted(cipher, value, about) for value in values]
        return pl.Series(values.name, sealed, pl.String)

    def open(self, values: pl.Series, table: str, column: str) -> pl.Series:
        """Stored values as they were given.

        Raises
        ------
        Sealed
            When a key is not there, or a value was altered.
        """
        told = values.str.starts_with(PREFIX).fill_null(False)
        if not told.any():
            return values
        about = _about(table, column)
        plain = [self._opened(v, about) if s else v for v, s in zip(values, told, strict=True)]
        return pl.Series(values.name, plain, pl.String)

    def _opened(self, value: str, about: bytes) -> str:
        key_id, _, text = value[len(PREFIX) :].partition(":")
        if not key_id:
            return text
        where = about.decode()
        if key_id not in self._keys:
            raise Sealed(
                f"column {where} is encrypted under the key {key_id!r}, which is not among privacy.keys",
                "set AIQUANT_PRIVACY__KEYS, or read other columns",
            )
        from cryptography.exceptions import InvalidTag

        try:
            raw = base64.b64decode(text, validate=True)
            return self._cipher(key_id).decrypt(raw[:_NONCE], raw[_NONCE:], about).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise Sealed(
                f"column {where}: a value under the key {key_id!r} was altered, or that is another key of this id",
                "restore the table from a copy, or set the right key",
            ) from error

    def _cipher(self, key_id: str) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if key_id not in self._ciphers:
            self._ciphers[key_id] = AESGCM(self._keys[key_id])
        return self._ciphers[key_id]


def from_settings(privacy: PrivacySettings) -> Vault:
    """The vault that the settings describe.

    Raises
    ------
    SettingsError
        When ``privacy.keys`` is not a JSON object of ids and base64 keys of 32 bytes; it never shows a key.
    """
    remedy = (
        'AIQUANT_PRIVACY__KEYS is JSON, {"k1": "<base64 of 32 random bytes>"}; make a key with: python -c '
        '"import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())"'
    )
    keys: dict[str, bytes] = {}
    if privacy.keys is not None and privacy.keys.get_secret_value().strip():
        try:
            told = json.loads(privacy.keys.get_secret_value())
            items = list(told.items())
        except (ValueError, AttributeError):
            raise SettingsError("setting privacy.keys is not a JSON object", remedy) from None
        for key_id, text in items:
            if not _KEY_ID.fullmatch(key_id):
                raise SettingsError(
                    f"setting privacy.keys: {key_id!r} is no id of a key", "use letters, digits, - and _"
                )
            keys[key_id] = _key(key_id, text, remedy)
    return Vault(keys, privacy.active_key, privacy.encrypted)


def key_ids(values: pl.Series) -> pl.Series:
    """Id of the key of each stored value; null for a plain (or no) value."""
    pattern = f"^{re.escape(PREFIX)}([A-Za-z0-9_\\-]+):"
    return values.str.extract(pattern, 1)


def protected(table: str) -> tuple[str, ...]:
    """Columns of a table that can be sealed."""
    return PROTECTED.get(table, ())


def personal(table: str) -> tuple[str, ...]:
    """Columns of a table whose reading goes into the access log."""
    return PERSONAL.get(table, ())


def _key(key_id: str, text: object, remedy: str) -> bytes:
    try:
        key = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise SettingsError(f"setting privacy.keys: the key {key_id!r} is not base64 of 32 bytes", remedy)
    return key


def _encrypted(cipher: AESGCM, value: str, about: bytes) -> str:
    nonce = os.urandom(_NONCE)
    return base64.b64encode(nonce + cipher.encrypt(nonce, value.encode(), about)).decode()


def _about(table: str, column: str) -> bytes:
    return f"{table}.{column}".encode()


def _behind_no_key(values: pl.Series, told: pl.Series) -> pl.Series:
    marked = [f"{PREFIX}:{v}" if m else v for v, m in zip(values, told, strict=True)]
    return pl.Series(values.name, marked, pl.String)
