"""``aiquant lake``: look into the tables."""

from __future__ import annotations

from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption

app = typer.Typer()


@app.command("ls", epilog="Example: aiquant lake ls")
def ls(workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False) -> None:
    """List the tables: rows, files, size, version and span."""
    found = options.workspace(workspace, told).lake.tables()
    rows = [(t.name, t.rows, t.files, round(t.bytes / 2**20, 2), t.version, t.first, t.last) for t in found]
    Console(as_json).answer(
        {"tables": found},
        table(["table", "rows", "files", "MiB", "version", "first", "last"], rows) if rows else "The lake is empty.",
    )


@app.command("sql", epilog='Example: aiquant lake sql "select symbol, count(*) as bars from bars group by symbol"')
def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="A select statement of DuckDB's SQL.")],
    limit: Annotated[int, typer.Option(min=1, help="Rows that are printed at the most.")] = 200,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the tables with SQL (read only)."""
    reader = options.workspace(workspace, told).lake.sql(query)
    rows: list[dict[str, object]] = []
    more = False
    for batch in reader:
        rows.extend(batch.slice(0, limit + 1 - len(rows)).to_pylist())
        if len(rows) > limit:
            rows, more = rows[:limit], True
            break
    names = reader.schema.names
    Console(as_json).answer(
        {"columns": names, "rows": rows, "truncated": more},
        table(names, [[row[name] for name in names] for row in rows]),
        *([f"Only the first {limit:,} rows are shown; ask for more with --limit."] if more else []),
    )
