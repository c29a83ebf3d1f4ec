"""The kill switch of an account that trades, and the lock that lets one process at a time trade it."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from aiquant.errors import RefusedError, Unreachable, UsageError
from aiquant.jobs.workspace import Workspace, read_optional, write_json

EVERY = "all accounts"
"""What the switch without the name of an account stops."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,63}")


class Switch:
    """The kill switch: a file that is looked at before each order.

    Parameters
    ----------
    account
        Its name; None for the switch of all accounts of the workspace.

    Raises
    ------
    UsageError
        When the name cannot be a file's.
    """

    def __init__(self, workspace: Workspace, account: str | None) -> None:
        self.account = account
        self._folder = folder(workspace)
        if account is not None:
            demand_name(account)

    def reason(self) -> str | None:
        """Why no order may be given, by the account's own switch or that of all accounts; None when one may."""
        for file in (self._file(self.account), self._file(None)):
            if (told := read_optional(file)) is not None:
                return str(told["reason"])
        return None

    def stop(self, reason: str) -> None:
        """Let no order be given from now on. A switch that is on already keeps its reason."""
        if read_optional(self._file(self.account)) is None:
            write_json(self._file(self.account), {"reason": reason, "since": datetime.now(UTC).isoformat()})

    def resume(self) -> str | None:
        """Let orders be given again; the reason for which they were not, None when they were."""
        told = read_optional(self._file(self.account))
        try:
            self._file(self.account).unlink(missing_ok=True)
        except OSError as error:
            raise Unreachable(f"{self._file(self.account)}: cannot be removed: {error.strerror}") from error
        return None if told is None else str(told["reason"])

    def _file(self, account: str | None) -> Path:
        return self._folder / ("stop.json" if account is None else f"{account}.stop.json")


def folder(workspace: Workspace) -> Path:
    """Where switches and locks lie."""
    return workspace.state / "trade"


def demand_name(account: str) -> None:
    """Refuse a name that cannot be a file's.

    Raises
    ------
    UsageError
        With what a name may hold.
    """
    if not _NAME.fullmatch(account) or account == "stop":
        raise UsageError(f"--account {account}: no name of an account", "use letters, digits, - and _, 64 at most")


@contextmanager
def alone(workspace: Workspace, account: str) -> Iterator[None]:
    """Trade an account alone: the lock goes with the process, however it ends.

    Raises
    ------
    RefusedError
        When another process of this machine trades it.
    """
    demand_name(account)
    path = folder(workspace) / f"{account}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise Unreachable(f"{path}: cannot be written: {error.strerror}", "check who may write there") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RefusedError(
                f"another process trades the account {account!r} of this workspace",
                "stop that process, or name another account with --account",
            ) from error
        yield
