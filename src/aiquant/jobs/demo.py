"""The whole way on the real prices that the library skfolio ships: no key, no network, no server."""

from __future__ import annotations

from pathlib import Path

from aiquant.jobs import run as run_job
from aiquant.jobs.journal import Journal
from aiquant.jobs.run import Ran
from aiquant.jobs.workspace import create

ABOUT = (
    "20 large stocks of the S&P 500, 1990 to 2022, daily closes adjusted for splits and dividends, as shipped with the "
    "library skfolio. Only survivors: symbols that vanished are not in it, so every long book looks better than life."
)


def demo(folder: Path, journal: Journal, overrides: dict[str, str] | None = None) -> Ran:
    """Make a workspace in ``folder`` (or go on with it), take the sample in, and run everything."""
    from dataclasses import replace

    workspace = replace(create(folder, "demo"), overrides=overrides or {})
    return run_job.run(workspace, journal, source="sample")
