"""Settings of the data: where they lie, who may read them, and what the bars are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from aiquant.settings.base import Section


class LakeSettings(Section):
    """Where the Delta tables lie."""

    root: str = Field(
        "lake", description="Folder of the tables: inside the workspace, an absolute one, or s3://bucket/prefix."
    )
    commit_retries: int = Field(20, ge=0, description="How often a write that met a rival's commit is tried again.")
    keep_days: float = Field(30.0, ge=1, description="Days that a file which only older versions need is kept.")
    s3_endpoint: str | None = Field(None, description="Address of an object store other than AWS, as MinIO.")
    s3_region: str | None = Field(None, description="Region of the bucket; default: the AWS variables, or us-east-1.")
    s3_access_key: SecretStr | None = Field(None, description="Access key (environment or secrets only).")
    s3_secret_key: SecretStr | None = Field(None, description="Secret key (environment or secrets only).")
    s3_session_token: SecretStr | None = Field(None, description="Session token (environment or secrets only).")

    @property
    def storage_options(self) -> dict[str, str]:
        """What the settings say about the object store, secrets included; the AWS variables fill the rest."""
        told = {
            "AWS_ENDPOINT_URL": self.s3_endpoint,
            "AWS_REGION": self.s3_region,
            "AWS_ACCESS_KEY_ID": self.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3_secret_key,
            "AWS_SESSION_TOKEN": self.s3_session_token,
        }
        options = {
            name: value if isinstance(value, str) else value.get_secret_value()
            for name, value in told.items()
            if value is not None
        }
        if (self.s3_endpoint or "").startswith("http://"):
            options["AWS_ALLOW_HTTP"] = "true"
        return options


class PrivacySettings(Section):
    """Encryption of personal and licensed text in the lake."""

    encrypted: tuple[str, ...] = Field(
        ("tweets.text", "news.title", "news.description", "dead_letters.payload"),
        description="Columns that are encrypted once there is an active key.",
    )
    active_key: str | None = Field(None, description="Id of the key that encrypts; default: nothing is encrypted.")
    keys: SecretStr | None = Field(
        None, description="All keys, as JSON of id to base64 of 32 bytes (environment or secrets only)."
    )


class DataSettings(Section):
    """What the bars are and how the checks of quality judge them."""

    calendar: str = Field("XNYS", description="Exchange calendar: an ISO 10383 code, or 24/7.")
    interval: str = Field("1d", pattern=r"^[1-9][0-9]*(m|h|d)$", description="Interval of the bars that are used.")
    adjustment: Literal["none", "splits", "splits+dividends", "unknown"] = Field(
        "unknown", description="What the prices of files were adjusted for before they came to us."
    )
    time_zone: str | None = Field(
        None, description="Zone of times that files give without one: exchange, UTC or an IANA name; default: refuse."
    )
    hours: Literal["regular", "all"] = Field(
        "regular",
        description="Intraday bars that are taken in: those of trading hours, which features need, or all.",
    )
    universe: str | None = Field(
        None, description="Name in the table universe; without it all symbols with bars count."
    )
    screen: bool = Field(
        True, description="Look for errors that a single row does not show (wrong scale, dead volume)."
    )
