"""The catalogue of feature sets: each feature with its formula, its look-back, what it means and where it is from.

A set is a module of :mod:`aiquant.features.sets` with a list of definitions, or a TOML file of one's own::

    description = "Two of mine"
    partial_windows = false
    operators = "mine.py"

    [parts]
    mean20 = "Mean($close, 20)"

    [features.gap20]
    formula = "$close / @mean20 - 1"
    description = "Close against its 20-day mean"

A formula may refer to a part or to another feature of its set by ``@name``; it stands for that formula in brackets.
``operators`` names a Python file with operators of one's own: see :mod:`aiquant.features.own`.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.errors import UsageError
from aiquant.features import planning, rolling
from aiquant.features.expressions import Expression, constant, walk
from aiquant.features.operators import Operator, nearest
from aiquant.features.own import from_file, installed
from aiquant.features.parsing import named_parts, parse
from aiquant.schemas import FEATURES

if TYPE_CHECKING:
    from aiquant.settings import Settings

_SETS = ("alpha101", "alpha158", "calendar", "core", "market", "news", "social")
_KEYS = ("description", "partial_windows", "operators", "parts", "features")


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
        """Sessions before the current one that it reads: the slots of daily bars."""
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
    parts
        Formulas that the features refer to by ``@name``.
    variant
        What, beside the definitions, makes its values others: an interval that is not a day, Qlib's edge cases.
    """

    name: str
    features: tuple[Feature, ...]
    description: str = ""
    partial_windows: bool = False
    parts: Mapping[str, str] = field(default_factory=dict, compare=False)
    variant: str = ""

    @property
    def lookback(self) -> int:
        """Sessions of history before the current one that the set needs, whatever the interval."""
        return max((f.lookback for f in self.features), default=0)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields that it reads, sorted."""
        return tuple(sorted({name for feature in self.features for name in feature.fields}))

    def slots(self, per_session: int) -> int:
        """Slots of history before the current one that the set needs, where a session has at most ``per_session``."""
        return max((f.expression.slots(per_session) for f in self.features), default=0)

    @cached_property
    def compares(self) -> bool:
        """Whether symbols are compared with one another, so that a bar of one can change the row of another."""
        return bool(planning.cross_levels(feature.expression for feature in self.features))

    @cached_property
    def version(self) -> str:
        """Digest (16 hex digits) of graph, policy, variant and kernels: equal versions, equal values on equal bars."""
        content = [f"kernels {rolling.KERNEL_VERSION}", f"partial {self.partial_windows}"]
        content += [f"variant {self.variant}"] if self.variant else []
        content += [f"{f.name} {f.expression.digest}" for f in self.features]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


def names() -> list[str]:
    """Names of the sets that come with aiquant."""
    return list(_SETS)


def get(name: str) -> FeatureSet:
    """The feature set of that name, or of a TOML file (its path; for ``mine`` also that of ``mine.toml``).

    Raises
    ------
    UsageError
        When there is no such set or file, or a formula in it is wrong.
    """
    if name.endswith(".toml"):
        return _from_file(Path(name))
    if name not in _SETS:
        if (file := Path(f"{name}.toml")).is_file():
            return _from_file(file)
        raise UsageError(
            f"no feature set is named {name!r}",
            f"give the path of a TOML file; {nearest(name, list(_SETS), 'sets')}",
        )
    return _built_in(name)


def of(settings: Settings, name: str | None = None) -> FeatureSet:
    """A set, by default the one that the settings name, as they have it computed: its version tells the variant."""
    told = ["qlib_compat"] if settings.features.qlib_compat else []
    told += [settings.data.interval] if settings.data.interval != "1d" else []
    return replace(get(name or settings.features.set), variant=" ".join(told))


@lru_cache(maxsize=None)
def _built_in(name: str) -> FeatureSet:
    module = import_module(f"aiquant.features.sets.{name}")
    parts: dict[str, str] = getattr(module, "PARTS", {})
    features = define(module.DEFINITIONS, parts)
    return FeatureSet(name, features, module.DESCRIPTION, module.PARTIAL_WINDOWS, parts)


def define(
    definitions: Sequence[tuple[str, str, str, str]],
    parts: Mapping[str, str] | None = None,
    own: Mapping[str, Operator] | None = None,
) -> tuple[Feature, ...]:
    """Features from ``(name, formula, description, source)``.

    Parameters
    ----------
    parts
        Formulas that are no features; ``@name`` in a formula stands for one of them, or for another feature.
    own
        Operators of one's own.

    Raises
    ------
    UsageError
        When a formula is wrong, reads no field, a name stands twice, or formulas refer to one another in a circle;
        names the feature.
    """
    parts = parts or {}
    formulas = {f"part {name}": text for name, text in parts.items()}
    for name, formula, _, _ in definitions:
        if not re.fullmatch(r"[^\W\d]\w*", name):
            told = re.sub(r"\W+", "_", name).strip("_")
            raise UsageError(
                f"a feature cannot be named {name!r}: names are letters, digits and underscores, a letter first",
                f"call it {told}" if re.fullmatch(r"[^\W\d]\w*", told) else "choose another",
            )
        if f"feature {name}" in formulas or name in parts:
            raise UsageError(f"the feature {name} is defined twice", "give one of them another name")
        if name in FEATURES.schema.names:
            raise UsageError(f"a feature cannot be named {name}", "that is a column of every table; choose another")
        formulas[f"feature {name}"] = formula
    expressions = _parsed(formulas, own or {})
    features = []
    for name, formula, description, source in definitions:
        feature = Feature(name, expressions[name], formula, description, source)
        if not feature.fields:
            raise UsageError(f"feature {name}: the formula {formula!r} reads no field of the bars")
        features.append(feature)
    return tuple(features)


def _parsed(formulas: Mapping[str, str], own: Mapping[str, Operator]) -> dict[str, Expression]:
    """The expression of each name, given ``{"feature name": formula}``; a formula is read after those it refers to."""
    whole = {title.split(" ", 1)[1]: title for title in formulas}
    expressions: dict[str, Expression] = {}
    for first in whole:
        way = [first]
        while way:
            name = way[-1]
            if name in expressions:
                way.pop()
                continue
            text = formulas[whole[name]]
            asked = named_parts(text)
            waiting = [n for n in asked if n in whole and n not in expressions]
            if not waiting:
                # An unknown name is looked for among all of the set's, not only among those that are read already.
                known = expressions if all(n in whole for n in asked) else dict.fromkeys(whole, constant(0.0))
                expressions[name] = _read(whole[name], text, known, own)
                way.pop()
            elif waiting[0] in way:
                circle = [*way[way.index(waiting[0]) :], waiting[0]]
                raise UsageError(
                    f"{whole[name]}: the definition goes in a circle: {' → '.join(f'@{n}' for n in circle)}",
                    "a formula cannot build on itself; write one of them without the others",
                )
            else:
                way.append(waiting[0])
    return expressions


def _read(title: str, text: str, known: Mapping[str, Expression], own: Mapping[str, Operator]) -> Expression:
    try:
        return parse(text, known, {**installed(), **own})
    except UsageError as error:
        raise UsageError(f"{title}: {error.problem}", error.remedy) from error


def _from_file(path: Path) -> FeatureSet:
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"feature set {path}: {error.strerror or error}", "give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"feature set {path} is not TOML: {error}", "see the docs on feature sets") from error
    try:
        return _from_content(path, content)
    except UsageError as error:
        raise UsageError(f"feature set {path}: {error.problem}", error.remedy) from error


def _from_content(path: Path, content: dict[str, Any]) -> FeatureSet:
    unknown = sorted(set(content) - set(_KEYS))
    if unknown:
        raise UsageError(f"{unknown[0]!r} has no meaning at its top", nearest(unknown[0], list(_KEYS), "keys"))
    entries = content.get("features")
    if not isinstance(entries, dict) or not entries:
        raise UsageError("it has no features", 'write [features.NAME] with formula = "…"')
    definitions: list[tuple[str, str, str, str]] = []
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("formula"), str):
            raise UsageError(f"the feature {name} has no formula", 'write formula = "…" below it')
        definitions.append((name, entry["formula"], str(entry.get("description", "")), str(entry.get("source", ""))))
    parts = content.get("parts", {})
    if not isinstance(parts, dict) or not all(isinstance(text, str) for text in parts.values()):
        raise UsageError("its parts are no formulas", 'write NAME = "…" below [parts]')
    told = content.get("operators")
    own = from_file(path.parent / str(told)) if told is not None else {}
    features = define(definitions, parts, own)
    partial = bool(content.get("partial_windows", False))
    return FeatureSet(path.stem, features, str(content.get("description", "")), partial, parts)
