"""The file that ``aiquant new strategy NAME`` writes: a whole strategy to begin from."""

from __future__ import annotations

import keyword

from aiquant.errors import UsageError

TEXT = '''\
"""{title}: says here what it holds, when, and why that should pay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiquant.portfolio.strategies import Book, History


@dataclass(frozen=True)
class {kind}:
    """Hold the symbols whose close is above the mean of their last ``window`` closes, equally weighted.

    Parameters are the fields below: change them with --param window=50.
    """

    window: int = 50

    @property
    def lookback(self) -> int:
        """Closes that a decision depends on; `aiquant check recursive --strategy {name}` holds it against the truth."""
        return self.window

    def decide(self, history: History) -> Book:
        """The whole book from history.now on: a weight for each of history.symbols; None leaves it as it is."""
        closes = history.closes(self.window)  # rows are sessions, the newest last; columns are history.symbols
        if len(closes) < self.window:
            return None
        above = history.tradable & (closes[-1] > closes.mean(axis=0))
        return np.where(above, 1.0 / max(int(history.tradable.sum()), 1), 0.0)
'''


def render(name: str) -> str:
    """The file of a new strategy.

    Raises
    ------
    UsageError
        When the name is not made of lower-case letters, digits and single hyphens, or begins with none of the letters.
    """
    words = name.split("-")
    sound = all(word.isascii() and word.isalnum() and word.islower() | word.isdigit() for word in words)
    kind = "".join(word.capitalize() for word in words)
    if not sound or not name[:1].isalpha() or keyword.iskeyword(kind):
        raise UsageError(f"{name!r} is no name for a strategy", "take lower-case letters, digits and hyphens: my-idea")
    return TEXT.format(title=" ".join(words).capitalize(), kind=kind, name=name)
