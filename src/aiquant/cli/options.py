"""Options that all verbs share, and how a verb opens its workspace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.errors import MissingError, UsageError

if TYPE_CHECKING:
    from aiquant.jobs.workspace import Workspace

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        envvar="AIQUANT_WORKSPACE",
        help="The workspace; default: the one that the current folder lies in.",
        show_default=False,
        show_envvar=False,
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object on standard output; everything else goes to standard error."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Override a setting, e.g. --set learning.seed=3 (repeatable)."),
]
StrategyOption = Annotated[
    str | None,
    typer.Option("--strategy", metavar="NAME", help="Name of the strategy: see aiquant strategies list."),
]
ParamOption = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the strategy (repeatable)."),
]
RunArgument = Annotated[str | None, typer.Argument(metavar="RUN", help="Id of the run; default: the newest.")]


MOMENT = "DATE|TIME"
"""How help calls a moment: see :func:`moment`."""


def moment(text: str | None, flag: str, *, begin: bool = False) -> datetime | None:
    """A moment as it was written: ``2024-06-28``, ``2024-06-28T14:30``, ``2024-06-28T14:30:00Z`` or ``…+02:00``.

    A time without a zone is UTC. A date alone means the end of that day, with ``begin`` its beginning; of the present
    day no end is meant that has not come yet.

    Raises
    ------
    UsageError
        When it is no moment.
    """
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"{flag} {text}: not a date or a time",
            "write 2024-06-28, 2024-06-28T14:30 (UTC), 2024-06-28T14:30Z or 2024-06-28T14:30+02:00",
        ) from error
    read = read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
    if begin or len(text.strip()) > len("2024-06-28"):
        return read
    now = datetime.now(UTC)
    return now if read.date() == now.date() else read + timedelta(days=1) - timedelta(microseconds=1)


def words(text: str) -> list[str]:
    """``"A, B"`` → ``["A", "B"]``, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def overrides(told: list[str] | None) -> dict[str, str]:
    """``["learning.seed=3"]`` → ``{"learning.seed": "3"}``.

    Raises
    ------
    UsageError
        When there is no "=".
    """
    return _pairs(told, "--set", "learning.seed=3")


def params(told: list[str] | None) -> dict[str, str]:
    """``["fast=20"]`` → ``{"fast": "20"}``; see :func:`overrides`."""
    return _pairs(told, "--param", "fast=20")


def _pairs(told: list[str] | None, flag: str, example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in told or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{flag} {text}: not of the form NAME=VALUE", f"write for example: {flag} {example}")
        pairs[name.strip()] = value.strip()
    return pairs


def workspace(folder: Path | None, told: list[str] | None = None, **more: object) -> Workspace:
    """Open the workspace that a verb works in; ``more`` are settings that have a flag of their own (None: not told)."""
    from aiquant.jobs.workspace import open_

    return open_(folder, merged(told, **more))


def workspace_if_any(
    folder: Path | None, told: list[str] | None = None, *, needed: bool, **more: object
) -> Workspace | None:
    """As :func:`workspace`; None outside of one, where it is neither needed nor named."""
    try:
        return workspace(folder, told, **more)
    except MissingError:
        if needed or folder is not None:
            raise
        return None


def merged(told: list[str] | None, **more: object) -> dict[str, str]:
    """Overrides of ``--set`` and of flags: ``labels__horizon=5`` stands for the setting ``labels.horizon``."""
    flags = {name.replace("__", "."): str(value) for name, value in more.items() if value is not None}
    return {**overrides(told), **flags}
