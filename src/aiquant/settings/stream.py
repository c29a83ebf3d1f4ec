"""Settings of the streams."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from aiquant.settings.base import Section


class TopicSettings(Section):
    """Names of the topics, by the table whose rows they carry."""

    ticks: str = Field("ticks", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    bars: str = Field("bars", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    news: str = Field("news", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    tweets: str = Field("tweets", pattern=r"^[A-Za-z0-9._-]{1,249}$")
    dead_letters: str = Field("dead-letters", pattern=r"^[A-Za-z0-9._-]{1,249}$")


class StreamSettings(Section):
    """Kafka: where it is, how topics are made, how large a batch becomes, and how both sides prove who they are."""

    brokers: str = Field("127.0.0.1:9092", description="Addresses of brokers, host:port, joined by commas.")
    topics: TopicSettings = TopicSettings()
    partitions: int = Field(4, ge=1, le=1000, description="Partitions of a topic that is made.")
    replication: int = Field(1, ge=1, le=10, description="Copies of a topic that is made; 3 in production.")
    retention_hours: float = Field(168.0, gt=0, description="How long a topic that is made keeps its messages.")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field("lz4", description="Of messages.")
    max_message_bytes: int = Field(1_000_000, ge=1_000, le=100_000_000, description="Largest message.")
    group: str = Field("aiquant", pattern=r"^[A-Za-z0-9._-]+$", description="Name of the group of consumers.")
    batch_rows: int = Field(50_000, ge=1, description="Messages of a micro-batch at the most.")
    batch_seconds: float = Field(5.0, gt=0, description="Seconds after which a micro-batch is written at the latest.")
    timeout_seconds: float = Field(15.0, gt=0, description="How long a start waits for the brokers' first answer.")
    session_seconds: float = Field(
        10.0, ge=1, le=300, description="Silence of a consumer after which its partitions go to the others."
    )
    on_gap: Literal["stop", "continue"] = Field(
        "stop", description="When Kafka no longer holds messages that were not read: stop, or go on behind the gap."
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="Port of the metrics on loopback; default: none."
    )
    security: Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"] = Field(
        "plaintext", description="plaintext, tls (certificates), sasl_tls (a name and a password, over TLS)."
    )
    ca_file: str | None = Field(None, description="Certificates of the authorities that signed the brokers' (PEM).")
    certificate_file: str | None = Field(None, description="Our own certificate (PEM), where brokers ask for one.")
    key_file: str | None = Field(None, description="Key of our own certificate (PEM).")
    key_password: SecretStr | None = Field(None, description="Password of the key (environment or secrets only).")
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field("SCRAM-SHA-512", description="Of SASL.")
    username: str | None = Field(None, description="Name for SASL.")
    password: SecretStr | None = Field(None, description="Password for SASL (environment or secrets only).")
    lateness_seconds: float = Field(60.0, ge=0, description="How long a bar waits for ticks that come late.")
