"""A workspace: the folder that holds the settings, the lake and the runs of one piece of research."""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiquant.errors import DataError, MissingError, Unreachable, UsageError
from aiquant.settings import FILE_NAME, Settings, load

if TYPE_CHECKING:
    from aiquant.lake import Lake

FORMAT = 1
"""Format of a workspace on disk; a workspace of another format is refused, never guessed at."""

VARIABLE = "AIQUANT_WORKSPACE"

TEMPLATE = """\
# Settings of this workspace. Whatever is not said here has its default: see all with `aiquant config show`.
# An environment variable wins over this file: AIQUANT_LEARNING__SEED=3. Secrets belong there or in a secrets folder.

name = "{name}"

[data]
calendar = "XNYS"          # exchange calendar: an ISO 10383 code, or 24/7
interval = "1d"

[labels]
horizon = 5                # bars that a position is held

[learning]
seed = 7

[backtest]
capital = 1000000.0
commission_bps = 5.0
slippage_bps = 5.0

[online]
project = "{project}"  # keeps the online values of workspaces apart that share a Redis
"""


@dataclass(frozen=True)
class Workspace:
    """An open workspace.

    Attributes
    ----------
    root
        Its folder.
    overrides
        Settings told on the command line; they win over the file and the environment.
    """

    root: Path
    overrides: dict[str, str] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """The settings that count here."""
        return load(self.root, self.overrides)

    @cached_property
    def lake(self) -> Lake:
        """The tables."""
        from aiquant.lake import opening

        return opening.open_lake(self.root, self.settings.lake, self.settings.privacy, self.state / "access.log")

    @property
    def runs(self) -> Path:
        """Folder with one folder for each run."""
        return self.root / "runs"

    @property
    def state(self) -> Path:
        """Folder of what aiquant remembers about the workspace."""
        return self.root / ".aiquant"

    def run_folder(self, run_id: str) -> Path:
        """Folder of a run that exists.

        Raises
        ------
        MissingError
            When there is no such run.
        """
        folder = self.runs / run_id
        if not (folder / "manifest.json").is_file():
            known = self.run_ids()
            remedy = f"the runs here are: {', '.join(known[-5:])}" if known else "make one with: aiquant run"
            raise MissingError(f"no run {run_id!r} in {self.root}", remedy)
        return folder

    def run_ids(self) -> list[str]:
        """All runs, the newest last."""
        found = self.runs.glob("*/manifest.json") if self.runs.is_dir() else []
        return [path.parent.name for path in sorted(found, key=lambda p: (p.stat().st_mtime_ns, p))]

    def latest_run(self) -> str:
        """The newest run.

        Raises
        ------
        MissingError
            When there is none yet.
        """
        known = self.run_ids()
        if not known:
            raise MissingError(f"there is no run in {self.root} yet", "make one with: aiquant run, or aiquant train")
        return known[-1]


def create(root: Path, name: str | None = None) -> Workspace:
    """Make a workspace, or open it when it is one already; nothing that is there is overwritten.

    Raises
    ------
    UsageError
        When the path is a file, or the workspace has another format.
    Unreachable
        When the folder cannot be written.
    """
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file", "name a folder for the workspace")
    marker = root / ".aiquant" / "workspace.json"
    if marker.exists():
        return open_(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = root / FILE_NAME
        if not file.exists():
            called = (name or root.resolve().name).replace('"', "")
            write_text(file, TEMPLATE.format(name=called, project=_project(called)))
        write_json(marker, {"format": FORMAT})
    except OSError as error:
        raise Unreachable(
            f"{root}: cannot make a workspace: {error.strerror}", "choose a folder you may write"
        ) from error
    return Workspace(root)


def _project(name: str) -> str:
    """A name that no other workspace has: two of one name may share a server."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40]
    begun = plain if plain[:1].isalpha() else f"ws_{plain}".rstrip("_")
    return f"{begun}_{secrets.token_hex(3)}"


def open_(root: Path | None = None, overrides: dict[str, str] | None = None) -> Workspace:
    """Open a workspace: ``root``, or the one that the current folder lies in.

    Raises
    ------
    MissingError
        When there is no workspace.
    UsageError
        When the workspace has another format.
    """
    folder = root if root is not None else _around(Path.cwd())
    if folder is None:
        raise MissingError(
            "this folder is not inside a workspace", "make one with: aiquant init DIR, or name one with --workspace DIR"
        )
    marker = folder / ".aiquant" / "workspace.json"
    if not marker.is_file():
        raise MissingError(f"{folder} is not a workspace", f"make it one with: aiquant init {folder}")
    told = read_json(marker)
    if told.get("format") != FORMAT:
        raise UsageError(
            f"{folder} is a workspace of format {told.get('format')!r}; this version of aiquant reads format {FORMAT}",
            "use the version of aiquant that made it, or make a new one with: aiquant init DIR",
        )
    return Workspace(folder, overrides or {})


def _around(folder: Path) -> Path | None:
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    return next((f for f in (folder, *folder.parents) if (f / ".aiquant" / "workspace.json").is_file()), None)


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it."""
    write_text(path, json.dumps(content, indent=2, default=str, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """As :func:`write_bytes`, for text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def read_bytes(path: Path) -> bytes | None:
    """What a file holds; None where there is no such file.

    Raises
    ------
    Unreachable
        When it is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreachable(f"{path}: cannot be read: {error.strerror}", "check who may read it") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never half of it.

    Raises
    ------
    Unreachable
        When the disk is full or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise Unreachable(
            f"{path}: cannot be written: {error.strerror}", "make room, or check who may write there"
        ) from error


class _Told(dict[str, Any]):
    """An object of a JSON file; asked for what it does not hold, it names the file."""

    place = ""

    def __missing__(self, name: str) -> Any:
        raise DataError(
            f"{self.place}: holds no {name!r}", "restore the file, or remove its folder and run the step again"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that aiquant wrote.

    Raises
    ------
    DataError
        When it is not what was written; also later, when a name is asked for that it does not hold.
    """

    def remember(pairs: dict[str, Any]) -> _Told:
        held = _Told(pairs)
        held.place = str(path)
        return held

    try:
        told = json.loads(path.read_text(encoding="utf-8"), object_hook=remember)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not readable: {error}", "restore the file, or remove it and run the step again"
        ) from error
    if not isinstance(told, dict):
        raise DataError(f"{path}: not a JSON object", "restore the file, or remove it and run the step again")
    return told


def read_optional(path: Path) -> dict[str, Any] | None:
    """As :func:`read_json`; None where there is no such file."""
    return read_json(path) if path.is_file() else None
