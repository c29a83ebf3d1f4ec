"""Which files a path means, and how each is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from aiquant.errors import DataError, MissingError
from aiquant.sources import columnar, delimited, lines
from aiquant.sources.delimited import Chunk

READABLE = "CSV (also .gz, .bz2, .zst), JSON lines, Parquet, Arrow and Feather"


class Opened(Protocol):
    """A file whose header was read."""

    @property
    def header(self) -> list[str]:
        """The names of its columns as they stand there."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed about the file."""
        ...

    def chunks(self, wanted: Mapping[str, int]) -> Iterator[Chunk]:
        """The columns ``wanted`` (our name → position in the header), a bounded number of rows at a time."""
        ...


def files_of(path: Path) -> list[tuple[Path, str]]:
    """The files of a path and how each is called in messages: its name, or its path inside of the folder.

    Raises
    ------
    MissingError
        When there is nothing at the path, or it may not be read.
    DataError
        When a folder holds no file that can be read.
    """
    try:
        if path.is_dir():
            inside = [(file, str(file.relative_to(path))) for file in sorted(path.rglob("*")) if file.is_file()]
            files = [(f, name) for f, name in inside if _kind(f) and not any(p[0] in "._" for p in Path(name).parts)]
            if not files:
                raise DataError(f"folder {path} holds no file that can be read", f"put {READABLE} files there")
            return files
        if not path.exists():
            raise MissingError(f"there is no file or folder {path}", "check the path")
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    if not _kind(path):
        raise DataError(f"{path.name} has no suffix that says what it is", f"readable are {READABLE} files")
    return [(path, path.name)]


def open_file(path: Path, place: str) -> Opened:
    """Open one file by its suffix and read its header.

    Raises
    ------
    DataError
        When it is not what its suffix says, or is empty.
    MissingError
        When it may not be read.
    """
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise MissingError(f"{place} cannot be read: {error.strerror}", "check its permissions") from error
    if path.stat().st_size == 0:
        raise DataError(f"{place} is empty", "give a file with rows")
    kinds: dict[str | None, type[Opened]] = {"text": delimited.Delimited, "lines": lines.Lines}
    return kinds.get(_kind(path), columnar.Columnar)(path, place)  # type: ignore[call-arg]


def _kind(path: Path) -> str | None:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in (*columnar.PARQUET, *columnar.ARROW):
        return "columns"
    if suffixes and suffixes[-1] in lines.SUFFIXES:
        return "lines"
    if suffixes and suffixes[-1] in delimited.COMPRESSED:
        suffixes = suffixes[:-1]
    return "text" if suffixes and suffixes[-1] in delimited.SUFFIXES else None
