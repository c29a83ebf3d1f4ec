"""``aiquant run``: all steps in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aiquant.cli import demo, options
from aiquant.cli.console import Console
from aiquant.cli.ingest import ColumnOption, pairs
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: aiquant run --source files --path prices.csv")(run)


def run(
    source: Annotated[
        str | None, typer.Option(help="Take data in first: sample, files, or a plug-in.", show_default=False)
    ] = None,
    path: Annotated[Path | None, typer.Option("--path", metavar="X", help="For --source files.")] = None,
    column: ColumnOption = None,
    model: Annotated[str | None, typer.Option(help="Forecaster; default: the setting learning.model.")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Features, training, backtest, leakage check, gate and report in one go; data in first, if a source is named."""
    from aiquant.jobs import run as job

    console = Console(as_json)
    opened = options.workspace(workspace, told, learning__model=model)
    source = source or ("files" if path is not None else None)
    done = job.run(opened, console.journal, source, path, pairs(column))
    console.answer(done.to_dict(), *demo.conclusion(done))
