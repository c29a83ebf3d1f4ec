"""``aiquant lake``: look into the tables, keep them in order, and keep what is private private."""

from __future__ import annotations

from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption
from aiquant.errors import CheckFailed

app = typer.Typer()

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="Name of the table: see aiquant lake ls.")]
TablesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[TABLE]...", help="Names of tables; default: all.", show_default=False)
]
WhyOption = Annotated[str | None, typer.Option(help="What the access log says it is for; default: the verb.")]


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
    decrypt: Annotated[bool, typer.Option("--decrypt", help="Show encrypted text; logged.")] = False,
    why: WhyOption = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the tables with SQL (read only)."""
    reader = options.workspace(workspace, told).lake.sql(query, decrypt=decrypt, why=why)
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


@app.command("history", epilog="Example: aiquant lake history bars --limit 10")
def history(
    name: TableArgument,
    limit: Annotated[int | None, typer.Option(min=1, help="Versions that are shown; default: all.")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of a table: when, by which command, rows, and who."""
    from aiquant.lake import maintenance

    found = maintenance.history(options.workspace(workspace, told).lake, name, limit)
    rows = [(v.version, f"{v.time:%Y-%m-%d %H:%M:%S}", v.operation, v.added, v.removed, v.who, v.verb) for v in found]
    Console(as_json).answer(
        {"table": name, "versions": found},
        table(["version", "time (UTC)", "operation", "rows added", "removed", "who", "command"], rows),
    )


@app.command("compact", epilog="Example: aiquant lake compact ticks")
def compact(
    names: TablesArgument = None, workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False
) -> None:
    """Put small files together, sorted by symbol where a table is asked by symbol; writers may go on meanwhile."""
    from aiquant.jobs import upkeep as job

    console = Console(as_json)
    done = job.compact(options.workspace(workspace, told), console.journal, names or ())
    rows = [
        (c.table, c.files_before, c.files_after, _mib(c.bytes_before), _mib(c.bytes_after), c.partitions, c.version)
        for c in done
    ]
    columns = ["table", "files", "files now", "MiB", "MiB now", "partitions rewritten", "version"]
    console.answer({"tables": done}, table(columns, rows))


@app.command("vacuum", epilog="Example: aiquant lake vacuum --keep-days 30 --delete")
def vacuum(
    names: TablesArgument = None,
    keep_days: Annotated[
        float | None, typer.Option(min=0, help="Days that a replaced file is kept; default: lake.keep_days.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete; without it only tell what would be.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also versions that runs were made from, and less than a day.")
    ] = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell (or delete) files that only older versions need; versions that runs were made from stay."""
    from aiquant.jobs import upkeep as job

    console = Console(as_json)
    opened = options.workspace(workspace, told)
    done = job.vacuum(opened, console.journal, names or (), keep_days, delete, force)
    rows = [(v.table, len(v.paths), _mib(v.bytes), f"{v.oldest} to {v.latest}", list(v.kept) or None) for v in done]
    gone = sum(len(v.paths) for v in done)
    size = sum(v.bytes for v in done) / 2**20
    console.answer(
        {"tables": done},
        table(["table", "files", "MiB", "readable versions", "and, for runs"], rows),
        (
            f"{gone:,} files ({size:,.1f} MiB) deleted."
            if delete
            else f"{gone:,} files ({size:,.1f} MiB) would be deleted: add --delete."
        ),
    )


@app.command("verify", epilog="Example: aiquant lake verify bars")
def verify(
    names: TablesArgument = None, workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False
) -> None:
    """Check files, columns, keys, invariants and sessions; exit code 1 if something is broken."""
    from aiquant.jobs import upkeep as job

    console = Console(as_json)
    found = job.verify(options.workspace(workspace, told), console.journal, names or ())
    rows = [(f.table, f.kind, f.verdict, f.count, f.detail) for f in found]
    broken = sum(f.verdict == "broken" for f in found)
    console.answer(
        {"findings": found, "broken": broken},
        *([table(["table", "finding", "verdict", "count", "detail"], rows)] if rows else []),
        f"{broken} finding(s) of something broken." if broken else "Nothing is broken.",
    )
    if broken:
        raise typer.Exit(CheckFailed.exit_code)


@app.command("rotate-key", epilog="Example: aiquant lake rotate-key")
def rotate_key(
    names: TablesArgument = None,
    why: WhyOption = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encrypt personal and licensed text anew under the active key: after a change of key, or to begin with it."""
    from aiquant.jobs import upkeep as job

    console = Console(as_json)
    opened = options.workspace(workspace, told)
    done = job.rotate_key(opened, console.journal, names or (), why)
    rows = [(r.table, r.partitions, r.rows, r.version) for r in done]
    console.answer(
        {"tables": done},
        table(["table", "partitions rewritten", "rows", "version"], rows) if rows else "No table has such text.",
        "Files of older versions keep the text as it was, until: aiquant lake vacuum --delete",
    )


@app.command("erase", epilog='Example: aiquant lake erase --author 2244994945 --why "request of 3 May"')
def erase(
    author: Annotated[
        str | None, typer.Option(help="The author's numeric id with the vendor, or the user's name.")
    ] = None,
    pseudonym: Annotated[str | None, typer.Option(help="What stands in tweets.author: u_ and 20 digits.")] = None,
    why: WhyOption = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete one author's posts from every version, file and log of the lake: older versions of those tables end."""
    from aiquant.jobs import upkeep as job

    console = Console(as_json)
    done = job.erase(options.workspace(workspace, told), console.journal, author, pseudonym, why)
    ends = ", ".join(f"{name} from version {version} on" for name, version in done.oldest.items())
    console.answer(
        done,
        f"{done.posts:,} posts and {done.letters:,} dead letters erased, {done.files:,} files of older versions "
        "deleted.",
        *([f"All versions can be read of: {ends}."] if ends else []),
        *(
            [f"{done.pending:,} file(s) may belong to a write under way: run it again in an hour."]
            if done.pending
            else []
        ),
        "Backups, a bucket's own versions and Kafka's topics are not reached: see docs/how-to/lake-upkeep.md.",
    )


def _mib(size: int) -> float:
    return round(size / 2**20, 2)
