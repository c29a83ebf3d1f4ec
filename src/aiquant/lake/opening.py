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
        storage_options=storage_options(lake),
        vault=sealing.from_settings(privacy),
        access=AccessLog(access_log),
    )


def storage_options(lake: LakeSettings) -> dict[str, str]:
    """What the settings say about the object store; the AWS variables of the environment fill the rest."""
    told = {
        "AWS_ENDPOINT_URL": lake.s3_endpoint,
        "AWS_REGION": lake.s3_region,
        "AWS_ACCESS_KEY_ID": lake.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": lake.s3_secret_key,
        "AWS_SESSION_TOKEN": lake.s3_session_token,
    }
    options = {
        name: value if isinstance(value, str) else value.get_secret_value()
        for name, value in told.items()
        if value is not None
    }
    if (lake.s3_endpoint or "").startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    return options
