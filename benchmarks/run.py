"""All benchmarks, one after the other: ``make bench``. Each compares equal results first and exits 1 if they differ.

Their own options are listed by ``python benchmarks/<name>.py --help``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Run every module of this folder but this one; the exit code is the number of those that failed."""
    names = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("__init__", "run"))
    failed = []
    for name in names:
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")], cwd=HERE.parent).returncode:
            failed.append(name)
    print(
        f"{len(names) - len(failed)} of {len(names)} benchmarks went through"
        + (f"; failed: {failed}" if failed else "")
    )
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
