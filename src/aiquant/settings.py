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
from pathlib import Path
from typing import Any, Literal

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

    root: str = Field("lake", description="Folder of the tables: a path inside the workspace, or an absolute one.")
    commit_retries: int = Field(20, ge=0, description="How often a write that met a rival's commit is tried again.")


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

    model: str = Field("xgboost", description="Name of the forecaster: see `aiquant models list`.")
    first_test: int | None = Field(None, description="First year that is forecast; default: after min_train_years.")
    last_test: int | None = Field(None, description="Last year that is forecast; default: the last with data.")
    min_train_years: int = Field(3, ge=1, description="Years of history before the first forecast.")
    train_years: int | None = Field(None, ge=1, description="Length of a rolling training window; default: expanding.")
    embargo: int = Field(5, ge=0, description="Sessions left out between training labels and a test window.")
    seed: int = Field(7, ge=0, description="Seed of all random choices.")
    threads: int = Field(0, ge=0, description="Threads of training; 0 takes all cores.")


class XGBoostSettings(Section):
    """Parameters of the gradient boosted trees (names as in the library)."""

    n_estimators: int = Field(150, ge=1)
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
    commission_bps: float = Field(1.0, ge=0, description="Commission, basis points of the slipped notional.")
    slippage_bps: float = Field(4.0, ge=0, description="Slippage, basis points of the price, against the trade.")
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

    cuts: int = Field(5, ge=1, description="Random times at which history is cut.")


class TrackingSettings(Section):
    """MLflow."""

    uri: str | None = Field(None, description="Tracking server; default: mlflow.db (SQLite) in the workspace.")
    experiment: str = Field("aiquant", description="Name of the experiment.")
    model_name: str = Field("aiquant", description="Name of the registered model.")
    token: SecretStr | None = Field(
        None, description="Bearer token of the tracking server (environment or secrets only)."
    )


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

    def fingerprint(self) -> str:
        """Digest (SHA-256, 16 hex digits) of all that can change a result; names, places and threads do not count."""
        told = self.model_dump(
            mode="json", exclude={"name": True, "lake": True, "tracking": True, "learning": {"threads": True}}
        )
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

    class Loaded(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            sources: dict[str, PydanticBaseSettingsSource] = {
                "command line": init_settings,
                "environment": env_settings,
                "secrets folder": NestedSecretsSettingsSource(
                    file_secret_settings,
                    secrets_dir=secrets,
                    secrets_dir_missing="ok",
                    secrets_prefix="",
                    secrets_nested_delimiter="__",
                ),
            }
            if file is not None and file.is_file():
                sources[FILE_NAME] = TomlConfigSettingsSource(settings_cls, toml_file=file)
            for origin, source in sources.items():
                seen[origin] = source()
            _refuse_secrets_in_file(seen.get(FILE_NAME, {}))
            return tuple(sources.values())

    try:
        settings = Settings.model_construct(**dict(Loaded(**told)))
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

    class Told(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (init_settings,)

    try:
        return Settings.model_construct(**dict(Told(**values)))
    except ValidationError as error:
        raise _explain(error, {}) from error


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
        branch[name] = None if text.lower() in ("none", "null", "") else text
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


def _secret_names(model: type[BaseModel], prefix: str = "") -> frozenset[str]:
    names: set[str] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names |= _secret_names(field.annotation, f"{prefix}{name}.")
        elif "SecretStr" in str(field.annotation):
            names.add(prefix + name)
    return frozenset(names)


SECRETS = _secret_names(Settings)
"""Dotted names of the settings that hold secrets."""
