"""The access log: who read personal columns, or erased an author, when, and why.

JSON lines, appended by one write each and flushed to the disk before the rows are handed out. Where a line cannot be
written, the read is refused.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from aiquant.errors import Unreachable


class AccessLog:
    """One file of lines.

    Parameters
    ----------
    path
        The file; it is made, for its owner alone, with the first line.
    why
        What the access is for; default: the verb that was called.
    """

    def __init__(self, path: Path, why: str | None = None) -> None:
        self.path = path
        self.why = why or verb()

    def record(self, action: str, table: str, columns: Sequence[str], rows: int | None, why: str | None = None) -> None:
        """Append a line.

        Parameters
        ----------
        action
            ``read``, ``decrypt``, ``erase`` or ``rotate-key``.
        rows
            How many; None where it cannot be told beforehand.

        Raises
        ------
        Unreachable
            When the line cannot be written.
        """
        told = {
            "time": datetime.now(UTC).isoformat(timespec="microseconds"),
            "who": who(),
            "action": action,
            "table": table,
            "columns": list(columns),
            "rows": rows,
            "why": why or self.why,
        }
        line = (json.dumps(told, ensure_ascii=False) + "\n").encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.write(handle, line) != len(line):
                    raise OSError(28, "the line was cut off")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise Unreachable(
                f"{self.path}: the access log cannot be written: {error.strerror}; personal columns are not read "
                "without it",
                "make room, or give this user the right to the file",
            ) from error


def who() -> str:
    """Name of the user of the operating system, its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def verb() -> str:
    """The command that runs, without its arguments: ``aiquant lake sql``."""
    words = []
    for word in sys.argv[1:3]:
        if not word.replace("-", "").isalpha() or word.startswith("-"):
            break
        words.append(word)
    return " ".join([os.path.basename(sys.argv[0]) or "python", *words])
