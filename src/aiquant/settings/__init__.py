"""Every setting of aiquant, and where each value came from.

A value is taken from the first of these that has it:

1. what a command was told (``--set learning.seed=3`` or a flag),
2. an environment variable ``AIQUANT_<SECTION>__<NAME>`` (``AIQUANT_LEARNING__SEED=3``),
3. a file ``<section>__<name>`` in the secrets folder (``AIQUANT_SECRETS_DIR``, default ``/run/secrets/aiquant``),
4. ``aiquant.toml`` in the workspace,
5. ``tuned.toml`` in the workspace, where ``aiquant tune --apply`` puts what it found,
6. the default below.

Secrets (type ``SecretStr``) are read from 2 and 3 only and are never printed.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from aiquant.errors import SettingsError
from aiquant.settings.backtest import BacktestSettings
from aiquant.settings.data import DataSettings, LakeSettings, PrivacySettings
from aiquant.settings.evaluation import EvaluationSettings
from aiquant.settings.live import LiveSettings
from aiquant.settings.online import OnlineSettings
from aiquant.settings.portfolio import PortfolioSettings
from aiquant.settings.research import (
    CombinatorialSettings,
    FeatureSettings,
    GateSettings,
    ImportanceSettings,
    JudgementSettings,
    LabelSettings,
    LeakageSettings,
    LearningSettings,
    RidgeSettings,
    TrackingSettings,
    TuningSettings,
    XGBoostSettings,
)
from aiquant.settings.spark import SparkSettings
from aiquant.settings.strategy import StrategySettings, SweepSettings
from aiquant.settings.stream import StreamSettings
from aiquant.settings.trade import AlpacaSettings, TradeSettings
from aiquant.settings.vendors import NewsApiSettings, PolygonSettings, SimulatorSettings, XSettings

__all__ = [
    "AlpacaSettings",
    "BacktestSettings",
    "CombinatorialSettings",
    "DEFAULT_SECRETS_DIR",
    "DataSettings",
    "EvaluationSettings",
    "FILE_NAME",
    "FeatureSettings",
    "GateSettings",
    "ImportanceSettings",
    "JudgementSettings",
    "LabelSettings",
    "LakeSettings",
    "LeakageSettings",
    "LearningSettings",
    "LiveSettings",
    "NewsApiSettings",
    "OPTIONAL",
    "OnlineSettings",
    "PolygonSettings",
    "PortfolioSettings",
    "PrivacySettings",
    "RidgeSettings",
    "SECRETS",
    "SECRETS_DIR_VARIABLE",
    "Settings",
    "SimulatorSettings",
    "SparkSettings",
    "StrategySettings",
    "StreamSettings",
    "SweepSettings",
    "TUNED_NAME",
    "TrackingSettings",
    "TradeSettings",
    "TuningSettings",
    "XGBoostSettings",
    "XSettings",
    "flatten",
    "from_values",
    "load",
    "resolve",
]

FILE_NAME = "aiquant.toml"
TUNED_NAME = "tuned.toml"
SECRETS_DIR_VARIABLE = "AIQUANT_SECRETS_DIR"
DEFAULT_SECRETS_DIR = "/run/secrets/aiquant"


_NEVER_COUNTS = (
    "name",
    "evaluation",
    "lake",
    "privacy",
    "tracking",
    "polygon",
    "newsapi",
    "x",
    "simulator",
    "stream",
    "live",
    "online",
    "spark",
    "tuning",
    "importance",
    "trade",
    "alpaca",
    "strategy",
    "sweep",
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
    privacy: PrivacySettings = PrivacySettings()
    data: DataSettings = DataSettings()
    features: FeatureSettings = FeatureSettings()
    online: OnlineSettings = OnlineSettings()
    spark: SparkSettings = SparkSettings()
    labels: LabelSettings = LabelSettings()
    learning: LearningSettings = LearningSettings()
    xgboost: XGBoostSettings = XGBoostSettings()
    ridge: RidgeSettings = RidgeSettings()
    tuning: TuningSettings = TuningSettings()
    importance: ImportanceSettings = ImportanceSettings()
    portfolio: PortfolioSettings = PortfolioSettings()
    backtest: BacktestSettings = BacktestSettings()
    strategy: StrategySettings = StrategySettings()
    sweep: SweepSettings = SweepSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    judgement: JudgementSettings = JudgementSettings()
    cpcv: CombinatorialSettings = CombinatorialSettings()
    gate: GateSettings = GateSettings()
    leakage: LeakageSettings = LeakageSettings()
    tracking: TrackingSettings = TrackingSettings()
    stream: StreamSettings = StreamSettings()
    live: LiveSettings = LiveSettings()
    polygon: PolygonSettings = PolygonSettings()
    newsapi: NewsApiSettings = NewsApiSettings()
    x: XSettings = XSettings()
    simulator: SimulatorSettings = SimulatorSettings()
    trade: TradeSettings = TradeSettings()
    alpaca: AlpacaSettings = AlpacaSettings()

    def fingerprint(self, without: tuple[str, ...] = ()) -> str:
        """Digest (SHA-256, 16 hex digits) of all that can change a result; no name, place, vendor or thread counts.

        Parameters
        ----------
        without
            Further sections that shall not count.
        """
        apart = dict.fromkeys((*_NEVER_COUNTS, *without), True)
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
    files = {} if workspace is None else {name: workspace / name for name in (FILE_NAME, TUNED_NAME)}
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
        for name, file in files.items():
            if file.is_file():
                sources[name] = _toml(read, file)
        for origin, source in sources.items():
            seen[origin] = source()
        for name in files:
            _refuse_secrets_in_file(name, seen.get(name, {}))
        return tuple(sources.values())

    try:
        settings = Settings.model_construct(**dict(_reading(choose)(**told)))
    except ValidationError as error:
        raise _explain(error, seen) from error
    except (OSError, ValueError) as error:  # an environment value that is not JSON, or an unreadable secret
        raise SettingsError(f"the environment: {error}", "correct the variable or the secret file") from error
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


def _toml(read: type[BaseSettings], file: Path) -> PydanticBaseSettingsSource:
    try:
        return TomlConfigSettingsSource(read, toml_file=file)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file}: {error}", "correct the file") from error


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


def _refuse_secrets_in_file(name: str, content: dict[str, Any]) -> None:
    for dotted in flatten(content):
        if dotted in SECRETS:
            raise SettingsError(
                f"{name}: {dotted} is a secret and must not stand in a file of the workspace",
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
    remedy = "correct it; what it may be: aiquant config show, or docs/reference/settings.md"
    return SettingsError(f"{origin}: setting {dotted} = {shown}: {_words(first)}", remedy)


def _words(told: Any) -> str:
    """The library's message, in plain words where it speaks of its own parsing."""
    kind: str = told["type"]
    if kind.startswith(("int_parsing", "int_type", "int_from")):
        return "not a whole number"
    if kind.startswith(("float_parsing", "float_type")):
        return "not a number"
    if kind.startswith(("bool_parsing", "bool_type")):
        return "neither true nor false"
    if kind.startswith(("date", "time")):
        return "not a date" if kind.startswith("date") else "not a time"
    text = str(told["msg"]).removeprefix("Value error, ").replace("Input should be", "it has to be")
    return f"{text[0].lower()}{text[1:]}"


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
