"""What is installed, reachable and configured."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import aiquant
from aiquant.errors import AiquantError
from aiquant.jobs.manifest import LIBRARIES
from aiquant.jobs.workspace import Workspace

State = Literal["fine", "optional", "wrong"]

EXTRAS = {
    "png": ("kaleido", "figures as PNG files"),
    "feast": ("feast", "Feast's registry of features, and Redis as online store"),
}
"""Extra → its library, and what it is for."""

PROGRAMS = {"chromium": "looks at the report in the tests", "git": "names the commit in manifests"}

NEEDED_GIB = 2.0
"""Free disk below which a run may fail."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    state
        ``fine``; ``optional``: not there, and not needed; ``wrong``: needs attention.
    remedy
        What to do; empty when all is well.
    """

    what: str
    state: State
    found: str
    remedy: str = ""


def examine(workspace: Workspace | None) -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    found = [_python(), *_libraries(), *_extras(), *_programs(), _cache(), _disk(workspace)]
    return found + (_workspace(workspace) if workspace is not None else [_no_workspace()])


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < (3, 11):
        return Finding("python", "wrong", version, "use Python 3.11 or later")
    return Finding("python", "fine", f"{version}, aiquant {aiquant.__version__}, {os.cpu_count()} cores")


def _libraries() -> list[Finding]:
    found = []
    for name in LIBRARIES:
        version = _version(name)
        if name in ("xgboost", "xgboost-cpu"):
            continue
        remedy = "" if version else f"pip install {name}"
        found.append(Finding(name, "fine" if version else "wrong", version or "not installed", remedy))
    trees = [f"{name} {_version(name)}" for name in ("xgboost-cpu", "xgboost") if _version(name)]
    state: State = "fine" if len(trees) == 1 else "wrong"
    remedy = "" if len(trees) == 1 else "have exactly one of xgboost-cpu and xgboost installed"
    return [*found, Finding("xgboost", state, ", ".join(trees) or "not installed", remedy)]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _extras() -> list[Finding]:
    found = []
    for extra, (library, purpose) in EXTRAS.items():
        version = _version(library)
        remedy = "" if version else f"for {purpose}: pip install 'aiquant[{extra}]'"
        found.append(Finding(f"extra {extra}", "fine" if version else "optional", version or "not installed", remedy))
    return found


def _programs() -> list[Finding]:
    found = []
    for program, purpose in PROGRAMS.items():
        path = shutil.which(program)
        remedy = "" if path else f"install {program} if you want it: it {purpose}"
        found.append(Finding(program, "fine" if path else "optional", path or "not found", remedy))
    return found


def _cache() -> Finding:
    """Compiled kernels are kept beside the package, or where NUMBA_CACHE_DIR says."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR", Path(aiquant.__file__).parent))
    if os.access(folder, os.W_OK):
        return Finding("compiled kernels", "fine", f"kept under {folder}")
    return Finding(
        "compiled kernels",
        "optional",
        f"{folder} cannot be written",
        "set NUMBA_CACHE_DIR, or each start compiles anew",
    )


def _disk(workspace: Workspace | None) -> Finding:
    folder = workspace.root if workspace is not None else Path.cwd()
    free = shutil.disk_usage(folder).free / 2**30
    state: State = "fine" if free >= NEEDED_GIB else "wrong"
    return Finding("disk", state, f"{free:.1f} GiB free at {folder}", "" if state == "fine" else "make room")


def _no_workspace() -> Finding:
    return Finding("workspace", "optional", "not inside of one", "make one with: aiquant init DIR")


def _workspace(workspace: Workspace) -> list[Finding]:
    found = [Finding("workspace", "fine", str(workspace.root))]
    try:
        settings = workspace.settings
        found.append(Finding("settings", "fine", f"hash {settings.fingerprint()}"))
    except AiquantError as error:
        return [*found, Finding("settings", "wrong", error.problem, error.remedy)]
    try:
        tables = workspace.lake.tables()
        bars = next((t for t in tables if t.name == "bars"), None)
        text = f"{len(tables)} tables" + (f", {bars.rows:,} bars" if bars else "")
        found.append(
            Finding("lake", "fine" if bars else "optional", text, "" if bars else "take bars in: aiquant ingest bars")
        )
    except AiquantError as error:
        found.append(Finding("lake", "wrong", error.problem, error.remedy))
    return [*found, _online(workspace), _tracking(workspace)]


def _online(workspace: Workspace) -> Finding:
    from aiquant.features import online

    told = workspace.settings.online
    try:
        online.open_store(told, workspace.root).symbols(online.View("", "", ()))
    except AiquantError as error:
        return Finding("online store", "wrong", error.problem, error.remedy)
    return Finding("online store", "fine", f"redis at {told.address}" if told.store == "redis" else told.path)


def _tracking(workspace: Workspace) -> Finding:
    uri = workspace.settings.tracking.uri
    if uri is None or not uri.startswith("http"):
        return Finding("mlflow", "fine", uri or "mlflow.db in the workspace")
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=5) as reply:
            return Finding("mlflow", "fine", f"{uri} answers {reply.status}")
    except (URLError, OSError) as error:
        return Finding("mlflow", "wrong", f"{uri} does not answer: {error}", "start it, or unset tracking.uri")
