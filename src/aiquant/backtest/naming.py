"""Long lists of names, as an error or a note shows them."""

from __future__ import annotations

SHOWN = 5


def some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
