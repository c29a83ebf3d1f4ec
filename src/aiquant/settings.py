"""Every setting of aiquant, and where each value came from.

A value is taken from the first of these that has it:

1. what a command was told (``--set learning.seed=3`` or a flag),
2. an environment variable ``AIQUANT_<SECTION>__<NAME>`` (``AIQUANT_LEARNING__SEED=3``),
3. a file ``<section>__<name>`` in the secrets folder (``AIQUANT_SECRETS_DIR``, default ``/run/secrets/aiquant``),
4. ``aiquant.toml`` in the workspace,
5. the default below.

Secrets (type ``SecretStr``) are read from 2 and 3 only and are never printed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from aiquant.errors import SettingsError

FILE_NAME = "aiquant.toml"
SECRETS_DIR_VARIABLE = "AIQUANT_SECRETS_DIR"
DEFAULT_SECRETS_DIR = "/run/secrets/aiquant"


class Section(BaseModel):
    """Base of all sections: unknown names are refused, values cannot be changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    universe: str | None = Field(
        None, description="Name in the table universe; without it all symbols with bars count."
    )
    screen: bool = Field(
        True, description="Look for errors that a single row does not show (wrong scale, dead volume)."
    )


class FeatureSettings(Section):
    """Which features a model sees."""

    set: str = Field("core", description="Name of the feature set: see `aiquant features list`.")
    qlib_compat: bool = Field(False, description="Keep Qlib's own edge cases (IdxMax with NaN, flat thresholds).")


class LabelSettings(Section):
    """What a model is asked to forecast."""

    horizon: int = Field(5, ge=1, le=260, description="Bars that a position is held.")
    target: Literal["rank", "return", "excess"] = Field(
        "rank", description="rank: rank within the date, −0.5 to 0.5; excess: return less the date's mean."
    )


class LearningSettings(Section):
    """How forecasts are made out of sample."""

    model: str = Field("xgboost", description="Forecaster: xgboost, ridge, momentum, zero or a plug-in.")
    first_test: int | None = Field(None, description="First year that is forecast; default: after min_train_years.")
    last_test: int | None = Field(None, description="Last year that is forecast; default: the last with data.")
    min_train_years: int = Field(3, ge=1, description="Years of history before the first forecast.")
    train_years: int | None = Field(None, ge=1, description="Length of a rolling training window; default: expanding.")
    embargo: int = Field(5, ge=0, description="Sessions left out between training labels and a test window.")
    seed: int = Field(7, ge=0, description="Seed of all random choices.")
    threads: int = Field(0, ge=0, description="Threads of training; 0 takes all cores.")


class XGBoostSettings(Section):
    """Parameters of the gradient boosted trees (names as in the library)."""

    n_estimators: int = Field(100, ge=1)
    max_depth: int = Field(4, ge=1, le=16)
    learning_rate: float = Field(0.05, gt=0, le=1)
    subsample: float = Field(0.7, gt=0, le=1)
    colsample_bytree: float = Field(0.7, gt=0, le=1)
    min_child_weight: float = Field(100.0, ge=0)
    reg_lambda: float = Field(1.0, ge=0)
    max_bin: int = Field(64, ge=2)
    device: Literal["cpu", "cuda"] = "cpu"


class PortfolioSettings(Section):
    """From forecasts to target weights."""

    rule: Literal["long-short", "long-only"] = Field("long-short", description="Which side of the ranking is held.")
    quantile: float = Field(0.2, gt=0, le=0.5, description="Share of the universe on each side.")
    gross: float = Field(1.0, gt=0, le=10, description="Sum of the absolute target weights.")
    rebalance: int | None = Field(None, ge=1, description="Sessions between decisions; default: the label's horizon.")


class BacktestSettings(Section):
    """The account, its costs and its rules."""

    capital: float = Field(1_000_000.0, gt=0, description="Cash at the start, in the bars' currency.")
    commission_bps: float = Field(5.0, ge=0, description="Commission, basis points of the slipped notional.")
    slippage_bps: float = Field(5.0, ge=0, description="Slippage, basis points of the price, against the trade.")
    borrow_bps: float = Field(50.0, ge=0, description="Borrow fee, basis points a year of the short positions' value.")
    risk_free: float = Field(0.0, description="Risk-free rate a year, subtracted in the Sharpe ratio.")
    fill: Literal["next-open", "close"] = Field("next-open", description="Fill; next close where there are no opens.")
    shares: Literal["fractional", "whole"] = Field("fractional", description="Whether parts of a share can be traded.")
    allow_short: bool = Field(True, description="Whether target weights may be negative.")
    margin: bool = Field(False, description="Whether cash may become negative.")


