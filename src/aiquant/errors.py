"""The errors of aiquant: one small tree, named by what the caller can do about them.

::

    AiquantError            exit 1  the base; never raised bare
    ├── CheckFailed         exit 1  a check ran and said no (a leak, a difference, a broken invariant)
    ├── UsageError          exit 2  the caller asked for something that cannot be
    │   ├── SettingsError   exit 2  a setting is wrong
    │   └── DataError       exit 2  a file, table or row is not what it has to be
    ├── MissingError        exit 3  something needed is not there
    │   ├── MissingExtra    exit 3  a library of an optional extra is not installed
    │   └── Unreachable     exit 3  a server or disk does not answer, or is full
    └── RefusedError        exit 4  policy says no (the promotion gate, a live order, a role)

Every error says what is wrong, where, and what to do; :func:`str` of it is what a person reads.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class AiquantError(Exception):
    """Base of all errors that a user may meet.

    Parameters
    ----------
    problem
        What is wrong and where (file, row, table or setting), in one sentence without a full stop.
    remedy
        What to do about it, in one sentence without a full stop; empty when there is nothing to do.
    """

    exit_code: int = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}" if self.remedy else self.problem


class CheckFailed(AiquantError):
    """A check ran to its end and the answer is no."""

    exit_code = 1


class UsageError(AiquantError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, of the wrong type, or out of range."""


class DataError(UsageError):
    """A file, a table or a row is not what it has to be."""


class MissingError(AiquantError):
    """Something that is needed is not there."""

    exit_code = 3


class MissingExtra(MissingError):
    """A library that belongs to an optional extra is not installed."""


class Unreachable(MissingError):
    """A server or a disk does not answer, or is full."""


class RefusedError(AiquantError):
    """Policy says no."""

    exit_code = 4


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``, or say in one line which extra to install.

    Raises
    ------
    MissingExtra
        When the module cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"this needs the library {module.split('.')[0]}, which is not installed",
            f"install it with: pip install 'aiquant[{extra}]'",
        ) from error
