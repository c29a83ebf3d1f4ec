"""Security settings reach the client, secrets reach nobody else, and errors are told in our words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from aiquant.errors import AiquantError, SettingsError, UsageError
from aiquant.settings import StreamSettings, from_values, load
from aiquant.streams import consumer, producer, topics
from aiquant.streams.connection import explain, options

SECRET = "p4ss-w0rd-of-nobody"


def stream(**told: Any) -> StreamSettings:
    return from_values({"stream": told}).stream


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, str]:
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca_file", "certificate_file", "key_file")}
    for path in files.values():
        Path(path).write_text("-")
    return files


@pytest.mark.parametrize("side", [producer._options, lambda told: consumer._options(told, "g")])
def test_tls_and_sasl_reach_both_sides(side: Any, pem: dict[str, str]) -> None:
    told = side(
        stream(
            brokers="b1:9093,b2:9093",
            security="sasl_tls",
            mechanism="SCRAM-SHA-256",
            username="quant",
            password=SECRET,
            key_password=SECRET + "2",
            **pem,
        )
    )
    wanted = {
        "bootstrap.servers": "b1:9093,b2:9093",
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "quant",
        "sasl.password": SECRET,
        "ssl.ca.location": pem["ca_file"],
        "ssl.certificate.location": pem["certificate_file"],
        "ssl.key.location": pem["key_file"],
        "ssl.key.password": SECRET + "2",
    }
    assert {name: told.get(name) for name in wanted} == wanted


def test_each_form_of_security() -> None:
    assert options(stream())["security.protocol"] == "plaintext"
    assert options(stream(security="tls"))["security.protocol"] == "ssl"
    told = options(stream(security="sasl_plaintext", username="u", password="p", ca_file="/nowhere"))
    assert told["security.protocol"] == "sasl_plaintext"
    assert not any(name.startswith("ssl.") for name in told)
    assert not any(name.startswith("sasl.") for name in options(stream(username="u", password="p")))


def test_a_half_told_security_is_refused() -> None:
    with pytest.raises(SettingsError, match="needs stream.username and stream.password.*AIQUANT_STREAM__PASSWORD"):
        options(stream(security="sasl_tls", username="u"))
    with pytest.raises(SettingsError, match="stream.ca_file: there is no file /nowhere/ca.pem"):
        options(stream(security="tls", ca_file="/nowhere/ca.pem"))


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = stream(security="sasl_tls", username="u", password=SECRET, key_password=SECRET)
    error = explain(KafkaError(KafkaError._AUTHENTICATION), told)
    assert SECRET not in f"{told!r} {told} {told.model_dump_json()} {error} {error!r}"
    monkeypatch.setenv("AIQUANT_STREAM__PASSWORD", SECRET)
    assert load().stream.password is not None and SECRET not in repr(load())
    (tmp_path / "aiquant.toml").write_text(f'[stream]\npassword = "{SECRET}"\n')
    with pytest.raises(SettingsError, match="is a secret") as refused:
        load(tmp_path)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("code", "exit_code", "told"),
    [
        (KafkaError._TRANSPORT, 3, "no broker answers at 127.0.0.1:9092; start Kafka"),
        (KafkaError._TIMED_OUT, 3, "no broker answers"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, 3, "has no topic t; make the topics with: aiquant stream init"),
        (KafkaError._AUTHENTICATION, 3, "does not accept our name and password"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, 3, "does not accept our name and password"),
        (KafkaError._SSL, 3, "no TLS connection"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, 3, "we may not use the topic t; ask"),
        (KafkaError.MSG_SIZE_TOO_LARGE, 2, "larger than the topic takes; raise max.message.bytes"),
        (KafkaError.UNKNOWN, 3, "see the log of the brokers"),
    ],
)
def test_errors_name_what_to_do(code: int, exit_code: int, told: str) -> None:
    error = explain(KafkaError(code), stream(), "t")
    assert isinstance(error, AiquantError)
    assert error.exit_code == exit_code
    assert told in str(error) and "\n" not in str(error)


def test_tables_do_not_share_a_topic() -> None:
    assert topics.names(stream(topics={"ticks": "my.ticks"}))["ticks"] == "my.ticks"
    with pytest.raises(UsageError, match="two tables share a topic"):
        topics.names(stream(topics={"ticks": "same", "news": "same"}))
