"""The cache of compiled kernels: quick, and never older than the sources."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from aiquant.features.kernels import tables

KERNEL = """
from copied.tables import kernel, levels_for

@kernel("i8(i8)")
def levels(window):
    return levels_for(window)

print(levels(60), sum(levels.stats.cache_hits.values()))
"""


def test_a_kernel_is_compiled_again_when_a_function_that_it_calls_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "copied"
    package.mkdir()
    (package / "__init__.py").touch()
    source = Path(tables.__file__).read_text(encoding="utf-8")
    (package / "tables.py").write_text(source, encoding="utf-8")
    (package / "one.py").write_text(KERNEL, encoding="utf-8")

    def run() -> list[str]:
        told = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-m", "copied.one"], env=told, check=True, capture_output=True, text=True
        )
        return done.stdout.split()

    assert run() == ["6", "0"]
    assert run() == ["6", "1"]
    changed = source.replace("    return levels\n", "    return levels + 100\n")
    assert changed != source
    (package / "tables.py").write_text(changed, encoding="utf-8")
    assert run() == ["106", "0"]
