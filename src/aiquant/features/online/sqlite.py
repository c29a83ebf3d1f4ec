"""The online store in a file of SQLite: for one machine, any number of processes."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiquant.errors import DataError, Unreachable
from aiquant.features.online.packing import Packed, View
from aiquant.features.online.store import OnlineStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS aiquant_features (
    project TEXT NOT NULL, view TEXT NOT NULL, version TEXT NOT NULL, symbol TEXT NOT NULL,
    event_time INTEGER NOT NULL, known_from INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (project, view, version, symbol))
"""
# Equal times mean the same version of a row; written anew with another content it is a repair.
_UPSERT = """
INSERT INTO aiquant_features VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (project, view, version, symbol) DO UPDATE
SET event_time = excluded.event_time, known_from = excluded.known_from, value = excluded.value
WHERE (excluded.event_time, excluded.known_from) > (event_time, known_from)
   OR ((excluded.event_time, excluded.known_from) = (event_time, known_from) AND excluded.value <> value)
"""
_OF_VIEW = "FROM aiquant_features WHERE project = ? AND view = ? AND version = ?"
_NOT_A_STORE = ("file is not a database", "malformed", "file is encrypted", "no such column", "no such table")


class SqliteStore(OnlineStore):
    """A file with a row for each symbol of a view.

    Parameters
    ----------
    path
        The file; it is made with the first write.
    project
        Keeps the views of several workspaces in one file apart.
    timeout
        Seconds that a rival's write is waited for.
    """

    def __init__(self, path: Path, project: str = "aiquant", timeout: float = 5.0) -> None:
        self.path, self.project, self.timeout = path, project, timeout
        self._local = threading.local()

    def put(self, view: View, packed: Packed) -> int:
        key = (self.project, view.name, view.version)
        stamped = zip(packed.symbols, packed.event_times.tolist(), packed.known_from.tolist(), packed.values)
        with self._told(), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                before = connection.total_changes
                connection.executemany(_UPSERT, [(*key, *row) for row in stamped])
                changed = connection.total_changes - before
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        return changed

    def take(self, view: View, symbols: Sequence[str]) -> list[bytes | None]:
        if not self.path.exists():
            return [None] * len(symbols)
        with self._told(), self._connection() as connection:
            query = f"SELECT symbol, value {_OF_VIEW} AND symbol IN (SELECT value FROM json_each(?))"
            wanted = json.dumps(list(symbols))
            found = dict(connection.execute(query, (self.project, view.name, view.version, wanted)).fetchall())
        return [found.get(symbol) for symbol in symbols]

    def symbols(self, view: View) -> list[str]:
        if not self.path.exists():
            return []
        with self._told(), self._connection() as connection:
            query = f"SELECT symbol {_OF_VIEW} ORDER BY symbol"
            return [row[0] for row in connection.execute(query, (self.project, view.name, view.version))]

    def versions(self, name: str) -> list[str]:
        if not self.path.exists():
            return []
        with self._told(), self._connection() as connection:
            query = "SELECT DISTINCT version FROM aiquant_features WHERE project = ? AND view = ? ORDER BY version"
            return [row[0] for row in connection.execute(query, (self.project, name))]

    def drop(self, view: View) -> None:
        if self.path.exists():
            with self._told(), self._connection() as connection:
                connection.execute(f"DELETE {_OF_VIEW}", (self.project, view.name, view.version))

    def close(self) -> None:
        """Close the connection of this thread."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """This thread's and process's own connection: SQLite's must not cross a fork."""
        if getattr(self._local, "process", None) != os.getpid():
            self._local.connection, self._local.process = None, os.getpid()
        if self._local.connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = WAL")  # readers do not wait for a writer
                connection.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may cost the last writes
                connection.execute(_SCHEMA)
            except BaseException:
                connection.close()
                raise
            self._local.connection = connection
        yield self._local.connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            text = str(error)
            if self.path.is_dir():
                raise DataError(
                    f"{self.path}: the online store is to be a file, and a folder is there",
                    "remove the folder, or set online.path to another place",
                ) from error
            if any(sign in text for sign in _NOT_A_STORE):
                raise DataError(
                    f"{self.path}: not an online store of aiquant: {text}",
                    "move it elsewhere, and fill a new one with: aiquant features materialize",
                ) from error
            raise Unreachable(
                f"{self.path}: the online store does not answer: {text}",
                "make room, check who may write there, or wait until other writers are done",
            ) from error
