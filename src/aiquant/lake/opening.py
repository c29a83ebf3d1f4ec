"""The lake that settings describe: where it lies, how its store is reached, its keys and its access log."""

from __future__ import annotations

from pathlib import Path

from aiquant.lake import places, sealing
from aiquant.lake.access import AccessLog
from aiquant.lake.store import Lake
from aiquant.settings import LakeSettings, PrivacySettings


def open_lake(folder: Path, lake: LakeSettings, privacy: PrivacySettings, access_log: Path) -> Lake:
    """Open a workspace's lake; nothing is read or made yet.

    Parameters
    ----------
    folder
        What a relative ``lake.root`` is relative to.
    access_log
        File of the log of who read personal columns.

    Raises
    ------
    SettingsError
        When the keys of ``privacy`` are not what they have to be.
    """
    return Lake(
        lake.root if places.is_remote(lake.root) else folder / lake.root,
        commit_retries=lake.commit_retries,
        storage_options=lake.storage_options,
        vault=sealing.from_settings(privacy),
        access=AccessLog(access_log),
    )
