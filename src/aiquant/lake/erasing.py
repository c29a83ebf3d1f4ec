"""One author's posts are taken out of the lake for good: out of every version, every file and the log.

1. The rows are deleted, in a commit as any other: readers see them no more.
2. Every data file that held such a row is deleted, whichever version needs it: **those older versions end**.
3. The table's log is cleaned: Delta keeps the least and greatest value of each column of a file in it, and the
   condition of a deletion. These are taken out of the commits in place (a commit's file must stay: its name is what
   keeps two writers from making the same version), and older checkpoints are replaced by a new one.

The order makes it safe to stop at any moment and to call again: what is left over is found by looking at the files, not
by remembering. A file that is younger than an hour and belongs to no version may be part of a commit under way; it is
left and reported, and a later call deals with it. Backups, a bucket's own versions and Kafka's log are outside of this.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl
from deltalake import DeltaTable

from aiquant.errors import UsageError
from aiquant.lake import catalogue, commits, delta, faults, maintenance, places, rivals, sealing
from aiquant.lake.store import Lake
from aiquant.schemas import DEAD_LETTERS, TWEETS

_CHECKPOINT = ".checkpoint."
_MASK = "erased"
_TABLES = (TWEETS, DEAD_LETTERS)


@dataclass(frozen=True)
class Erased:
    """What was erased.

    Attributes
    ----------
    posts, letters
        Rows that were deleted from ``tweets`` and ``dead_letters`` now.
    files
        Data files that were deleted because they held such rows.
    pending
        Files that hold such rows and may belong to a commit under way: call again in an hour.
    oldest
        From this version on each table can be read, by its name.
    """

    pseudonyms: tuple[str, ...]
    posts: int
    letters: int
    files: int
    pending: int
    oldest: dict[str, int]


def erase(lake: Lake, pseudonyms: Iterable[str], why: str | None = None) -> Erased:
    """Erase all posts of an author, and dead letters that name the author.

    Parameters
    ----------
    pseudonyms
        Under which the author's posts are stored.
    why
        What the access log says it is for.

    Raises
    ------
    UsageError
        When there is no pseudonym.
    Sealed
        When dead letters are encrypted under a key that is not here: they have to be looked into.
    """
    authors = tuple(sorted(set(pseudonyms)))
    if not all(authors) or not authors:
        raise UsageError("to erase an author, name one")
    rows, files, pending, oldest = {}, 0, 0, {}
    for spec in _TABLES:
        name, place = spec.name, lake.place(spec)
        rows[name] = 0
        with faults.told(name, place):
            if lake.version(spec) is None:
                continue
            rows[name] = _delete(lake, name, authors)
            gone, left = _remove_files(lake, name, authors)
            _clean_log(lake, name)
            files, pending = files + gone, pending + left
            oldest[name] = commits.oldest_readable(place)
        lake.accessed("erase", name, sealing.personal(name), rows[name], why)
    return Erased(authors, rows[TWEETS.name], rows[DEAD_LETTERS.name], files, pending, oldest)


def _delete(lake: Lake, table: str, authors: tuple[str, ...]) -> int:
    """Take the rows out of the newest version; how many they were."""

    def tried() -> int:
        handle = lake.demand(table)
        key, values = _rows_of(delta.scan(handle), table, authors)
        if not values:
            return 0
        return delta.delete(handle, f"{delta.quoted(key)} IN ({', '.join(delta.literal(v) for v in values)})")

    return rivals.retried(lake.commit_retries, table, lake.place(table), tried)


def _rows_of(rows: pl.LazyFrame, table: str, authors: tuple[str, ...]) -> tuple[str, list[str]]:
    """By which column and values the rows of the authors are named."""
    key = "author" if table == TWEETS.name else "letter_id"
    found = rows.filter(_names(table, authors)).select(pl.col(key).unique().sort()).collect(engine="streaming")
    return key, found[key].to_list()


def _names(table: str, authors: tuple[str, ...]) -> pl.Expr:
    if table == TWEETS.name:
        return pl.col("author").is_in(list(authors))
    of_posts = pl.col("table") == TWEETS.name
    return of_posts & pl.col("payload").str.contains_any(list(authors))


def _remove_files(lake: Lake, table: str, authors: tuple[str, ...]) -> tuple[int, int]:
    """Delete data files outside of the newest version that hold rows of the authors; those that may be under way."""
    place, handle = lake.place(table), lake.demand(table)
    active, replaced = delta.active(handle), maintenance.tombstones(handle)
    now, gone, pending = datetime.now(UTC), 0, 0
    for file in places.files(place):
        if file.path in active or not file.path.endswith(".parquet") or file.path.startswith(places.LOG):
            continue
        under_way = file.path not in replaced and now - file.modified < maintenance.IN_FLIGHT
        if not _holds(place, file.path, table, lake, authors):
            continue
        if under_way:
            pending += 1
        else:
            places.remove(place, file.path)
            gone += 1
    return gone, pending


def _holds(place: str, path: str, table: str, lake: Lake, authors: tuple[str, ...]) -> bool:
    """Whether a file holds rows of the authors. One that was cut off cannot be read, and may hold them."""
    try:
        columns = ["author"] if table == TWEETS.name else ["table", "payload"]
        rows = pl.read_parquet(io.BytesIO(places.read(place, path)), columns=columns)
    except (OSError, pl.exceptions.ComputeError, pl.exceptions.ColumnNotFoundError):
        return True
    if "payload" in rows.columns:
        rows = rows.with_columns(lake.vault.open(rows["payload"], table, "payload").alias("payload"))
    return not rows.filter(_names(table, authors)).is_empty()


def _clean_log(lake: Lake, table: str) -> None:
    """Take values of personal columns, and conditions of deletions, out of the log."""
    place, handle = lake.place(table), lake.demand(table)
    delta.hide_statistics(handle, catalogue.resolve(table))
    for file in places.files(place):
        if not file.path.startswith(places.LOG):
            continue
        if file.path.endswith(".crc"):  # Spark's sums of what is about to change; it makes them anew
            places.remove(place, file.path)
        if file.path.endswith(".json"):
            before = places.read(place, file.path)
            after = _cleaned(before, sealing.personal(table))
            if after != before:
                places.write(place, file.path, after)
    _renew_checkpoints(place, lake.demand(table))


def _renew_checkpoints(place: str, handle: DeltaTable) -> None:
    """One new checkpoint in the place of older ones; the files that are left hold none of the erased rows."""
    old = [f.path for f in places.files(place) if f.path.startswith(places.LOG) and _CHECKPOINT in f.path]
    if not old:
        return
    handle.create_checkpoint()
    newest = f"{handle.version():020}{_CHECKPOINT}"
    for path in old:
        if newest not in path:
            places.remove(place, path)


def _cleaned(commit: bytes, columns: tuple[str, ...]) -> bytes:
    lines = commit.decode().splitlines()
    return ("\n".join(_cleaned_action(line, columns) for line in lines) + "\n").encode()


def _cleaned_action(line: str, columns: tuple[str, ...]) -> str:
    if not line.strip():
        return line
    action: dict[str, Any] = json.loads(line)
    changed = False
    if stats := action.get("add", {}).get("stats"):
        told = json.loads(stats)
        for bound in ("minValues", "maxValues"):
            for column in columns:
                changed |= told.get(bound, {}).pop(column, None) is not None
        action["add"]["stats"] = json.dumps(told)
    parameters = action.get("commitInfo", {}).get("operationParameters", {})
    if action.get("commitInfo", {}).get("operation") == "DELETE" and parameters.get("predicate", _MASK) != _MASK:
        parameters["predicate"], changed = _MASK, True
    return json.dumps(action) if changed else line