class GateSettings(Section):
    """What a model has to show before it is promoted."""

    min_rank_ic_t: float = Field(2.0, description="t-statistic (Newey–West) of the out-of-sample rank IC.")
    min_sharpe_net: float = Field(0.0, description="Sharpe ratio net of costs must exceed this.")
    min_sharpe_probability: float = Field(0.95, ge=0, lt=1, description="Probability that the true Sharpe exceeds 0.")
    min_sessions: int = Field(500, ge=1, description="Out-of-sample sessions.")
    min_breadth: int = Field(10, ge=2, description="Median number of symbols a date.")
    require_leakage_check: bool = Field(True, description="A run that was not checked for leaks is not promoted.")


class LeakageSettings(Section):
    """How hard `check leakage` looks."""

    cuts: int = Field(3, ge=1, description="Random times at which history is cut.")


class TrackingSettings(Section):
    """MLflow."""

    uri: str | None = Field(None, description="Tracking server; default: mlflow.db (SQLite) in the workspace.")
    experiment: str = Field("aiquant", description="Name of the experiment.")
    model_name: str = Field("aiquant", description="Name of the registered model.")
    token: SecretStr | None = Field(
        None, description="Bearer token of the tracking server (environment or secrets only)."
    )


class PolygonSettings(Section):
    """Massive (formerly Polygon.io): prices and trades."""

    base_url: str = Field("https://api.massive.com", description="REST; https://api.polygon.io is the old host.")
    websocket_url: str = Field(
        "wss://socket.massive.com/stocks", description="Live feed; wss://delayed.massive.com/stocks on delayed plans."
    )
    api_key: SecretStr | None = Field(None, description="Key (environment or secrets only).")
    calls: int = Field(5, ge=1, description="Requests that the plan allows in period_s: 5 a minute on the free one.")
    period_s: float = Field(60.0, gt=0, description="Seconds in which so many requests are allowed.")
    concurrency: int = Field(4, ge=1, le=64, description="Requests in flight at once.")
    page_size: int = Field(50_000, ge=10, le=50_000, description="Rows a page.")
    adjusted: bool = Field(False, description="Ask for bars adjusted for splits; default: as traded.")
    symbols: tuple[str, ...] = Field((), description="Symbols of the live feed; empty: all.")
    minute_bars: bool = Field(False, description="Bring minute bars beside the trades in the live feed.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer that end a request.")
    attempts: int = Field(6, ge=1, le=20, description="How often a request is sent before it counts as failed.")
    quiet_s: float = Field(30.0, gt=0, description="Seconds without an answer to a ping that end a connection.")
    overlap_s: float = Field(10.0, ge=0, description="Seconds before a gap that are asked for again.")


class NewsApiSettings(Section):
    """NewsAPI: articles."""

    base_url: str = Field("https://newsapi.org/v2", description="REST.")
    api_key: SecretStr | None = Field(None, description="Key (environment or secrets only).")
    calls: int = Field(50, ge=1, description="Requests that the plan allows in period_s: 50 in 12 h on the free one.")
    period_s: float = Field(43_200.0, gt=0, description="Seconds in which so many requests are allowed.")
    endpoint: Literal["everything", "top-headlines"] = Field("everything", description="Which feed is polled.")
    query: str = Field("", max_length=500, description="Search expression; default: made of the symbols asked for.")
    language: str | None = Field("en", description="Two letters (ISO 639-1); none: all languages.")
    domains: tuple[str, ...] = Field((), description="Sites to which the search is narrowed.")
    country: str | None = Field("us", description="Country of the top headlines.")
    category: str | None = Field("business", description="Category of the top headlines.")
    page_size: int = Field(100, ge=1, le=100, description="Articles a page.")
    poll_s: float = Field(900.0, gt=0, description="Seconds between two looks of the live feed.")
    companies: str | None = Field(None, description="TOML file that adds company names to the table of tickers.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer that end a request.")
    attempts: int = Field(5, ge=1, le=20, description="How often a request is sent before it counts as failed.")


