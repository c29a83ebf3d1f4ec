"""What can go wrong with a table on disk, told in our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
import pyarrow as pa
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError

from aiquant.errors import AiquantError, DataError, Unreachable
from aiquant.lake.places import is_remote

_DISK: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("No space left on device", "StorageFull", "os error 28", "Disk quota exceeded", "os error 122"),
        "the disk is full",
        "make room and run it again: nothing half-written is visible",
    ),
    (
        ("File too large", "os error 27"),
        "a file would grow beyond the size that this process may write",
        "raise the limit (ulimit -f) and run it again: nothing half-written is visible",
    ),
    (
        ("Read-only file system", "os error 30", "Permission denied", "PermissionDenied", "os error 13"),
        "the folder may not be written to or read",
        "give this user the right to the folder, or set lake.root to another one",
    ),
    (
        ("Not a directory", "NotADirectory", "os error 20", "Could not create local directory"),
        "no folder can be made there",
        "remove the file that stands in its way, or set lake.root to another folder",
    ),
    (
        ("Too many open files", "os error 24"),
        "too many files are open",
        "raise the limit of open files (ulimit -n)",
    ),
    (
        ("Input/output error", "os error 5"),
        "the disk reports an error",
        "check the disk",
    ),
)


_ENGINE = "This error occurred in the following"
"""Where Polars appends its own words to an error that was raised while it read."""

_STORE: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403 Forbidden", "401 Unauth"),
        "the object store refuses these credentials",
        "set lake.s3_access_key and lake.s3_secret_key (environment or secrets folder), or the AWS variables",
    ),
    (
        ("NoSuchBucket", "InvalidBucketName"),
        "there is no such bucket",
        "make it, or correct lake.root",
    ),
    (
        ("error sending request", "Error performing", "CredentialNotLoaded", "enough credentials", "dns error"),
        "the object store does not answer, or no credentials were found for it",
        "check lake.s3_endpoint, the network and the credentials",
    ),
)


def first_line(error: BaseException) -> str:
    """The message of an error without the trace that some engines append."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def explain(error: BaseException, name: str, place: str) -> AiquantError:
    """The error of ours for an engine's ``error`` at the table ``name`` in ``place``."""
    text = _whole_text(error)
    where = f"table {name} at {place}" if name else f"the lake at {place.rstrip('/')}"
    for marks, problem, remedy in _STORE if is_remote(place) else _DISK:
        if any(mark in text for mark in marks):
            return Unreachable(f"{where}: {problem}", remedy)
    if isinstance(error, SchemaMismatchError):
        return DataError(f"table {name} at {place} has other columns than the rows: {first_line(error)}")
    if isinstance(error, FileNotFoundError) or "os error 2)" in text or "No such file" in text:
        return DataError(
            f"table {name} at {place} lacks a data file that its log names: {first_line(error)}",
            "restore the file, or remove the table's folder and write it anew",
        )
    return DataError(
        f"table {name} at {place} cannot be used: {first_line(error)}",
        "restore its folder from a copy, or remove it and write the table anew",
    )


def _whole_text(error: BaseException) -> str:
    texts = []
    seen: BaseException | None = error
    while seen is not None:
        texts.append(str(seen))
        seen = seen.__cause__
    return "\n".join(texts)


def is_conflict(error: BaseException) -> bool:
    """Whether a rival's commit came first, so that reading again and trying again helps."""
    return isinstance(error, CommitFailedError) and not any(
        mark in _whole_text(error) for marks, _, _ in _DISK for mark in marks
    )


@contextmanager
def told(name: str, place: str) -> Iterator[None]:
    """Turn engines' errors inside the block into ours; a rival's commit passes as it is (:func:`is_conflict`)."""
    try:
        yield
    except AiquantError as error:
        if _ENGINE not in error.problem:
            raise
        raise type(error)(error.problem.split(_ENGINE)[0].strip()) from None
    except (DeltaError, OSError, pa.ArrowException, pl.exceptions.ComputeError, pl.exceptions.PanicException) as error:
        if is_conflict(error):
            raise
        raise explain(error, name, place) from error
