"""The catalogue of feature sets: each feature with its formula, its look-back, what it means and where it is from.

A set is a module of :mod:`aiquant.features.sets` with a list of definitions, or a TOML file of one's own::

    description = "Two of mine"
    partial_windows = false

    [features.gap20]
    formula = "$close / Mean($close, 20) - 1"
    description = "Close against its 20-day mean"
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from aiquant.errors import UsageError
from aiquant.features import rolling
from aiquant.features.expressions import Expression, walk
from aiquant.features.operators import nearest
from aiquant.features.parsing import parse
from aiquant.schemas import FEATURES

_SETS = ("alpha158", "core")


@dataclass(frozen=True)
class Feature:
    """One column of a feature set.

    Attributes
    ----------
    name
        Its column.
    expression
        What is computed.
    formula
        The same as text, as it was written down.
    description
        What it means, in one line.
    source
        Paper, book or library that it is from.
    """

    name: str
    expression: Expression
    formula: str
    description: str = ""
    source: str = ""

    @property
    def lookback(self) -> int:
        """Slots before the current one that it reads: sessions, for daily bars."""
        return self.expression.lookback

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Columns of the bars that it reads, sorted."""
        return tuple(sorted(n.name for n in walk([self.expression]) if n.op == "field"))


@dataclass(frozen=True)
class FeatureSet:
    """Features that are computed and stored together.

    Attributes
    ----------
    name
        Its name in the catalogue.
    features
        In the order of their columns.
    description
        One line.
    partial_windows
        Whether a window with one value gives a result, as in Qlib, so that there are values from a symbol's first bar
        on. Else a feature is NaN until its whole look-back lies inside the history, and where less than half of a
        window holds values.
    """

    name: str
    features: tuple[Feature, ...]
    description: str = ""
    partial_windows: bool = False

    @property
    def lookback(self) -> int:
        """Slots of history before the current one that the set needs."""
        return max((f.lookback for f in self.features), default=0)

    @cached_property
    def version(self) -> str:
        """Digest (16 hex digits) of graph, policy and kernels: equal versions give equal values on equal bars."""
        content = [f"kernels {rolling.KERNEL_VERSION}", f"partial {self.partial_windows}"]
        content += [f"{f.name} {f.expression.digest}" for f in self.features]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


def names() -> list[str]:
    """Names of the sets that come with aiquant."""
    return list(_SETS)


def get(name: str) -> FeatureSet:
    """The feature set of that name, or of a TOML file (a name that ends in ``.toml``).

    Raises
    ------
    UsageError
        When there is no such set or file, or a formula in it is wrong.
    """
    if name.endswith(".toml"):
        return _from_file(Path(name))
    if name not in _SETS:
        raise UsageError(
            f"no feature set is named {name!r}",
            nearest(name, list(_SETS), "sets") + ", or give the path of a TOML file",
        )
    return _built_in(name)


@lru_cache(maxsize=None)
def _built_in(name: str) -> FeatureSet:
    module = import_module(f"aiquant.features.sets.{name}")
    return FeatureSet(name, define(module.DEFINITIONS), module.DESCRIPTION, module.PARTIAL_WINDOWS)


def define(definitions: list[tuple[str, str, str, str]]) -> tuple[Feature, ...]:
    """Features from ``(name, formula, description, source)``.

    Raises
    ------
    UsageError
        When a formula is wrong, reads no field, or a name stands twice; names the feature.
    """
    features: dict[str, Feature] = {}
    for name, formula, description, source in definitions:
        if name in features:
            raise UsageError(f"the feature {name} is defined twice", "give one of them another name")
        if name in FEATURES.schema.names:
            raise UsageError(f"a feature cannot be named {name}", "that is a column of every table; choose another")
        try:
            feature = Feature(name, parse(formula), formula, description, source)
        except UsageError as error:
            raise UsageError(f"feature {name}: {error.problem}", error.remedy) from error
        if not feature.fields:
            raise UsageError(f"feature {name}: the formula {formula!r} reads no field of the bars")
        features[name] = feature
    return tuple(features.values())


def _from_file(path: Path) -> FeatureSet:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"feature set {path}: {error.strerror or error}", "give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"feature set {path} is not TOML: {error}", "see the docs on feature sets") from error
    entries = content.get("features")
    if not isinstance(entries, dict) or not entries:
        raise UsageError(f"feature set {path} has no features", 'write [features.NAME] with formula = "…"')
    definitions: list[tuple[str, str, str, str]] = []
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("formula"), str):
            raise UsageError(f"feature set {path}: the feature {name} has no formula", 'write formula = "…" below it')
        definitions.append((name, entry["formula"], str(entry.get("description", "")), str(entry.get("source", ""))))
    try:
        features = define(definitions)
    except UsageError as error:
        raise UsageError(f"feature set {path}: {error.problem}", error.remedy) from error
    return FeatureSet(
        path.stem, features, str(content.get("description", "")), bool(content.get("partial_windows", False))
    )
