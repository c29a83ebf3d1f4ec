"""Watch one decision: does the strategy look at a clock, at chance, or at files and servers beside its history?

The interpreter's profiler tells of every call while a strategy decides. What compiled libraries do by themselves (a
random generator or a reader of files written in C or Rust, called without Python in between) it does not see.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

_CLOCKS = {"datetime.now", "datetime.utcnow", "date.today", "time", "time_ns", "localtime", "gmtime", "monotonic"}
_CHANCE = ("random", "secrets", "uuid")
_READERS = (
    "polars.io",
    "pandas.io",
    "pyarrow.parquet",
    "pyarrow.csv",
    "aiquant.lake",
    "deltalake",
    "duckdb",
    "sqlite3",
    "urllib",
    "http",
    "socket",
    "requests",
    "httpx",
)


def watched(ask: Callable[[], T], strategy: object) -> tuple[T, list[str]]:
    """What ``ask`` gives, and what the strategy looked at meanwhile: ``"a clock (line 12: datetime.now)"`` …"""
    file = inspect.getsourcefile(type(strategy))
    seen: dict[str, None] = {}

    def hear(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            found = _of_compiled(frame, called, file)
        else:
            found = _of_python(frame) if event == "call" else None
        if found is not None and not _imports(frame):
            line = _line(frame, file)
            seen[f"{found[0]} ({f'line {line}: ' if line else ''}{found[1]})"] = None

    before = sys.getprofile()
    sys.setprofile(hear)
    try:
        told = ask()
    finally:
        sys.setprofile(before)
    return told, list(seen)


def _of_compiled(frame: FrameType, called: Any, file: str | None) -> tuple[str, str] | None:
    name = str(getattr(called, "__qualname__", ""))
    if name in ("open", "open_code"):
        return "a file", "open"
    if frame.f_code.co_filename != file:  # libraries may measure themselves
        return None
    module = str(getattr(called, "__module__", None) or type(getattr(called, "__self__", None)).__module__)
    if name in _CLOCKS and (module in ("time", "datetime", "builtins", "type") or "." in name):
        return "a clock", name
    if module in _CHANCE or name.startswith("Random.") or name == "urandom":
        return "chance", name
    return None


def _of_python(frame: FrameType) -> tuple[str, str] | None:
    module = str(frame.f_globals.get("__name__", ""))
    if module in _CHANCE:
        return "chance", f"{module}.{frame.f_code.co_name}"
    if any(module == reader or module.startswith(f"{reader}.") for reader in _READERS):
        return "a file or a server", f"{module}.{frame.f_code.co_name}"
    return None


def _imports(frame: FrameType | None) -> bool:
    """Whether this happens because a module is imported for the first time, or a source line is looked up."""
    while frame is not None:
        if frame.f_globals.get("__name__") in ("importlib._bootstrap", "importlib._bootstrap_external", "linecache"):
            return True
        frame = frame.f_back
    return False


def _line(frame: FrameType | None, file: str | None) -> int | None:
    while frame is not None and frame.f_code.co_filename != file:
        frame = frame.f_back
    return None if frame is None else frame.f_lineno