class XSettings(Section):
    """X (formerly Twitter), API v2: posts."""

    base_url: str = Field("https://api.x.com/2", description="REST and stream; https://api.twitter.com/2 is the old.")
    bearer_token: SecretStr | None = Field(None, description="App-only token (environment or secrets only).")
    pseudonym_key: SecretStr | None = Field(
        None, description="Key of the authors' pseudonyms, 32 or more random characters (environment or secrets only)."
    )
    mode: Literal["search", "stream"] = Field("search", description="Live feed: recent search, or filtered stream.")
    query: str = Field("", max_length=512, description="Search expression; default: cashtags of the symbols.")
    rules: tuple[str, ...] = Field((), description="Rules of the filtered stream, at most 1024 characters each.")
    reads_per_day: int = Field(10_000, ge=1, description="Posts that may be read in a UTC day: 0.005 USD each.")
    calls: int = Field(450, ge=1, description="Searches that are allowed in period_s.")
    period_s: float = Field(900.0, gt=0, description="Seconds in which so many searches are allowed.")
    page_size: int = Field(100, ge=10, le=100, description="Posts a page.")
    poll_s: float = Field(60.0, gt=0, description="Seconds between two searches of the live feed.")
    heartbeat_s: float = Field(20.0, gt=0, description="Seconds without a sign of life that end a stream.")
    timeout_s: float = Field(30.0, gt=0, description="Seconds without an answer that end a request.")
    attempts: int = Field(5, ge=1, le=20, description="How often a request is sent before it counts as failed.")


class SimulatorSettings(Section):
    """The seeded market of `aiquant simulate`."""

    seed: int = Field(7, ge=0, description="Seed of prices, news and posts.")
    port: int = Field(8640, ge=0, le=65_535, description="HTTP port on loopback; the WebSocket takes the next one.")
    symbols: int = Field(20, ge=1, le=400, description="Companies in the market.")
    speed: float = Field(1.0, gt=0, description="Simulated seconds a second.")
    trades_a_minute: float = Field(30.0, gt=0, description="Trades a minute and symbol, on average.")


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


