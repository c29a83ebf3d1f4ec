"""A vendor's key: there, or a sentence that says where to put it."""

from __future__ import annotations

from pydantic import SecretStr

from aiquant.errors import SettingsError


def required(key: SecretStr | None, setting: str) -> str:
    """The key's value.

    Raises
    ------
    SettingsError
        When it is missing or empty.
    """
    value = key.get_secret_value().strip() if key is not None else ""
    if not value:
        name = setting.replace(".", "__")
        raise SettingsError(
            f"setting {setting} is missing",
            f"set AIQUANT_{name.upper()}, or put a file {name} into the secrets folder",
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingsError(f"setting {setting} holds characters that no key has", "copy the key again")
    return value
