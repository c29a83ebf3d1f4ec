"""Upkeep of the lake: what its verbs do to the tables of a workspace."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from aiquant.errors import DataError, UsageError
from aiquant.jobs.journal import Journal
from aiquant.jobs.workspace import Workspace, read_json

if TYPE_CHECKING:
    from aiquant.calendars import Sessions
    from aiquant.lake.erasing import Erased
    from aiquant.lake.maintenance import Compacted, Vacuumed
    from aiquant.lake.rotation import Rotated
    from aiquant.lake.verification import Finding

_PSEUDONYM = re.compile(r"u_[0-9a-f]{20}")


def versions_of_runs(workspace: Workspace) -> dict[str, dict[int, list[str]]]:
    """Versions that manifests of runs name: by table and version the ids of the runs.

    Raises
    ------
    DataError
        When a manifest cannot be read: what it names is not known, so that nothing may be deleted.
    """
    named: dict[str, dict[int, list[str]]] = {}
    for run_id in workspace.run_ids():
        file = workspace.runs / run_id / "manifest.json"
        data = read_json(file).get("data")
        if not isinstance(data, dict):
            raise DataError(f"{file}: names no data", "restore the file, or remove the folder of the run")
        for table, told in data.items():
            if isinstance(told, dict) and isinstance(told.get("version"), int):
                named.setdefault(table, {}).setdefault(told["version"], []).append(run_id)
    return named


def compact(workspace: Workspace, journal: Journal, tables: Sequence[str] = ()) -> list[Compacted]:
    """Put small files together, in all tables or those named."""
    from aiquant.lake import maintenance

    done = []
    for table in tables or workspace.lake.names():
        with journal.station(f"compact {table}") as station:
            done.append(maintenance.compact(workspace.lake, table))
            station.note = f"{done[-1].files_before:,} files → {done[-1].files_after:,}"
    return done


def vacuum(
    workspace: Workspace,
    journal: Journal,
    tables: Sequence[str] = (),
    keep_days: float | None = None,
    delete: bool = False,
    force: bool = False,
) -> list[Vacuumed]:
    """Delete files that only older versions need; versions that runs were made from stay, unless ``force``.

    Parameters
    ----------
    keep_days
        Days that a replaced file is kept; default: the setting ``lake.keep_days``.
    delete
        Otherwise it is told what would be deleted.
    """
    from aiquant.lake import maintenance

    days = workspace.settings.lake.keep_days if keep_days is None else keep_days
    named = {} if force else versions_of_runs(workspace)
    done = []
    for table in tables or workspace.lake.names():
        with journal.station(f"vacuum {table}") as station:
            found = maintenance.vacuum(workspace.lake, table, days, named.get(table, {}), delete, force)
            station.note = f"{len(found.paths):,} files, {found.bytes / 2**20:,.1f} MiB"
            done.append(found)
    return done


def verify(workspace: Workspace, journal: Journal, tables: Sequence[str] = ()) -> list[Finding]:
    """Check all tables, or those named; see :mod:`aiquant.lake.verification` for what is looked at."""
    from aiquant import calendars
    from aiquant.lake import verification

    def sessions(first: date, last: date) -> Sessions:
        return calendars.sessions(workspace.settings.data.calendar, first, last)

    found: list[Finding] = []
    for table in tables or workspace.lake.names():
        with journal.station(f"verify {table}") as station:
            told = journal.progress(station.name)
            seen = 0

            def progress(rows: int) -> None:
                nonlocal seen
                seen = rows
                told(rows, None)

            found.extend(verification.verify(workspace.lake, table, sessions, progress))
            station.rows = seen or None
    return found


def rotate_key(
    workspace: Workspace, journal: Journal, tables: Sequence[str] = (), why: str | None = None
) -> list[Rotated]:
    """Encrypt protected text anew under the active key, in all tables that have such or those named.

    Raises
    ------
    UsageError
        When a table that is named has no protected text.
    """
    from aiquant.lake import rotation, sealing

    for table in tables:
        if not sealing.protected(table):
            raise UsageError(
                f"table {table} has no text that is encrypted", f"tables that have: {', '.join(sealing.PROTECTED)}"
            )
    done = []
    for table in tables or [name for name in workspace.lake.names() if sealing.protected(name)]:
        with journal.station(f"rotate key of {table}") as station:
            done.append(rotation.rotate(workspace.lake, table, why))
            station.rows = done[-1].rows
    return done


def erase(
    workspace: Workspace,
    journal: Journal,
    author: str | None = None,
    pseudonym: str | None = None,
    why: str | None = None,
) -> Erased:
    """Erase one author's posts from every version; see :mod:`aiquant.lake.erasing`.

    Parameters
    ----------
    author
        The author's numeric id with the vendor, under which posts are stored, or the user's name.
    pseudonym
        What stands in ``tweets.author``, where the id is not known.

    Raises
    ------
    UsageError
        When not just one of both is given, or the pseudonym is none.
    SettingsError
        When the key of the pseudonyms is missing.
    """
    from aiquant.lake import erasing

    if (author is None) == (pseudonym is None):
        raise UsageError("name the author by --author or by --pseudonym", "give one of the two")
    if pseudonym is not None and not _PSEUDONYM.fullmatch(pseudonym):
        raise UsageError(f"{pseudonym!r} is no pseudonym", "it begins with u_ and has 20 hexadecimal digits")
    names = [pseudonym] if pseudonym is not None else _pseudonyms(workspace, author or "")
    with journal.station("erase an author") as station:
        done = erasing.erase(workspace.lake, names, why)
        station.rows = done.posts + done.letters
    if not done.posts and author is not None and not author.strip().isdigit():
        journal.note(
            f"no post is stored under the name {author}: posts carry the author's numeric id with the vendor; look it "
            "up and give that"
        )
    return done


def _pseudonyms(workspace: Workspace, author: str) -> list[str]:
    """Pseudonyms of an id or a user's name: posts carry the id's, mentions the name's."""
    from aiquant.sources.pseudonyms import Pseudonyms

    known = Pseudonyms(workspace.settings.x.pseudonym_key)
    name = author.strip().removeprefix("@")
    if not name:
        raise UsageError("the author's name is empty", "give the numeric id, or the user's name")
    return [known.author(name)] if name.isdigit() else [known.name(name)]
