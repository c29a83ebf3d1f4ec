"""Which strategies there are, and the file of a new one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiquant.errors import AiquantError, MissingError, UsageError
from aiquant.jobs.workspace import Workspace, open_, write_text


@dataclass(frozen=True)
class Line:
    """A strategy in a line; of one that cannot be loaded ``about`` says why."""

    name: str
    origin: str
    params: str
    about: str


def list_all(folder: Path | None) -> list[Line]:
    """All strategies, by name; one that is broken hides no other."""
    from aiquant.portfolio.strategies import loading

    root = _root(folder)
    lines = []
    for name in loading.names(root):
        try:
            found = loading.find(name, root)
        except AiquantError as error:
            lines.append(Line(name, "broken", "", error.problem))
            continue
        params = ", ".join(p.name if p.required else f"{p.name}={p.default}" for p in found.parameters)
        lines.append(Line(name, found.origin, params, found.about.splitlines()[0] if found.about else ""))
    return lines


def show(folder: Path | None, name: str) -> dict[str, Any]:
    """What a strategy says of itself, as plain data."""
    from aiquant.portfolio.strategies import loading

    found = loading.find(name, _root(folder))
    told = {key: getattr(found, key) for key in ("name", "origin", "place", "version", "about")}
    return {**told, "parameters": [asdict(p) for p in found.parameters]}


def begin(workspace: Workspace, name: str) -> Path:
    """Write the file of a new strategy.

    Raises
    ------
    UsageError
        When the name does not do, is taken, or the file is there.
    """
    from aiquant.portfolio.strategies import loading, template

    text = template.render(name)
    path = workspace.root / loading.FOLDER / f"{name}.py"
    if path.exists():
        raise UsageError(f"{path} is there already", "take another name, or remove it")
    if name in loading.names():
        raise UsageError(f"a strategy is named {name!r} already, which the file would hide", "take another name")
    write_text(path, text)
    return path


def _root(folder: Path | None) -> Path | None:
    """The workspace's folder; None outside of one."""
    try:
        return open_(folder).root
    except MissingError:
        if folder is not None:
            raise
        return None
