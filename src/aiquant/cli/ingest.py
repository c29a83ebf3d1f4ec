"""``aiquant ingest``: take data into the lake."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiquant.cli import options, summary
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

if TYPE_CHECKING:
    from aiquant.jobs.ingest import Ingested

app = typer.Typer()

SymbolsOption = Annotated[str, typer.Option(help="Of a vendor: symbols, joined by commas.")]
FromOption = Annotated[
    datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="Of a vendor: first date.", show_default=False)
]
ToOption = Annotated[
    datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Of a vendor: last date.", show_default=False)
]
SearchOption = Annotated[
    str | None, typer.Option("--search", help="Search expression in the vendor's language; default: the symbols.")
]
AgainOption = Annotated[
    bool, typer.Option("--again", help="Of a vendor: ask for everything anew, whatever an earlier run took in.")
]
VendorOption = Annotated[
    str | None, typer.Option("--source", help="A vendor instead of a file: polygon, or a plug-in.", show_default=False)
]
PathOption = Annotated[
    Path | None, typer.Option("--path", metavar="X", help="CSV, Parquet or Arrow; a file or a folder.")
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column", metavar="NAME=COLUMN", help="Which column is which, e.g. --column close=px_last (repeatable)."
    ),
]


@app.command(
    epilog="Example: aiquant ingest bars --source files --path prices.csv --column close=px_last; "
    "aiquant ingest bars --source polygon --symbols AAPL,MSFT --from 2020-01-01",
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
    symbols: SymbolsOption = "",
    first: FromOption = None,
    last: ToOption = None,
    again: AgainOption = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take bars into the lake; bad rows are set aside with their reason."""
    from aiquant.jobs import ingest as job

    if symbols or first or last:
        _backfill("bars", source, symbols, first, last, None, again, workspace, told, as_json, interval)
        return
    console = Console(as_json)
    opened = options.workspace(workspace, told, data__adjustment=adjustment, data__interval=interval)
    done = job.bars(opened, console.journal, source, path, pairs(column), layout, strict)
    _show(console, done)


@app.command(epilog="Example: aiquant ingest actions --path splits.csv")
def actions(
    path: PathOption = None,
    column: ColumnOption = None,
    source: VendorOption = None,
    symbols: SymbolsOption = "",
    first: FromOption = None,
    last: ToOption = None,
    again: AgainOption = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take splits, dividends and delistings: columns symbol, date (ex-date), kind, ratio or amount."""
    from aiquant.jobs import ingest as job

    if source is not None or path is None:
        _backfill("corporate_actions", source, symbols, first, last, None, again, workspace, told, as_json)
        return
    console = Console(as_json)
    _show(console, job.actions(options.workspace(workspace, told), console.journal, path, pairs(column)))


@app.command(epilog="Example: aiquant ingest universe --path members.csv")
def universe(
    path: PathOption = None,
    column: ColumnOption = None,
    source: VendorOption = None,
    symbols: SymbolsOption = "",
    first: FromOption = None,
    last: ToOption = None,
    again: AgainOption = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the members of a universe: columns universe, symbol, member_from, member_to (empty while it lasts)."""
    from aiquant.jobs import ingest as job

    if source is not None or path is None:
        _backfill("universe", source, symbols, first, last, None, again, workspace, told, as_json)
        return
    console = Console(as_json)
    _show(console, job.universe(options.workspace(workspace, told), console.journal, path, pairs(column)))


@app.command(epilog="Example: aiquant ingest classification --path sectors.csv")
def classification(
    path: Annotated[Path, typer.Option(help="File or folder (.csv, .parquet, .arrow).")],
    column: ColumnOption = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take classes of symbols: columns symbol, valid_from, and some of sector, industry, subindustry, shares."""
    from aiquant.jobs import ingest as job

    console = Console(as_json)
    _show(console, job.classification(options.workspace(workspace, told), console.journal, path, pairs(column)))


@app.command(epilog="Example: aiquant ingest ticks --symbols AAPL --from 2024-05-01 --to 2024-05-03")
def ticks(
    source: Annotated[str, typer.Option(help="The vendor.")] = "polygon",
    symbols: SymbolsOption = "",
    first: FromOption = None,
    last: ToOption = None,
    again: AgainOption = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a vendor's past trades into the lake."""
    _backfill("ticks", source, symbols, first, last, None, again, workspace, told, as_json)


@app.command(
    epilog="Example: aiquant ingest news --path articles.jsonl; "
    "aiquant ingest news --source newsapi --symbols AAPL --from 2024-05-01"
)
def news(
    path: Annotated[
        Path | None,
        typer.Option("--path", metavar="X", help="CSV, JSON lines, Parquet or Arrow; a file or a folder."),
    ] = None,
    column: ColumnOption = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="A vendor instead of a file; default: newsapi."),
    ] = None,
    search: SearchOption = None,
    symbols: SymbolsOption = "",
    first: FromOption = None,
    last: ToOption = None,
    again: AgainOption = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take articles of a file (columns title, time, and maybe symbols, url …) or of a vendor, linked to symbols."""
    from aiquant.jobs import ingest as job

    if path is not None and source is None:
        console = Console(as_json)
        _show(console, job.news(options.workspace(workspace, told), console.journal, path, pairs(column)))
        return
    _backfill("news", source or "newsapi", symbols, first, last, search, again, workspace, told, as_json)


@app.command(epilog="Example: aiquant ingest tweets --symbols AAPL")
def tweets(
    source: Annotated[str, typer.Option(help="The vendor.")] = "x",
    search: SearchOption = None,
    symbols: SymbolsOption = "",
    first: FromOption = None,
    last: ToOption = None,
    again: AgainOption = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the posts of the last days into the lake, their authors pseudonymised. Each post read is paid."""
    _backfill("tweets", source, symbols, first, last, search, again, workspace, told, as_json)


def _backfill(
    name: str,
    source: str | None,
    symbols: str,
    first: datetime | None,
    last: datetime | None,
    search: str | None,
    again: bool,
    workspace: Path | None,
    told: list[str] | None,
    as_json: bool,
    interval: str | None = None,
) -> None:
    from aiquant.errors import UsageError
    from aiquant.jobs import backfill as job

    if source is None:
        raise UsageError(f"ingest {name} needs a file or a vendor", "say --path members.csv, or --source polygon")
    if source in ("files", "sample"):
        raise UsageError("symbols and dates are asked of a vendor", "say for example: --source polygon")
    console = Console(as_json)
    done = job.backfill(
        options.workspace(workspace, told),
        console.journal,
        name,
        source,
        tuple(symbol.strip().upper() for symbol in symbols.split(",") if symbol.strip()),
        first.date() if first else None,
        last.date() if last else None,
        interval,
        search,
        again,
    )
    _show(console, done)


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
        lines.append(summary.LETTERS)
    if done.findings:
        lines.append(table(["finding", "count"], list(done.findings.items())))
        lines.append('See them with: aiquant lake sql "select * from findings limit 20"')
    console.answer(done, *lines)
