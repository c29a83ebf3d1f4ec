"""The online store: the newest features of each symbol, read in one go.

:func:`open_store` opens the one that the settings name. Feast's own API works on the same store through
:mod:`aiquant.features.feast_online`; nothing here needs Feast.
"""

from __future__ import annotations

from pathlib import Path

from aiquant.features.online.packing import View
from aiquant.features.online.store import OnlineStore, Written
from aiquant.settings import OnlineSettings

__all__ = ["OnlineStore", "View", "Written", "open_store"]


def open_store(settings: OnlineSettings, folder: Path) -> OnlineStore:
    """The store of a workspace; nothing is made or asked yet.

    Parameters
    ----------
    folder
        What a relative ``online.path`` is relative to.

    Raises
    ------
    MissingExtra
        When the settings name Redis and its library is not installed.
    SettingsError
        When a file of certificates is not there.
    """
    if settings.store == "redis":
        from aiquant.features.online.redis import RedisStore

        return RedisStore(settings)
    from aiquant.features.online.sqlite import SqliteStore

    return SqliteStore(folder / settings.path, settings.project, settings.timeout_seconds)
