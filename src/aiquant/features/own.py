"""Operators of one's own: a function of the window, compiled by numba.

::

    from aiquant.features.own import operator

    @operator(smallest=3, meaning="share of slots that closed above the slot before")
    def UpShare(window):
        up = 0
        for k in range(1, window.size):
            if window[k] > window[k - 1]:
                up += 1
        return up / (window.size - 1)

A set of one's own names the file (``operators = "mine.py"``) and writes ``UpShare($close, 20)``; a package offers the
operator to all sets by an entry point of the group ``aiquant.operators``.

The function is given the window's slots and nothing else, oldest first, as a copy, so that it can neither look ahead
nor change what others read: float64, at most ``window`` long (shorter where the history begins), NaN where there is no
value. With ``series=2`` it is given two windows; further ``numbers`` follow. It returns a number; what is not finite is
no value. A digest of the file that it stands in is part of the version of every set that uses it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aiquant.errors import DataError, UsageError
from aiquant.features.expressions import Expression
from aiquant.features.operators import OPERATORS, Operator

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENTRY_POINTS = "aiquant.operators"
"""Group of entry points; each names an :class:`OwnOperator`."""

MOST_SERIES = 3


@dataclass(frozen=True)
class OwnOperator(Operator):
    """An operator of one's own; made by :func:`operator`."""

    function: Callable[..., float] | None = field(default=None, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled loop, which is made again where it is needed."""
        return {name: value for name, value in self.__dict__.items() if name != "drive"}

    @cached_property
    def drive(self) -> Any:
        """The function in a compiled loop over windows.

        Raises
        ------
        UsageError
            When numba cannot compile it, or it does not return a number.
        """
        from numba.core.errors import NumbaError

        from aiquant.features.kernels import windows

        try:
            return windows.driver(self.function, self.series, len(self.numbers) - 1)
        except NumbaError as error:
            lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()]
            told = next((line for line in lines if line and not line.startswith("Failed in")), "no reason given")
            raise UsageError(
                f"operator {self.name}: numba cannot compile it to a function of floats that returns a number: {told}",
                "use plain loops, numbers and numpy arrays, and return one number on every way",
            ) from error


def operator(
    *,
    name: str | None = None,
    series: int = 1,
    numbers: Sequence[str] = (),
    smallest: int = 1,
    meaning: str = "",
) -> Callable[[Callable[..., float]], OwnOperator]:
    """Decorator that makes an operator of a function.

    Parameters
    ----------
    name
        As written in an expression; default: the function's.
    series
        Number of expressions that it reads, 1 to 3: as many windows are given to the function.
    numbers
        Names of the numbers that follow the window.
    smallest
        The smallest window that makes sense; shorter ones are refused, and where the history is shorter there is no
        value.
    meaning
        One line for ``features show`` and readers.

    Raises
    ------
    UsageError
        When the name is taken or no name, or ``series`` is out of range.
    """

    def made(function: Callable[..., float]) -> OwnOperator:
        called = name or function.__name__
        if not called.isidentifier() or called in OPERATORS:
            problem = "comes with aiquant" if called in OPERATORS else "is not a name"
            raise UsageError(f"operator {called!r}: that {problem}", "give it another one: operator(name=…)")
        if not 1 <= series <= MOST_SERIES:
            raise UsageError(f"operator {called}: it takes 1 to {MOST_SERIES} series, not {series}")
        return OwnOperator(
            called, series, ("window", *numbers), "own", meaning, smallest, _digest(function), function=function
        )

    return made


def from_file(path: Path) -> dict[str, Operator]:
    """The operators that a Python file defines, by name. The file is run.

    Raises
    ------
    UsageError
        When it cannot be read or run, or defines none.
    """
    try:
        content = runpy.run_path(str(path))
    except OSError as error:
        raise UsageError(f"operators {path}: {error.strerror or error}", "give the path of a Python file") from error
    except UsageError as error:
        raise UsageError(f"operators {path}: {error.problem}", error.remedy) from error
    except Exception as error:  # whatever a file of the user's may raise
        raise UsageError(f"operators {path}: it cannot be run: {type(error).__name__}: {error}") from error
    found: dict[str, Operator] = {v.name: v for v in content.values() if isinstance(v, OwnOperator)}
    if not found:
        raise UsageError(f"operators {path}: it defines none", "put @aiquant.features.own.operator() above a function")
    return found


@lru_cache(maxsize=1)
def installed() -> dict[str, Operator]:
    """The operators that installed packages offer, by name.

    Raises
    ------
    UsageError
        When an entry point cannot be loaded, is no operator, or two have one name.
    """
    found: dict[str, Operator] = {}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            loaded = point.load()
        except Exception as error:
            raise UsageError(f"operator plug-in {point.name}: {type(error).__name__}: {error}") from error
        if not isinstance(loaded, OwnOperator):
            raise UsageError(f"operator plug-in {point.name}: {point.value} is no operator")
        if loaded.name in found:
            raise UsageError(f"two plug-ins offer the operator {loaded.name}", "uninstall one of them")
        found[loaded.name] = loaded
    return found


def compute(
    node: Expression,
    series: Sequence[NDArray[np.float64]],
    starts: NDArray[np.int64],
    skip: int,
    least: int,
    out: NDArray[np.float64],
) -> None:
    """Values of a node whose operator is one's own; parameters as for :func:`aiquant.features.rolling.compute`.

    Raises
    ------
    UsageError
        When the function cannot be compiled.
    DataError
        When it raises.
    """
    own = node.operator
    assert isinstance(own, OwnOperator)
    window, *more = node.numbers
    drive = own.drive
    try:
        drive(tuple(series), starts, skip, int(window), least, own.smallest, tuple(more), out)
    except Exception as error:  # whatever a function of the user's may raise
        raise DataError(
            f"operator {own.name} raised {type(error).__name__} on a window of {int(window)} slots: {error}",
            "let it return NaN where there is no value",
        ) from error


def _digest(function: Callable[..., float]) -> str:
    """Digest (16 hex digits) of the file in which the function stands, else of its own source."""
    name = inspect.getsourcefile(function)
    try:
        content = Path(name).read_bytes() if name else inspect.getsource(function).encode()
    except OSError as error:
        raise UsageError(
            f"operator {function.__name__}: its source cannot be read, so that no version can name it",
            "define it in a file",
        ) from error
    return hashlib.sha256(content).hexdigest()[:16]
