"""``aiquant runs``: the runs of the workspace."""

from __future__ import annotations

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

app = typer.Typer()


@app.command("ls", epilog="Example: aiquant runs ls")
def ls(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """List the runs, the newest last: data version, rank IC, net Sharpe and verdict."""
    from aiquant.jobs import runs as job

    found = job.list_runs(options.workspace(workspace))
    rows = [(r.run_id, r.created, r.bars_version, r.rank_ic, r.rank_ic_t, r.sharpe_net, r.verdict) for r in found]
    Console(as_json).answer(
        {"runs": found},
        (
            table(["run", "made", "bars version", "rank IC", "t", "Sharpe net", "gate"], rows)
            if rows
            else "There is no run yet."
        ),
    )


@app.command("show", epilog="Example: aiquant runs show xgboost-0123456789 --json")
def show(run_id: options.RunArgument = None, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Show the manifest of a run."""
    from aiquant.jobs.workspace import read_json
    from aiquant.settings import flatten

    opened = options.workspace(workspace)
    told = read_json(opened.run_folder(run_id or opened.latest_run()) / "manifest.json")
    rows = [(name, str(value)) for name, value in flatten(told).items()]
    Console(as_json).answer(told, table(["name", "value"], rows))


@app.command("send", epilog="Example: aiquant runs send")
def send(workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False) -> None:
    """Send the runs to MLflow that it does not know yet, as after a time when it did not answer."""
    from aiquant.jobs import track

    sent = track.send(options.workspace(workspace, told))
    Console(as_json).answer({"sent": sent}, *(sent or ["MLflow knows all runs of this workspace."]))
