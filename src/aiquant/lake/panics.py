"""Engines that print when a disk refuses them, kept off standard error.

An engine whose write is refused panics in a thread of its own, which prints a backtrace, and returns the error besides,
which :mod:`aiquant.lake.faults` tells. There is no way to silence the first but at the file descriptor; so that is done
only where a write may well be refused.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from aiquant.lake.places import is_remote

_PANIC = re.compile(rb"\n?thread '[^']*'(?: \(\d+\))? panicked at .*?(?:\nnote: [^\n]*(?:\n|\Z)|\Z)", re.DOTALL)
_SPARE = 1 << 30
_HUSHING = threading.Lock()


@contextmanager
def hushed_when_tight(place: str, size: int) -> Iterator[None]:
    """Hold back panics where writing ``size`` bytes may be refused; whatever else is printed follows afterwards."""
    if is_remote(place) or not _is_tight(place, size) or not _HUSHING.acquire(blocking=False):
        yield
        return
    try:
        with _hushed():
            yield
    finally:
        _HUSHING.release()


@contextmanager
def _hushed() -> Iterator[None]:
    sys.stderr.flush()
    screen = os.dup(2)
    with _aside() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
            aside.seek(0)
            os.write(2, _PANIC.sub(b"", aside.read()))


def _aside() -> IO[Any]:
    """A file that needs no disk, where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


def _is_tight(place: str, size: int) -> bool:
    """Whether the disk, or the size that a file may have, may not suffice for ``size`` bytes and some more."""
    folder = next((p for p in [Path(place), *Path(place).parents] if p.is_dir()), None)
    if folder is None or shutil.disk_usage(folder).free < 4 * size + _SPARE:
        return True
    try:
        import resource
    except ImportError:  # not on Windows
        return False
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY
