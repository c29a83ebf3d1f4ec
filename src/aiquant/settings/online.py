"""Settings of the online store: where the newest features of each symbol are kept for serving."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, SecretStr

from aiquant.settings.base import Section, span


class OnlineSettings(Section):
    """The online store of features, Feast's registry of them, and when a value is too old."""

    store: Literal["sqlite", "redis"] = Field("sqlite", description="A file of the workspace, or a server.")
    project: str = Field(
        "aiquant",
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Feast's project: keeps workspaces apart that share a server.",
    )
    ttl: str = Field(
        "5d",
        pattern=r"^[1-9][0-9]*(s|m|h|d)$",
        description="Age from which a value is stale: said of online values, null in training frames of Feast's.",
    )
    path: str = Field("online.db", description="File of SQLite: inside the workspace, or an absolute one.")
    registry: str = Field("feast.db", description="File of Feast's registry: inside the workspace, or an absolute one.")
    registry_url: SecretStr | None = Field(
        None, description="Database of Feast's registry instead, as SQLAlchemy's address (environment or secrets only)."
    )
    address: str = Field("127.0.0.1:6379", pattern=r"^[^\s:@/]+:[0-9]{1,5}$", description="Redis, host:port.")
    database: int = Field(0, ge=0, description="Number of the Redis database.")
    username: str | None = Field(None, description="Redis user; default: the default user.")
    password: SecretStr | None = Field(None, description="Password of Redis (environment or secrets only).")
    tls: bool = Field(False, description="Whether Redis is spoken to over TLS; its certificate is checked.")
    ca_file: str | None = Field(None, description="Certificates of the authorities that signed Redis's (PEM).")
    certificate_file: str | None = Field(None, description="Our own certificate (PEM), where Redis asks for one.")
    key_file: str | None = Field(None, description="Key of our own certificate (PEM).")
    timeout_seconds: float = Field(5.0, gt=0, description="How long an answer of the store is waited for.")

    @property
    def lifetime(self) -> timedelta:
        """``ttl`` as a span of time."""
        return span(self.ttl)