class Settings(BaseSettings):
    """All settings; see the module's docstring for where values come from."""

    model_config = SettingsConfigDict(
        env_prefix="AIQUANT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    name: str = Field("research", description="Name of the workspace, shown in reports.")
    lake: LakeSettings = LakeSettings()
    privacy: PrivacySettings = PrivacySettings()
    data: DataSettings = DataSettings()
    features: FeatureSettings = FeatureSettings()
    labels: LabelSettings = LabelSettings()
    learning: LearningSettings = LearningSettings()
    xgboost: XGBoostSettings = XGBoostSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    backtest: BacktestSettings = BacktestSettings()
    gate: GateSettings = GateSettings()
    leakage: LeakageSettings = LeakageSettings()
    tracking: TrackingSettings = TrackingSettings()
    stream: StreamSettings = StreamSettings()
    polygon: PolygonSettings = PolygonSettings()
    newsapi: NewsApiSettings = NewsApiSettings()
    x: XSettings = XSettings()
    simulator: SimulatorSettings = SimulatorSettings()

    def fingerprint(self) -> str:
        """Digest (SHA-256, 16 hex digits) of all that can change a result; no name, place, vendor or thread counts."""
        apart = {
            name: True
            for name in ("name", "lake", "privacy", "tracking", "polygon", "newsapi", "x", "simulator", "stream")
        }
        told = self.model_dump(mode="json", exclude={**apart, "learning": {"threads": True}})
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def load(workspace: Path | None = None, overrides: dict[str, str] | None = None) -> Settings:
    """Read the settings of a workspace.

    Parameters
    ----------
    workspace
        Folder that may hold an ``aiquant.toml``; None reads no file.
    overrides
        Dotted names to values as text, ``{"learning.seed": "3"}``; they win over everything.

    Raises
    ------
    SettingsError
        When a file cannot be read, or a setting is unknown, of the wrong type, or out of range.
    """
    return resolve(workspace, overrides)[0]


def resolve(workspace: Path | None = None, overrides: dict[str, str] | None = None) -> tuple[Settings, dict[str, str]]:
    """As :func:`load`, with the origin of every setting by its dotted name (``default``, ``aiquant.toml`` …)."""
    told = _nested(overrides or {})
    file = workspace / FILE_NAME if workspace is not None else None
    secrets = os.environ.get(SECRETS_DIR_VARIABLE, DEFAULT_SECRETS_DIR)
    seen: dict[str, dict[str, Any]] = {}

    def choose(
        read: type[BaseSettings],
        init: PydanticBaseSettingsSource,
        environment: PydanticBaseSettingsSource,
        secret_files: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: dict[str, PydanticBaseSettingsSource] = {
            "command line": init,
            "environment": environment,
            "secrets folder": NestedSecretsSettingsSource(
                secret_files,
                secrets_dir=secrets,
                secrets_dir_missing="ok",
                secrets_prefix="",
                secrets_nested_delimiter="__",
            ),
        }
        if file is not None and file.is_file():
            sources[FILE_NAME] = TomlConfigSettingsSource(read, toml_file=file)
        for origin, source in sources.items():
            seen[origin] = source()
        _refuse_secrets_in_file(seen.get(FILE_NAME, {}))
        return tuple(sources.values())

    try:
        settings = Settings.model_construct(**dict(_reading(choose)(**told)))
    except ValidationError as error:
        raise _explain(error, seen) from error
    except (OSError, ValueError) as error:  # unreadable, not TOML, or an environment value that is not JSON
        raise SettingsError(f"{file or 'the environment'}: {error}", "correct the file or the variable") from error
    return settings, _origins(settings, seen)


def from_values(values: dict[str, Any]) -> Settings:
    """Settings from a tree of values alone: no file, no environment.

    Raises
    ------
    SettingsError
        When a value is unknown or does not fit.
    """
    try:
        return Settings.model_construct(**dict(_reading(lambda read, init, *others: (init,))(**values)))
    except ValidationError as error:
        raise _explain(error, {}) from error


def _reading(choose: Callable[..., tuple[PydanticBaseSettingsSource, ...]]) -> type[Settings]:
    """Settings that are read from the sources that ``choose`` gives, the first that has a value wins.

    ``choose`` is called with the class that is read, and its sources of arguments, environment and secret files.
    """

    class Read(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return choose(settings_cls, init_settings, env_settings, file_secret_settings)

    return Read


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"learning": {"seed": 3}}`` → ``{"learning.seed": 3}``."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        dotted = f"{prefix}{name}"
        flat.update(flatten(value, f"{dotted}.") if isinstance(value, dict) else {dotted: value})
    return flat


def _nested(overrides: dict[str, str]) -> dict[str, Any]:
    known = flatten(Settings.model_construct().model_dump())
    tree: dict[str, Any] = {}
    for dotted, text in overrides.items():
        if dotted not in known:
            raise SettingsError(f"no setting is named {dotted!r}", _nearest(dotted, list(known)))
        *sections, name = dotted.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = None if dotted in OPTIONAL and text.lower() in ("none", "null", "") else text
    return tree


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else "see all of them with: aiquant config show"


def _refuse_secrets_in_file(file: dict[str, Any]) -> None:
    for dotted in flatten(file):
        if dotted in SECRETS:
            raise SettingsError(
                f"{FILE_NAME}: {dotted} is a secret and must not stand in a file of the workspace",
                f"set AIQUANT_{dotted.replace('.', '__').upper()}, or a file of that name in the secrets folder",
            )


def _explain(error: ValidationError, seen: dict[str, dict[str, Any]]) -> SettingsError:
    first = error.errors()[0]
    dotted = ".".join(str(part) for part in first["loc"])
    origin = next((o for o, tree in seen.items() if _holds(flatten(tree), dotted)), "settings")
    if first["type"] == "extra_forbidden":
        known = flatten(Settings.model_construct().model_dump())
        return SettingsError(f"{origin}: no setting is named {dotted!r}", _nearest(dotted, list(known)))
    shown = "***" if dotted in SECRETS else repr(first["input"])
    return SettingsError(f"{origin}: setting {dotted} = {shown}: {first['msg'][0].lower()}{first['msg'][1:]}")


def _holds(flat: dict[str, Any], dotted: str) -> bool:
    return any(name == dotted or name.startswith(f"{dotted}.") for name in flat)


def _origins(settings: Settings, seen: dict[str, dict[str, Any]]) -> dict[str, str]:
    flat = {origin: flatten(values) for origin, values in seen.items()}
    names = flatten(settings.model_dump())
    return {name: next((o for o, values in flat.items() if name in values), "default") for name in names}


def _names(model: type[BaseModel], chosen: Callable[[Any], bool], prefix: str = "") -> frozenset[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= _names(field.annotation, chosen, f"{prefix}{name}.")
        elif chosen(field.annotation):
            names.add(prefix + name)
    return frozenset(names)


SECRETS = _names(Settings, lambda kind: "SecretStr" in str(kind))
"""Dotted names of the settings that hold secrets."""

OPTIONAL = _names(Settings, lambda kind: type(None) in get_args(kind))
"""Dotted names of the settings that can be left without a value; of the others "none" is a value like any."""
