"""The commits of a Delta log, read as they lie: which version took which data file out of the table."""

from __future__ import annotations

import json
from collections.abc import Collection
from urllib.parse import unquote

from aiquant.lake import places
from aiquant.lake.places import LOG


def is_commit(path: str) -> bool:
    """Whether a file below a table is a commit: ``_delta_log/00000000000000000017.json``."""
    name = path.removeprefix(f"{LOG}/")
    return path.startswith(f"{LOG}/") and len(name) == 25 and name[:20].isdigit() and name.endswith(".json")


def removed_at(place: str) -> dict[str, int]:
    """The version that took each data file out of the table; those before it, since the file was added, need it."""
    found: dict[str, int] = {}
    for file in places.files(place):
        if not is_commit(file.path):
            continue
        version = int(file.path[-25:-5])
        for line in places.read(place, file.path).decode().splitlines():
            if line.startswith('{"remove"'):
                found[unquote(json.loads(line)["remove"]["path"])] = version
    return found


def oldest_readable(place: str, without: Collection[str] = ()) -> int:
    """The version from which on none needs a file that is gone, or is one of ``without``."""
    there = {file.path for file in places.files(place)}
    logged = [int(path.removeprefix(f"{LOG}/")[:20]) for path in there if path.startswith(f"{LOG}/0")]
    gone = [version for path, version in removed_at(place).items() if path not in there or path in without]
    return max([min(logged, default=0), *gone])
