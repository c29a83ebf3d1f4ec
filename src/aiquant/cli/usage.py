"""Misuse of the command line, told as other errors are: what is wrong, what to do, exit code 2, JSON if asked for."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from aiquant.errors import UsageError

_MISUSE: Any = typer.BadParameter.__mro__[1]
"""What the parser raises: its own class of usage errors, which has no public name."""

_KINDS = (
    ("valid integer", "is not a whole number", "write a whole number, as 20"),
    ("valid number", "is not a number", "write a number, as 0.5"),
    ("does not match the format", "is not a date", "write a date, as 2024-06-28"),
)
"""What the parser says of a value it cannot read → what is wrong with it, and what to do."""


class Verbs(TyperGroup):
    """A group of verbs whose parser speaks like the rest of the program."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb that was asked for.

        Raises
        ------
        UsageError
            When its options or arguments are not what it takes.
        """
        try:
            return super().invoke(ctx)
        except _MISUSE as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # a group without a verb shows its help
                raise
            raise _plainly(error) from error


def _plainly(error: Any) -> UsageError:
    path = error.ctx.command_path if error.ctx is not None else "aiquant"
    told = error.format_message().strip().rstrip(".")
    for says, wrong, right in _KINDS:
        if says in told:
            name = told.partition("'")[2].partition("'")[0]  # Invalid value for '--trials': …
            return UsageError(f"{path}: the value of {name} {wrong}", f"{right}; more with: {path} --help")
    return UsageError(f"{path}: {told[:1].lower()}{told[1:]}", f"{path} --help")
