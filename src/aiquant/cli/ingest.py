"""``aiquant ingest``: take data into the lake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from aiquant.jobs.ingest import Ingested

app = typer.Typer()

PathOption = Annotated[Path, typer.Option("--path", metavar="X", help="CSV, Parquet or Arrow; a file or a folder.")]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="NAME=COLUMN", help="Which column is which, e.g. --column close=px_last (repeatable)."
    ),
]


@app.command(
    epilog="Example: aiquant ingest bars --source files --path prices.csv --column close=px_last",
)
def bars(
    source: Annotated[str, typer.Option(help="sample, files, or the name of a plug-in.")] = "files",
    path: Annotated[
        Path | None, typer.Option("--path", metavar="X", help="CSV, Parquet or Arrow; a file or a folder.")
    ] = None,
    column: ColumnOption = None,
    layout: Annotated[str | None, typer.Option(help="long or wide; default: recognised.")] = None,
    adjustment: Annotated[
        str | None, typer.Option(help="What prices were adjusted for: none, splits, splits+dividends, unknown.")
    ] = None,
    interval: Annotated[str | None, typer.Option(help="Interval of the bars: 1d, 1m, 5m, 1h …")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse the whole source at its first bad row.")] = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take bars into the lake; bad rows are set aside with their reason."""
    from aiquant.jobs import ingest as job

    console = Console(as_json)
    opened = options.workspace(workspace, told, data__adjustment=adjustment, data__interval=interval)
    done = job.bars(opened, console.journal, source, path, pairs(column), layout, strict)
    _show(console, done)


@app.command(epilog="Example: aiquant ingest actions --path splits.csv")
def actions(
    path: PathOption,
    column: ColumnOption = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take splits, dividends and delistings: columns symbol, date (ex-date), kind, ratio or amount."""
    from aiquant.jobs import ingest as job

    console = Console(as_json)
    _show(console, job.actions(options.workspace(workspace, told), console.journal, path, pairs(column)))


@app.command(epilog="Example: aiquant ingest universe --path members.csv")
def universe(
    path: PathOption,
    column: ColumnOption = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the members of a universe: columns universe, symbol, member_from, member_to (empty while it lasts)."""
    from aiquant.jobs import ingest as job

    console = Console(as_json)
    _show(console, job.universe(options.workspace(workspace, told), console.journal, path, pairs(column)))


def pairs(told: list[str] | None) -> dict[str, str] | None:
    """``["close=px_last"]`` → ``{"close": "px_last"}``."""
    from aiquant.errors import UsageError

    mapped: dict[str, str] = {}
    for text in told or []:
        name, equals, column = text.partition("=")
        if not equals:
            raise UsageError(
                f"--column {text}: not of the form NAME=COLUMN", "write for example: --column close=px_last"
            )
        mapped[name.strip()] = column.strip()
    return mapped or None


def _show(console: Console, done: Ingested) -> None:
    lines: list[object] = [
        f"{done.rows:,} rows of {done.symbols:,} symbol(s)"
        + (f", {done.first} to {done.last}" if done.first else "")
        + f": {done.inserted:,} new, {done.revised:,} revised, {done.unchanged:,} already there.",
        f"{done.dead_letters:,} row(s) set aside.",
    ]
    if done.reasons:
        lines.append(table(["set aside because", "rows"], list(done.reasons.items())))
        lines.append('See them with: aiquant lake sql "select place, reason, payload from dead_letters limit 20"')
    if done.findings:
        lines.append(table(["finding", "count"], list(done.findings.items())))
        lines.append('See them with: aiquant lake sql "select * from findings limit 20"')
    console.answer(done, *lines)
