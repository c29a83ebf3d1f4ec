"""How far a source has come: what lets a killed run go on where it stood.

A source tells with each batch the position that is reached *once the batch is stored*; only whoever stored it moves the
checkpoint. Killed between the two, the next run brings that batch once more, and the lake finds it unchanged.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from aiquant.errors import DataError

DONE = "done"
"""Cursor of a walk that came to its end."""


@dataclass(frozen=True)
class Position:
    """A walk (``bars/AAPL/1d/2024-01-01/2024-12-31``) and how far it has come: the vendor's page token, or ``done``."""

    walk: str
    cursor: str


class Checkpoint:
    """The cursors of all walks; kept in a file when one is given, otherwise in memory only.

    The file is replaced as a whole and synced, so that a kill leaves the old or the new one.

    Raises
    ------
    DataError
        When the file exists and is not a checkpoint.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._cursors: dict[str, str] = {}
        if path is not None and path.is_file():
            self._cursors = _read(path)

    def cursor(self, walk: str) -> str | None:
        """Where the walk stands, None when it has not begun."""
        with self._lock:
            return self._cursors.get(walk)

    def advance(self, position: Position | None) -> None:
        """Remember a position; None is ignored, so that a batch without one needs no question."""
        if position is None:
            return
        with self._lock:
            self._cursors[position.walk] = position.cursor
            self._save()

    def forget(self, walk: str) -> None:
        """Begin the walk anew next time."""
        with self._lock:
            if self._cursors.pop(walk, None) is not None:
                self._save()

    def _save(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        with open(beside, "w", encoding="utf-8") as stream:
            json.dump(self._cursors, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(beside, self.path)


def _read(path: Path) -> dict[str, str]:
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a checkpoint: {error}", "remove the file to begin from the start") from error
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        raise DataError(f"{path}: not a checkpoint", "remove the file to begin from the start")
    return told
