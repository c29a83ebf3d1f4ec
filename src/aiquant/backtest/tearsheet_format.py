"""How a tearsheet writes numbers: a true minus sign, thousands separators, and a dash where there is nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from numbers import Real
from typing import Any

NOTHING = "–"


def number(value: Any, digits: int = 2) -> str:
    """``-1234.5`` → ``−1,234.50``; None, NaN and what is no number become a dash."""
    if not _is_number(value):
        return NOTHING
    shown = f"{value:,.{digits}f}"
    negative = shown.startswith("-") and any(c in "123456789" for c in shown)
    return f"−{shown[1:]}" if negative else shown.lstrip("-")


def percent(value: Any, digits: int = 1) -> str:
    """A fraction in percent: ``0.1234`` → ``12.3%``."""
    return f"{number(value * 100.0, digits)}%" if _is_number(value) else NOTHING


def times(value: Any, digits: int = 1) -> str:
    """A multiple: ``18.23`` → ``18.2×``."""
    return f"{number(value, digits)}×" if _is_number(value) else NOTHING


def count(value: Any) -> str:
    """A whole number with thousands separators."""
    return number(value, 0)


def seconds(value: Any) -> str:
    """Seconds: two digits below ten, one above."""
    return f"{number(value, 2 if abs(value) < 10 else 1)} s" if _is_number(value) else NOTHING


def plain(value: Any) -> str:
    """Any value of a manifest or of the conventions, as a person reads it."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)  # seeds and versions are names, not amounts
    if isinstance(value, float):
        return f"{value:.6g}".replace("-", "−") if math.isfinite(value) else NOTHING
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value) or NOTHING
    return str(value)


def amount(value: Any) -> str:
    """A number of unknown size (the gate's values and thresholds): digits enough to tell it from its threshold."""
    if isinstance(value, bool) or not _is_number(value):
        return plain(value)
    if float(value).is_integer():
        return number(value, 0)
    return number(value, 4 if abs(value) < 0.1 else 2)


def label(name: str) -> str:
    """The name of a field as a person reads it: ``rank_ic_t`` → ``Rank IC t``."""
    words = " ".join("IC" if word == "ic" else word for word in str(name).split("_"))
    return words[:1].upper() + words[1:]


def day(value: date) -> str:
    """ISO 8601."""
    return value.isoformat()


def moment(value: datetime) -> str:
    """To the minute, in UTC; a time without a zone is taken as UTC."""
    there = value.astimezone(UTC) if value.tzinfo else value
    return there.strftime("%Y-%m-%d %H:%M UTC")


def dotted(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """A nested mapping as one of dotted names."""
    flat: dict[str, object] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(dotted(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
