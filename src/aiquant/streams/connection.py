"""From settings to a connection: librdkafka's options, and its errors in our words."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from aiquant.errors import AiquantError, DataError, MissingError, SettingsError, Unreachable
from aiquant.settings import StreamSettings

_PROTOCOLS = {"plaintext": "plaintext", "tls": "ssl", "sasl_plaintext": "sasl_plaintext", "sasl_tls": "sasl_ssl"}
_FILES = {
    "ca_file": "ssl.ca.location",
    "certificate_file": "ssl.certificate.location",
    "key_file": "ssl.key.location",
}
_DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
}


def options(stream: StreamSettings) -> dict[str, Any]:
    """What producers, consumers and administration have in common; it holds secrets, so never print it.

    Raises
    ------
    SettingsError
        When a file of certificates is not there, or SASL lacks the name or the password.
    """
    told: dict[str, Any] = {
        "bootstrap.servers": stream.brokers,
        "security.protocol": _PROTOCOLS[stream.security],
        "client.id": "aiquant",
        "log_level": 0,  # the library would write on standard error; its errors reach us through Watch
        "reconnect.backoff.max.ms": 2_000,
    }
    for name, option in _FILES.items():
        path = getattr(stream, name)
        if path is not None and "tls" in stream.security:
            if not Path(path).is_file():
                raise SettingsError(f"stream.{name}: there is no file {path}", "correct the setting")
            told[option] = path
    if stream.key_password is not None and "tls" in stream.security:
        told["ssl.key.password"] = stream.key_password.get_secret_value()
    if "sasl" in stream.security:
        if stream.username is None or stream.password is None:
            raise SettingsError(
                f"stream.security = {stream.security} needs stream.username and stream.password",
                "set the password as AIQUANT_STREAM__PASSWORD, or as a file of that name in the secrets folder",
            )
        told["sasl.mechanism"] = stream.mechanism
        told["sasl.username"] = stream.username
        told["sasl.password"] = stream.password.get_secret_value()
    return told


class Watch:
    """Hears what a client reports on the side, so that "no answer" can be told from "refused"."""

    def __init__(self, stream: StreamSettings) -> None:
        self._stream = stream
        self._told: dict[int, str] = {}

    def __call__(self, error: KafkaError) -> None:
        """Callback of the client."""
        self._told[error.code()] = error.str()

    def demand(self, client: Any) -> Any:
        """The cluster's description, asked through a client with ``list_topics`` and ``poll``.

        Raises
        ------
        Unreachable
            When no broker answers, or refuses us.
        """
        deadline = time.monotonic() + self._stream.timeout_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                return client.list_topics(timeout=max(0.1, min(1.0, left)))
            except KafkaException as error:
                client.poll(0)  # only now the callback hears why
                for code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL):
                    if code in self._told:
                        raise explain(KafkaError(code, self._told[code]), self._stream) from error
                if left <= 1.0:
                    raise explain(error.args[0], self._stream) from error


def waiting(stream: StreamSettings, note: Callable[[str], None] | None) -> Callable[[KafkaError], None]:
    """A client's callback that notes when all brokers are away; the client itself waits for them."""

    def hear(error: KafkaError) -> None:
        if note is not None and error.code() == KafkaError._ALL_BROKERS_DOWN:
            note(f"no broker answers at {stream.brokers}; waiting for one, nothing is lost")

    return hear


def explain(error: KafkaError, stream: StreamSettings, topic: str | None = None) -> AiquantError:
    """The error of ours for one of Kafka's."""
    code, where = error.code(), f"Kafka at {stream.brokers}"
    if code in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
        return Unreachable(
            f"{where} does not accept our name and password (stream.username = {stream.username}, "
            f"stream.mechanism = {stream.mechanism})",
            "correct them; the password is AIQUANT_STREAM__PASSWORD or a file of that name in the secrets folder",
        )
    if code == KafkaError._SSL:
        return Unreachable(
            f"{where}: no TLS connection: {_short(error)}",
            "check stream.security, stream.ca_file, stream.certificate_file and stream.key_file",
        )
    if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
        return MissingError(f"{where} has no topic {topic or ''}".rstrip(), "make the topics with: aiquant stream init")
    if code in _DENIED:
        return Unreachable(
            f"{where}: we may not use the {_DENIED[code]} {topic or ''}".rstrip(), "ask its administrator for the right"
        )
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return DataError(
            f"{where}: a message for topic {topic} is larger than the topic takes",
            f"raise max.message.bytes of the topic, or set stream.max_message_bytes (now {stream.max_message_bytes:,}) "
            "to what it takes: larger rows are then set aside",
        )
    if code in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE):
        return Unreachable(
            f"no broker answers at {stream.brokers}",
            "start Kafka (for development: make kafka), or correct stream.brokers and stream.security",
        )
    return Unreachable(f"{where}: {_short(error)}", "see the log of the brokers")


def _short(error: KafkaError) -> str:
    return error.str().splitlines()[0][:200] if error.str() else error.name()
