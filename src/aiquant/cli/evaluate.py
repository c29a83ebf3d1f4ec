"""``aiquant evaluate``: the promotion gate."""

from __future__ import annotations

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, RunArgument, SetOption, WorkspaceOption
from aiquant.errors import RefusedError


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant evaluate || echo refused")(evaluate)


def evaluate(
    run_id: RunArgument = None, workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False
) -> None:
    """Hold a run against the gate; exit code 4 when it refuses."""
    from aiquant.jobs import evaluate as job

    console = Console(as_json)
    opened = options.workspace(workspace, told)
    done = job.evaluate(opened, console.journal, run_id or opened.latest_run())
    found = job.findings(opened, done.run_id)
    rows = [(c["name"], c["passed"], c["value"], c["threshold"], c["why"]) for c in done.checks]
    console.answer(
        done.to_dict() | found,
        table(["check", "passed", "value", "threshold", "why"], rows),
        *summary.judgement(found["judgement"]),
        *summary.paths(found["paths"]),
        *summary.gate(done.verdict, done.reasons, done.model_version, done.aliases),
    )
    if not done.promoted:
        raise typer.Exit(RefusedError.exit_code)
