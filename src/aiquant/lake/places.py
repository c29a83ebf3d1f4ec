"""Where a table lies: a folder, or a prefix in an object store; and the files that lie there.

A :class:`Place` is text, so that it can be shown and handed to the engine as it is, and knows besides how the store is
reached and which keys open sealed text.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiquant.lake.sealing import Vault

LOG = "_delta_log"


class Place(str):
    """Path or address of a table.

    Attributes
    ----------
    options
        What the object store needs (addresses, credentials), None for a folder. Never shown.
    vault
        Seals and opens protected text.
    """

    options: dict[str, str] | None
    vault: Vault

    def __new__(cls, text: str, options: Mapping[str, str] | None = None, vault: Vault | None = None) -> Place:
        """A place from its text."""
        made = super().__new__(cls, text)
        made.options = dict(options) if options is not None and is_remote(text) else None
        made.vault = vault or Vault()
        return made


@dataclass(frozen=True)
class File:
    """A file below a place: its path from there, its size in bytes, and when it was last written (UTC)."""

    path: str
    size: int
    modified: datetime


def is_remote(text: str) -> bool:
    """Whether a path is an address in an object store."""
    return "://" in text and not text.startswith("file://")


def options_of(place: str) -> dict[str, str] | None:
    """How the store of a place is reached."""
    return place.options if isinstance(place, Place) else None


def vault_of(place: str) -> Vault:
    """The keys that go with a place."""
    return place.vault if isinstance(place, Place) else Vault()


def join(root: str, name: str) -> str:
    """``name`` below ``root``."""
    return f"{root.rstrip('/')}/{name}" if is_remote(root) else os.path.join(root, name)


def folders(root: Place) -> list[str]:
    """Names of the folders in ``root`` whose Delta log holds something, sorted; none where ``root`` is not there."""
    if not is_remote(root):
        found = Path(root).iterdir() if os.path.isdir(root) else []
        return sorted(folder.name for folder in found if (folder / LOG).is_dir() and any((folder / LOG).iterdir()))
    from deltalake import DeltaTable

    names = {path.split("/")[0] for path in _top(root)}
    return sorted(n for n in names if DeltaTable.is_deltatable(join(root, n), storage_options=root.options))


def files(place: str) -> list[File]:
    """All files below ``place``, the log's included, in the order of their paths."""
    if is_remote(place):
        import pyarrow.fs as pafs

        told = pafs.PyFileSystem(_handler(place)).get_file_info(pafs.FileSelector("", recursive=True))
        found = [File(f.path, f.size, f.mtime) for f in told if f.type == pafs.FileType.File]
    else:
        found = list(_walk(place))
    return sorted(found, key=lambda file: file.path)


def read(place: str, path: str) -> bytes:
    """The bytes of a file."""
    if not is_remote(place):
        return Path(place, path).read_bytes()
    import pyarrow.fs as pafs

    with pafs.PyFileSystem(_handler(place)).open_input_file(path) as stream:
        return bytes(stream.read())


def write(place: str, path: str, content: bytes) -> None:
    """Put ``content`` in the place of a file; a reader sees the old or the new one."""
    if is_remote(place):
        stream = _handler(place)._handler.open_output_stream(path, None)
        stream.write(content)
        stream.close()
        return
    half = Path(place, path).with_name(f".{os.path.basename(path)}.{os.getpid()}.tmp")
    try:
        with half.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.replace(half, Path(place, path))
    finally:
        half.unlink(missing_ok=True)


def remove(place: str, path: str) -> None:
    """Delete a file; one that is gone already does no harm."""
    if is_remote(place):
        import pyarrow.fs as pafs

        pafs.PyFileSystem(_handler(place)).delete_file(path)
        return
    Path(place, path).unlink(missing_ok=True)


def _handler(place: str) -> Any:
    from deltalake.fs import DeltaStorageHandler

    return DeltaStorageHandler(str(place), options_of(place))


def _top(root: Place) -> list[str]:
    import pyarrow.fs as pafs

    told = pafs.PyFileSystem(_handler(root)).get_file_info(pafs.FileSelector("", recursive=False))
    return [info.path.strip("/") for info in told if info.type == pafs.FileType.Directory]


def _walk(place: str) -> list[File]:
    found = []
    for folder, _, names in os.walk(place):
        for name in names:
            whole = os.path.join(folder, name)
            try:
                state = os.stat(whole)
            except FileNotFoundError:  # a writer's own temporary file, gone by now
                continue
            path = os.path.relpath(whole, place).replace(os.sep, "/")
            found.append(File(path, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC)))
    return found
