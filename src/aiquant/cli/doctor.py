"""``aiquant doctor``: what is there, and what to do about the rest."""

from __future__ import annotations

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption
from aiquant.errors import MissingError


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant doctor --json")(doctor)


def doctor(workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False) -> None:
    """Say what is installed, reachable and configured, and what to do about the rest; exit code 3 if need be."""
    from aiquant.jobs import doctor as job

    try:
        opened = options.workspace(workspace, told)
    except MissingError:
        if workspace is not None:
            raise
        opened = None
    findings = job.examine(opened)
    rows = [(f.what, f.state, f.found, f.remedy) for f in findings]
    wrong = [f for f in findings if f.state == "wrong"]
    console = Console(as_json)
    console.answer(
        {"ok": not wrong, "findings": findings},
        table(["what", "state", "found", "what to do"], rows),
        "Everything that is needed is there." if not wrong else f"{len(wrong)} thing(s) need attention.",
    )
    if wrong:
        raise typer.Exit(MissingError.exit_code)
