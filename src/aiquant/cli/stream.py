"""``aiquant stream``: live data through Kafka into the lake."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from aiquant.cli import options
from aiquant.cli.console import Console, table
from aiquant.cli.options import JsonOption, SetOption, WorkspaceOption
from aiquant.cli.stopping import until_told

app = typer.Typer()

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="ticks, bars, news or tweets.")]


@app.command(epilog="Example: aiquant stream init --set stream.brokers=127.0.0.1:9092")
def init(workspace: WorkspaceOption = None, told: SetOption = None, as_json: JsonOption = False) -> None:
    """Make the topics that are not there yet."""
    from aiquant.streams import topics

    made = topics.init(options.workspace(workspace, told).settings.stream)
    rows = [(t.name, t.table, t.partitions, "made" if t.made else "was there") for t in made]
    Console(as_json).answer({"topics": made}, table(["topic", "table", "partitions", ""], rows))


@app.command(epilog="Example: aiquant stream produce ticks --symbols AAPL,MSFT")
def produce(
    name: TableArgument,
    source: Annotated[str | None, typer.Option(help="The vendor; default: that of the table.")] = None,
    symbols: Annotated[str, typer.Option(help="Symbols, joined by commas; default: the vendor's settings.")] = "",
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a vendor's live feed to its topic, until stopped (Ctrl-C or SIGTERM)."""
    from aiquant.jobs import produce as job

    console = Console(as_json)
    wanted = tuple(symbol.strip().upper() for symbol in symbols.split(",") if symbol.strip())
    done = job.produce(options.workspace(workspace, told), console.journal, name, source, wanted, until_told())
    console.answer(done, f"{done.rows:,} rows sent, {done.letters:,} set aside.")


@app.command(epilog="Example: aiquant stream consume ticks --set stream.metrics_port=9464")
def consume(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="ticks, bars, news, tweets, dead_letters.")
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="Stop when the topics have been read to their end.")] = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store what the topics bring, nothing lost and nothing doubled, until stopped (Ctrl-C or SIGTERM)."""
    from aiquant.jobs import consume as job

    console = Console(as_json)
    opened = options.workspace(workspace, told)
    done = job.consume(opened, console.journal, names or job.TABLES, until_told(), drain)
    console.answer(
        done,
        f"{done.messages:,} messages: {done.rows:,} rows stored, {done.duplicates:,} already there, "
        f"{done.letters:,} set aside.",
    )


@app.command(epilog="Example: aiquant stream replay ticks --path trades.parquet --speed 60")
def replay(
    name: Annotated[
        str, typer.Argument(metavar="TABLE", help="The lake's table, and the topic: ticks, bars, news or tweets.")
    ],
    path: Annotated[Path | None, typer.Option(metavar="X", help="A file instead of the lake's table.")] = None,
    speed: Annotated[str, typer.Option(help="Recorded seconds a second: 1, a multiple, or max.")] = "1",
    first: Annotated[datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First date.")] = None,
    last: Annotated[datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="Last date.")] = None,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send recorded rows to their topic, event times kept: for demonstrations, tests and rehearsals."""
    from aiquant.errors import UsageError
    from aiquant.jobs import replay as job

    try:
        pace = None if speed == "max" else float(speed.removesuffix("x").removesuffix("×"))
    except ValueError as error:
        raise UsageError(f"--speed {speed}: not a number", "use 1, a multiple as 60, or max") from error
    console = Console(as_json)
    days = [None if day is None else day.date() for day in (first, last)]
    opened = options.workspace(workspace, told)
    done = job.replay(opened, console.journal, name, path, pace, days[0], days[1], until_told())
    console.answer(done, f"{done.rows:,} rows sent, of {done.first} to {done.last}.")


@app.command(epilog="Example: aiquant stream bars --interval 1m --follow")
def bars(
    interval: Annotated[str, typer.Option(help="Length of a bar: 30s, 1m, 5m, 1h …")] = "1m",
    follow: Annotated[bool, typer.Option("--follow", help="Go on until stopped (Ctrl-C or SIGTERM).")] = False,
    final: Annotated[bool, typer.Option("--final", help="Close windows that still wait for late ticks.")] = False,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make bars from the lake's ticks; ticks that came late correct their bars."""
    from aiquant.jobs import tick_bars as job

    console = Console(as_json)
    opened = options.workspace(workspace, told)
    if follow:
        done = job.follow(opened, console.journal, interval, stop=until_told())
    else:
        done = job.build(opened, console.journal, interval, final)
    console.answer(
        done,
        f"{done.ticks:,} ticks of {done.dates:,} date(s): {done.inserted:,} bars new, {done.revised:,} corrected, "
        f"{done.unchanged:,} as they were.",
    )


@app.command(epilog="Example: aiquant stream live alpha158 --set data.interval=1m")
def live(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[SET]...", help="Feature sets; default: the setting features.set.")
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="Stop when all bars that are there have been taken.")] = False,
    kafka: Annotated[
        bool, typer.Option("--kafka/--no-kafka", help="Read the topic of bars here, or follow the lake alone.")
    ] = True,
    workspace: WorkspaceOption = None,
    told: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make features of new bars: into the lake and the online store, until stopped (Ctrl-C or SIGTERM)."""
    from aiquant.jobs import live as job

    console = Console(as_json)
    done = job.live(options.workspace(workspace, told), console.journal, names or (), until_told(), drain, kafka)
    console.answer(
        done,
        f"{done.bars:,} bars: {done.rows:,} rows of features stored; {done.recomputed:,} were computed again, "
        f"{done.revised:,} of them differ and are new versions; {done.letters:,} bars set aside, "
        f"{done.unsent:,} symbols not in the online store yet.",
    )
