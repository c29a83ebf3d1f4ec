"""``tuned.toml``: the parameters that a tuning found, as settings that count where ``aiquant.toml`` is silent."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.errors import DataError
from aiquant.jobs.workspace import Workspace, write_text
from aiquant.settings import FILE_NAME, TUNED_NAME, resolve

if TYPE_CHECKING:
    from aiquant.learning.tuning import Outcome

NOTICE = f"# Written by `aiquant tune --apply`. What {FILE_NAME} or the environment says wins. To undo it, remove it.\n"


def write(workspace: Workspace, model: str, study: str, best: Outcome) -> Path:
    """Put the parameters of a trial into the section of its forecaster; other sections stay.

    Raises
    ------
    DataError
        When the file that is there was changed by hand into something that is no TOML.
    """
    file = workspace.root / TUNED_NAME
    told = _read(file) | {model: dict(best.params)}
    lines = [NOTICE]
    for section, values in sorted(told.items()):
        note = f"  # trial {best.place} of study {study}, rank IC {best.objective:+.4f}" if section == model else ""
        lines.append(f"[{section}]{note}")
        lines += [f"{name} = {value!r}" for name, value in values.items()]
        lines.append("")
    write_text(file, "\n".join(lines))
    return file


def outvoted(workspace: Workspace, model: str, best: Outcome) -> list[str]:
    """The parameters of a trial that another place of the settings decides, as ``section.name (place)``."""
    _, origins = resolve(workspace.root, workspace.overrides)
    told = {f"{model}.{name}": origins[f"{model}.{name}"] for name in best.params}
    return [f"{name} ({origin})" for name, origin in told.items() if origin != TUNED_NAME]


def _read(file: Path) -> dict[str, dict[str, Any]]:
    if not file.is_file():
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read: {error}", "remove it, and apply again") from error
